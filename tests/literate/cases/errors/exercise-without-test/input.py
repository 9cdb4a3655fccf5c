# ---
# title: First
# summary: The first topic.
# ---

# %% [markdown]
# # First

# %%
def f():
    ### BEGIN SOLUTION
    return 1
    ### END SOLUTION
