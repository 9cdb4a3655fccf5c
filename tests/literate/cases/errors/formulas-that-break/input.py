# ---
# title: First
# summary: The first topic.
# ---

# %% [markdown]
# # First
#
# Norm $|x|$ and $\|x\|$, $a<b$ too, $\operatorname{f}(x)$, $\bm{x}$.
# Touching a$x$ and $y$2 or **bold $z$**.
#
# - item
#   $$
#   x
#   $$
#
# ## Heading $x$
