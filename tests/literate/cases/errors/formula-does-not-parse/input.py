# ---
# title: First
# summary: The first topic.
# ---

# %% [markdown]
# # First
#
# First $a$, then $\frac{a}$.
#
# $$
# \begin{aligned} x
# $$
