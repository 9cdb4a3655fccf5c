# ---
# title: First
# summary: x
# ---

x = 1

# %% [markdown]
# # First
