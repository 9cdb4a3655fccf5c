# ---
# title: BERT
# summary: An encoder that reads both ways and learns by filling gaps.
# prerequisites:
#   - transformers/transformer-architecture: the encoder block
# packages: [numpy, matplotlib, torch, transformers]
# ---
