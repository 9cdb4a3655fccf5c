# ---
# title: Information theory
# summary: "Entropy, divergence and mutual information: what a loss measures."
# prerequisites:
#   - math-foundations/probability: distributions and expectation
# packages: [numpy, matplotlib, scipy]
# ---
