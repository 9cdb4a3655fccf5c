# ---
# title: First
# summary: The first topic.
# ---

# %% [markdown]
# # First

# %% tags=["test"]
def test_f():
    assert True

# %% tags=["test"]
def test_f():
    assert 1
