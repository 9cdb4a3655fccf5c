# ---
# title: Distributed training
# summary: "One model, many processes: what is split, and what is sent."
# prerequisites:
#   - training/batching: accumulated gradients
#   - transformers/transformer-architecture: the layers that are split
# packages: [numpy, matplotlib, torch]
# ---
