# ---
# title: Fine-tuning
# summary: A pretrained model learns your task, and forgets some of its own.
# prerequisites:
#   - modern-llms/pretraining: what the weights already know
# notebooks: [10-fine-tuning-basics]
# packages: [numpy, matplotlib, torch, transformers]
# ---
