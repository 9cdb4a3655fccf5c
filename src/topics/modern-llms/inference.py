# ---
# title: Inference
# summary: "Serving a model: caches, batches, drafts and fewer bits."
# prerequisites:
#   - modern-llms/efficient-adaptation: merged and unmerged weights
# notebooks: [12-kv-cache-demo]
# packages: [numpy, matplotlib, torch]
# ---
