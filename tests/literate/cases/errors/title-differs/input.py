# ---
# title: First
# summary: x
# ---

# %% [markdown]
# # Erste
