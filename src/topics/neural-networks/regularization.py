# ---
# title: Regularization
# summary: "Keeping a network from memorising, and its signals from growing: dropout, decay, normalisation."
# prerequisites:
#   - neural-networks/activation-functions: how layers saturate and die
# packages: [numpy, matplotlib, torch]
# ---
