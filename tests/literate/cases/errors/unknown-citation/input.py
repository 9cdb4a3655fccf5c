# ---
# title: First
# summary: The first topic.
# ---

# %% [markdown]
# # First
#
# As known [@nobody1999].
