# ---
# title: First
# summary: The first topic.
# ---

# %% [markdown]
# # First
