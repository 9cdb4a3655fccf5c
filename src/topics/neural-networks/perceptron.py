# ---
# title: Perceptron
# summary: One neuron that learns a line, and the line it cannot learn.
# prerequisites:
#   - math-foundations/linear-algebra: dot products
# notebooks: [01-numpy-neural-net]
# packages: [numpy, matplotlib, scikit-learn]
# ---
