# ---
# title: First
# summary: The first topic.
# prerequisites: [basics/third]
# ---

# %% [markdown]
# # First
