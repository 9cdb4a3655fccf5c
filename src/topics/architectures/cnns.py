# ---
# title: Convolutional networks
# summary: "One small filter, used everywhere: weight sharing for images."
# prerequisites:
#   - neural-networks/activation-functions: ReLU and its gradient
# packages: [numpy, matplotlib, torch]
# ---
