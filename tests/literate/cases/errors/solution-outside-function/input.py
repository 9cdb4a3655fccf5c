# ---
# title: First
# summary: The first topic.
# ---

# %% [markdown]
# # First

# %%
### BEGIN SOLUTION
x = 1
### END SOLUTION

# %% tags=["test"]
def test_x():
    assert x == 1
