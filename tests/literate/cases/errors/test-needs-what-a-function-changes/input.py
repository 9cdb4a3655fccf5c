# ---
# title: First
# summary: The first topic.
# ---

# %% [markdown]
# # First

# %%
data = [1, 2]


def grow(values):
    values.append(3)


grow(data)

# %% tags=["test"]
def test_data():
    assert sum(data) == 3
