# ---
# title: Reinforcement learning from human feedback
# summary: From preferences and checkable answers to a policy that scores well.
# prerequisites:
#   - modern-llms/pretraining: a model as a distribution over text
# packages: [numpy, matplotlib, torch]
# ---
