# ---
# title: Activation functions
# summary: The bend between two layers, from sigmoid to SwiGLU.
# prerequisites:
#   - neural-networks/backpropagation: how gradients pass through a layer
#   - math-foundations/information-theory: what a saturated output still tells
#   - training/optimizers: the idea of a gradient step
# notebooks: [03-activations-visualized]
# packages: [numpy, matplotlib, torch]
# ---
