# ---
# title: First
# summary: The first topic.
# ---

# %% [markdown]
# # First
#
# ## Exercises
#
# ### Exercise 1 (check): double

# %%
def double(x):
    """Twice."""
    ### BEGIN SOLUTION
    y = x

    return 2 * y
    ### END SOLUTION

# %% tags=["test"]
def test_double():
    assert double(2) == 4

# %% [markdown]
# ### Exercise 2 (explore): say why

# %% [markdown] tags=["solution"]
# Because $x$.
