# ---
# title: Instruction tuning
# summary: "From continuing text to answering: chat formats and what they teach."
# prerequisites:
#   - modern-llms/pretraining: what a base model does
# packages: [numpy, matplotlib, torch, transformers]
# ---
