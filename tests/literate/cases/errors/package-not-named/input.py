# ---
# title: First
# summary: The first topic.
# ---

# %% [markdown]
# # First

# %%
import json

import numpy as np
