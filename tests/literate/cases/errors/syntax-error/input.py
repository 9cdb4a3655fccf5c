# ---
# title: First
# summary: The first topic.
# ---

# %% [markdown]
# # First

# %%
x = 1
y = = 2
