# ---
# title: First
# summary: The first topic.
# title: Again
# ---

# %% [markdown]
# # First
