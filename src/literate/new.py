"""`doit new part/topic`: a topic from the template, listed in the catalogue."""

from __future__ import annotations

import re

from literate import paths, source
from literate.build import Builder
from literate.problem import Problem, Trouble

TEMPLATE = '''\
# ---
# title: {title}
# summary: One sentence that says what the topic is about.
# prerequisites: []
# packages: [numpy, matplotlib]
# ---

# %% [markdown]
# # {title}
#
# $$
# \\boxed{{y = f(x)}}
# $$
#
# Say what every symbol means, and in one sentence why it matters.
#
# ## 1. Core concept
#
# Show, within 300 words, how the previous idea fails, with a number that code computes.
#
# ### Mathematical foundation
#
# $$
# y = f(x)
# $$
#
# **What this means:** two or three plain sentences.
#
# ### In code

# %%
import numpy as np


def f(x: np.ndarray) -> np.ndarray:
    """The function of the boxed equation, of `x` (n,)."""
    return x


print(f(np.arange(3)))

# %% [markdown]
# **What the code shows:** something that the output does not say by itself.
#
# ## 2. Deeper treatment
#
# Proofs and modern variants.
#
# ## 3. Practical considerations
#
# Three failures that practitioners meet: symptom, cause, fix.
#
# ### Conventions and common confusions
#
# > [!NOTE]
# > Where papers, libraries and this book differ.
#
# ## Exercises
#
# ### Exercise 1 (check): say what is to be done

# %%
def answer(x: np.ndarray) -> float:
    """What the exercise asks for, of `x` (n,)."""
    ### BEGIN SOLUTION
    return float(x.sum())
    ### END SOLUTION


# %% tags=["test"]
def test_answer():
    assert answer(np.arange(3)) == 3


# %% tags=["test"]
def test_f_keeps_the_shape():
    assert f(np.zeros(4)).shape == (4,)


# %% [markdown]
# ## Summary
#
# | Concept | Key Formula | Code Pattern | Where It's Used |
# |---------|-------------|--------------|-----------------|
# | the idea | $y = f(x)$ | `f(x)` | everywhere |
#
# **The essential insight:** one paragraph.
'''


def new(builder: Builder, names: list[str]) -> str:
    """Make each of `names`, and say what to do next."""
    if not names:
        todo = "write `doit new part/topic`"
        raise Trouble(Problem("doit new", 0, "no topic is named", todo))
    return "\n".join(_new(builder, name) for name in names)


def _new(builder: Builder, name: str) -> str:
    """Write the source of `name` and list it at the end of its part."""
    source.check_name(name, name)
    part, stem = name.split("/")
    path = paths.source(name)
    if builder.disk.exists(path):
        raise Trouble(Problem(path, 0, "the topic exists already", "edit it, or choose a name"))
    if part not in {item.name for item in builder.catalogue.parts}:
        names = ", ".join(item.name for item in builder.catalogue.parts)
        raise Trouble(Problem(paths.CATALOGUE, 0, f"no part is called {part!r}", f"use: {names}"))
    if name not in builder.catalogue.topics:
        text = builder.disk.read(paths.CATALOGUE)
        builder.disk.write(paths.CATALOGUE, listed(text, part, stem))
    title = stem.replace("-", " ").capitalize()
    builder.disk.write(path, TEMPLATE.format(title=title))
    return f"{path} is ready, and listed in {paths.CATALOGUE}; write it, then run doit"


def listed(catalogue: str, part: str, stem: str) -> str:
    """The catalogue's text with `stem` at the end of `part`'s topics."""
    start = re.search(rf"^  - name: {re.escape(part)}$", catalogue, re.M)
    assert start, part
    topics = re.compile(
        r"^    topics:(?: *\[(?P<flow>[^\]]*)\]|(?P<block>(?:\n      - .*)+))", re.M
    )
    match = topics.search(catalogue, start.end())
    assert match, part
    if match["flow"] is not None:
        items = [item.strip() for item in match["flow"].split(",") if item.strip()]
        new_text = f"    topics: [{', '.join([*items, stem])}]"
    else:
        new_text = f"    topics:{match['block']}\n      - {stem}"
    return catalogue[: match.start()] + new_text + catalogue[match.end() :]
