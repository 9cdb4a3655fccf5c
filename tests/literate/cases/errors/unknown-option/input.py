# ---
# title: First
# summary: The first topic.
# ---

# %% [markdown]
# # First

# %%
#| lable: fig-a
x = 1
