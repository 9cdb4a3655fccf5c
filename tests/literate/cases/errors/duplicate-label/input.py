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
#| fig-alt: B.
import matplotlib.pyplot as plt
fig, ax = plt.subplots()

# %%
#| label: fig-a
#| fig-cap: A.
#| fig-alt: B.
import matplotlib.pyplot as plt
fig, ax = plt.subplots()
