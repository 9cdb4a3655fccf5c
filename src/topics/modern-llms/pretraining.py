# ---
# title: Pretraining
# summary: "Next-token prediction at scale: tokens, data, compute and their laws."
# prerequisites:
#   - transformers/bert: masked prediction
#   - transformers/gpt: autoregressive prediction
# packages: [numpy, matplotlib, torch, tokenizers]
# ---
