# ---
# title: A recurrent network from scratch
# summary: A character model with one recurrent cell.
# prerequisites:
#   - architectures/rnns: the recurrence
# packages: [numpy, matplotlib, torch]
# ---
