# ---
# title: Activations visualized
# summary: What each activation does to signals, gradients and dead units.
# prerequisites:
#   - neural-networks/activation-functions: the functions
# packages: [numpy, matplotlib]
# ---
