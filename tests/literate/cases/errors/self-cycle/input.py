# ---
# title: First
# summary: The first topic.
# prerequisites:
#   - basics/first: itself
# ---

# %% [markdown]
# # First
