# ---
# title: LoRA from scratch
# summary: Two thin matrices in place of a fat update.
# prerequisites:
#   - modern-llms/efficient-adaptation: low-rank updates
# packages: [numpy, matplotlib, torch]
# ---
