"""A small book in a temporary folder, built as a person would build it."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

from literate.book import Book, Entry
from literate.catalogue import Catalogue, Part
from literate.references import Reference
from literate.topic import Topic

REPOSITORY = Path(__file__).parents[2]
REFERENCES = {
    "ada1843notes": Reference("Lovelace 1843", "Lovelace (1843)", "Lovelace, Ada. 1843. *Notes*.")
}
CATALOGUE = """\
title: A small book
subtitle: For tests
parts:
  - name: basics
    title: Basics
    summary: What comes first.
    topics: [first, second]
  - name: notebooks
    title: Notebooks
    summary: Labs.
    topics: []
paths:
  - name: All
    summary: For everyone.
    steps: [basics]
"""
FIRST = '''\
# ---
# title: First
# summary: The first topic.
# notebooks: []
# packages: [matplotlib]
# ---

# %% [markdown]
# # First
#
# Numbers can be doubled [@ada1843notes].
#
# ## Doubling

# %%
def double(x: int) -> int:
    """Twice `x`."""
    return 2 * x


print(double(4))

# %%
#| label: fig-line
#| fig-cap: A line, with slope $2$ here.
#| fig-alt: A rising line.
import matplotlib.pyplot as plt

fig, ax = plt.subplots()
ax.plot([0, 1], [0, 2])

# %% tags=["test"]
def test_double():
    assert double(3) == 6


# %% [markdown]
# Twice $x$ is `{python} double(21)` for $x = 21$.
#
# See @fig-line.
#
# ### Exercise 1 (check): halve a number

# %%
def halve(x: float) -> float:
    """Half of `x`."""
    ### BEGIN SOLUTION
    return x / 2
    ### END SOLUTION

# %% tags=["test"]
def test_halve():
    assert halve(3) == 1.5
'''
SECOND = """\
# ---
# title: Second
# summary: The second topic.
# prerequisites:
#   - basics/first: how to double
# packages: []
# ---

# %% [markdown]
# # Second
#
# It builds on [doubling](first.py#doubling).
#
# $$
# \\boxed{y = 2x}
# $$
#
# ## Quadrupling

# %%
def quadruple(x: int) -> int:
    return 4 * x


# %% tags=["test"]
def test_quadruple():
    assert quadruple(2) == 8
"""
BIBLIOGRAPHY = """\
@book{ada1843notes, author = {Lovelace, Ada}, title = {Notes}, year = {1843}}
"""
INDEX = """\
doubling: basics/first#doubling
four times (quadrupling): basics/second#quadrupling
times two: {see: doubling}
"""
CHANGES = """\
2026-01-01:
  - {added: book, what: The first two topics.}
2026-02-01:
  - {changed: basics/second, what: A shorter proof.}
  - {corrected: basics/first, what: Twice three is six.}
"""
README = """\
# A small book

<!-- BEGIN documents -->
<!-- END documents -->
<!-- BEGIN graph -->
<!-- END graph -->
<!-- BEGIN paths -->
<!-- END paths -->
"""


class SmallBook:
    """Two topics below `root`. `doit` runs the real command in a process of its own."""

    def __init__(self, root: Path, **topics: str) -> None:
        self.root = root
        self.write("dodo.py", (REPOSITORY / "dodo.py").read_text())
        self.write("src/catalogue.yaml", CATALOGUE)
        self.write("src/references.bib", BIBLIOGRAPHY)
        self.write("src/index.yaml", INDEX)
        self.write("src/changes.yaml", CHANGES)
        self.write("README.md", README)
        for name, text in {"first": FIRST, "second": SECOND, **topics}.items():
            self.write(f"src/topics/basics/{name}.py", text)

    def write(self, name: str, content: str | bytes) -> Path:
        path = self.root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content.encode() if isinstance(content, str) else content)
        return path

    def read(self, name: str) -> str:
        return (self.root / name).read_text(encoding="utf-8")

    def edit(self, name: str, old: str, new: str) -> None:
        text = self.read(name)
        assert text.count(old) == 1, f"{old!r} stands {text.count(old)} times in {name}"
        self.write(name, text.replace(old, new))

    def doit(self, *arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            self.command(*arguments),
            cwd=self.root,
            env={**os.environ, **environment},
            capture_output=True,
            text=True,
            timeout=300,
            check=False,
        )

    @staticmethod
    def command(*arguments: str) -> list[str]:
        return [sys.executable, "-m", "doit", *arguments]

    def outputs(self) -> dict[str, bytes]:
        """Every generated file and its bytes."""
        files = [
            file
            for folder in ("build", "notebooks", "tests")
            for file in sorted((self.root / folder).rglob("*"))
            if file.is_file()
        ]
        return {
            file.relative_to(self.root).as_posix(): file.read_bytes()
            for file in [*files, self.root / "README.md"]
        }


def book_of(*topics: Topic) -> Book:
    """A book with these topics in its only part, in this order."""
    names = tuple(topic.name for topic in topics)
    part = Part("basics", "Basics", "What comes first.", names)
    catalogue = Catalogue("A small book", "For tests", "", (part,), ())
    return Book(catalogue, {topic.name: Entry.of(topic) for topic in topics}, REFERENCES)
