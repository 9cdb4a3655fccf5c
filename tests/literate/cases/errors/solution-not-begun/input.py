# ---
# title: First
# summary: The first topic.
# ---

# %% [markdown]
# # First

# %%
def f():
    return 1
    ### END SOLUTION

# %% tags=["test"]
def test_f():
    assert f() == 1
