# ---
# title: First
# summary: The first topic.
# ---

# %% [markdown]
# # First

# %%
def f(x):
    return x + offset


for offset in range(3):
    pass

# %% tags=["test"]
def test_f():
    assert f(1) == 3
