# ---
# title: A neural network in NumPy
# summary: A two-layer network from nothing, as good as the library's.
# prerequisites:
#   - neural-networks/perceptron: one neuron
#   - neural-networks/multilayer-networks: layers
# packages: [numpy, matplotlib, scikit-learn]
# ---
