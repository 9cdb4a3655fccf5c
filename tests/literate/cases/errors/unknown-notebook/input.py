# ---
# title: First
# summary: The first topic.
# notebooks: [99-nothing]
# ---

# %% [markdown]
# # First
