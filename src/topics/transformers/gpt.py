# ---
# title: GPT
# summary: A decoder that predicts the next token, and so writes.
# prerequisites:
#   - transformers/transformer-architecture: the decoder block and the causal mask
# notebooks: [09-minimal-gpt]
# packages: [numpy, matplotlib, torch, transformers]
# ---
