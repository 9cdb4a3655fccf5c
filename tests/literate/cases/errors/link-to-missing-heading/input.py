# ---
# title: First
# summary: The first topic.
# ---

# %% [markdown]
# # First
#
# See [it](second.py#no-such).
