# ---
# title: Transformer architecture
# summary: "Attention, feed-forward, residuals and norms, stacked: then and now."
# prerequisites:
#   - transformers/multi-head-attention: heads and grouped queries
# notebooks: [08-minimal-transformer]
# packages: [numpy, matplotlib, torch, transformers]
# ---
