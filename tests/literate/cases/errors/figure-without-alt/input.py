# ---
# title: First
# summary: The first topic.
# packages: [matplotlib]
# ---

# %% [markdown]
# # First

# %%
#| label: fig-a
#| fig-cap: A.
import matplotlib.pyplot as plt
fig, ax = plt.subplots()
