# ---
# title: A minimal GPT
# summary: Train a character model on Shakespeare, one choice at a time.
# prerequisites:
#   - transformers/gpt: the model and its sampling
# packages: [numpy, matplotlib, torch]
# ---
