# ---
# title: First
# summary: The first topic.
# ---

# %% [markdown]
# # First

# %%
if True:
	x = 1
	y = 2
