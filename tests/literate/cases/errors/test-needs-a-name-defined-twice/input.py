# ---
# title: First
# summary: The first topic.
# ---

# %% [markdown]
# # First

# %%
def f():
    return 1

# %%
def f():
    return 2

# %% tags=["test"]
def test_f():
    assert f() == 2
