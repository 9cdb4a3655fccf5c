# ---
# title: Probability
# summary: "Distributions, expectation and Bayes: how a network says what it does not know."
# prerequisites:
#   - math-foundations/linear-algebra: dot products and norms
#   - math-foundations/calculus: derivatives and the exponential
# packages: [numpy, matplotlib, scipy]
# ---
