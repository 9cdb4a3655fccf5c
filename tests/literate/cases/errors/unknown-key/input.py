# ---
# title: First
# summary: The first topic.
# prerequisite: [basics/second]
# ---

# %% [markdown]
# # First
