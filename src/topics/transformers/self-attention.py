# ---
# title: Self-attention
# summary: A sequence attends to itself, and must be told where things stand.
# prerequisites:
#   - transformers/attention: queries, keys, values and masks
# notebooks: [07-attention-from-scratch]
# packages: [numpy, matplotlib, torch, transformers]
# ---
