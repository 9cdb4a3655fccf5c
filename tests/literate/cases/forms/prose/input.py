# ---
# title: First
# summary: The first topic.
# prerequisites:
#   - basics/second: a heading
#   - basics/later: the rest
# ---

# %% [markdown]
# # First
#
# Opening with $x_1$ and [a link](second.py#a-heading-with-punctuation), [planned](later.py), [web](https://example.org).
#
# $$
# \boxed{y = x}
# $$
#
# ## 1. Section
#
# Cited [@ada1843notes], [see @ada1843notes, p. 3], and @ada1843notes says so. Value `{python} 6 * 7`, code `$x$`.
#
# > [!NOTE]
# > A box with $z$.
#
# **What this means:** apart.
#
# | a | b |
# |---|---|
# | $x$ | 1 |
