# ---
# title: Calculus
# summary: "Derivatives, gradients and the chain rule: how a loss answers to each parameter."
# prerequisites:
#   - math-foundations/linear-algebra: vectors, matrix products and transposes
# packages: [numpy, matplotlib, torch]
# ---
