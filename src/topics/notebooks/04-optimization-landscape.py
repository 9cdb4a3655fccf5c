# ---
# title: The optimization landscape
# summary: Watch SGD, momentum and Adam find their way down.
# prerequisites:
#   - math-foundations/optimization: gradient descent
#   - training/optimizers: the update rules
# packages: [numpy, matplotlib]
# ---
