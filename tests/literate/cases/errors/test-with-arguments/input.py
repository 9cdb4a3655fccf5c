# ---
# title: First
# summary: The first topic.
# ---

# %% [markdown]
# # First

# %% tags=["test"]
def test_f(tmp_path):
    assert tmp_path
