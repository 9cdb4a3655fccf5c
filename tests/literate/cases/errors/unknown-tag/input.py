# ---
# title: First
# summary: The first topic.
# ---

# %% [markdown]
# # First

# %% tags=["tset"]
x = 1
