# ---
# title: First
# summary: The first topic.
# ---

# %% [markdown]
# # First

# %% tags=["test"]
def test_f():
    assert g() == 2
