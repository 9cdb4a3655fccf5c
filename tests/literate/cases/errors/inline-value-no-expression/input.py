# ---
# title: First
# summary: The first topic.
# ---

# %% [markdown]
# # First
#
# It is `{python} x = 1`.
