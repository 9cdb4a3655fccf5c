# ---
# title: LSTMs
# summary: Gates that decide what to keep, so that gradients survive.
# prerequisites:
#   - architectures/rnns: the recurrence and its vanishing gradient
# notebooks: [06-lstm-from-scratch]
# packages: [numpy, matplotlib, torch]
# ---
