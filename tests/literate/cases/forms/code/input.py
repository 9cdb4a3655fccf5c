# ---
# title: First
# summary: The first topic.
# packages: [numpy, matplotlib]
# ---

# %% [markdown]
# # First

# %%
import numpy as np  # a remark


def f(x):
    return x + 1


print(f(3))

# %% tags=["test"]
def test_f():
    assert f(1) == 2

# %%
#| label: fig-a
#| fig-cap: A line of slope $2$ here.
#| fig-alt: It rises.
import matplotlib.pyplot as plt

fig, ax = plt.subplots()

# %% tags=["hide-input"]
f(2)

# %% [markdown]
# ## 1. Figures
#
# See @fig-a.

# %% tags=["remove-input"]
print("unseen")

# %% tags=["remove-cell"]
print("nowhere")

# %% tags=["test", "experiment"]
def test_experiment():
    assert fig
