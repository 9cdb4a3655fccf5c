# ---
# title: An LSTM from scratch
# summary: Gates, cell and gradients, step by step.
# prerequisites:
#   - architectures/lstms: the gates
# packages: [numpy, matplotlib, torch]
# ---
