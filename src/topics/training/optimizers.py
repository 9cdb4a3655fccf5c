# ---
# title: Optimizers
# summary: "Momentum, Adam, Muon and schedules: how far to step, and which way."
# prerequisites:
#   - math-foundations/optimization: gradient descent and conditioning
#   - neural-networks/backpropagation: where the gradient comes from
#   - training/loss-functions: what is minimised
# notebooks: [04-optimization-landscape]
# packages: [numpy, matplotlib, torch]
# ---
