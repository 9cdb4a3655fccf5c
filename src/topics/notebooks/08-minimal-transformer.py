# ---
# title: A minimal transformer
# summary: One block that learns a task attention alone cannot.
# prerequisites:
#   - transformers/transformer-architecture: the block
# packages: [numpy, matplotlib, torch]
# ---
