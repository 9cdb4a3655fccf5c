# ---
# title: Fine-tuning basics
# summary: A pretrained encoder learns to judge film reviews.
# prerequisites:
#   - modern-llms/fine-tuning: what changes and what is kept
# packages: [numpy, matplotlib, torch, transformers]
# ---
