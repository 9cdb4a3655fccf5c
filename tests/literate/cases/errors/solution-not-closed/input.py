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

# %% tags=["test"]
def test_f():
    assert f() == 1
