# ---
# title: Recurrent networks
# summary: One cell, applied at every step, with a state for a memory.
# prerequisites:
#   - architectures/cnns: sharing weights across positions
#   - neural-networks/backpropagation: gradients through a graph
# notebooks: [05-rnn-from-scratch]
# packages: [numpy, matplotlib, torch]
# ---
