# ---
# title: First
# summary: The first topic.
# ---

# %% [markdown]
# # First
#
# See [it](third.py).
