# ---
# title: Multilayer networks
# summary: "Layers between input and output: what depth and width buy."
# prerequisites:
#   - neural-networks/perceptron: a neuron and its limits
# notebooks: [01-numpy-neural-net]
# packages: [numpy, matplotlib, scikit-learn, torch]
# ---
