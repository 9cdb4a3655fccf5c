# ---
# title: Backpropagation from scratch
# summary: Every gradient by hand, then by a small engine.
# prerequisites:
#   - neural-networks/backpropagation: the equations
# packages: [numpy, matplotlib, torch]
# ---
