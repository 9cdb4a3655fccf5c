# ---
# title: The KV cache
# summary: Generate with and without it, and measure.
# prerequisites:
#   - modern-llms/inference: prefill and decode
# packages: [numpy, matplotlib, torch]
# ---
