# ---
# title: First
# summary: The first topic.
# packages: [matplotlib]
# ---

# %% [markdown]
# # First

# %%
# nothing
import matplotlib.pyplot as plt
fig, ax = plt.subplots()
