# ---
# title: Loss functions
# summary: What training minimises, from cross-entropy to contrastive losses.
# prerequisites:
#   - math-foundations/probability: likelihood and softmax
#   - math-foundations/information-theory: cross-entropy and divergence
# packages: [numpy, matplotlib, torch]
# ---
