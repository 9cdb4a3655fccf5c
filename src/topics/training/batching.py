# ---
# title: Batching
# summary: How many examples a step should see, and how to fit them in memory.
# prerequisites:
#   - training/optimizers: steps and learning rates
# packages: [numpy, matplotlib, torch]
# ---
