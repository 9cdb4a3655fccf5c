# ---
# title: Multi-head attention
# summary: Several small attentions side by side, and how to store fewer keys.
# prerequisites:
#   - transformers/self-attention: projections, positions and masks
# packages: [numpy, matplotlib, torch]
# ---
