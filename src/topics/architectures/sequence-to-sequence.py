# ---
# title: Sequence to sequence
# summary: An encoder, a decoder, and the one vector between them.
# prerequisites:
#   - architectures/lstms: a recurrent cell that remembers
# packages: [numpy, matplotlib, torch]
# ---
