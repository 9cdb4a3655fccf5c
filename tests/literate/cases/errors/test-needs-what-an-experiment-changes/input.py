# ---
# title: First
# summary: The first topic.
# ---

# %% [markdown]
# # First

# %%
data = [1, 2]

# %%
print(data)
data.append(3)

# %% tags=["test"]
def test_data():
    assert sum(data) == 3
