"""`check` finds each planted defect, one at a time, and says where it is."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
from helpers import SmallBook

from literate import check
from literate.build import Builder
from literate.problem import Trouble

FIRST = "src/topics/basics/first.py"
SECOND = "src/topics/basics/second.py"
# file, what stands there, what is planted, where and what `check` must say
DEFECTS = [
    (FIRST, "# title: First", "# titel: First", f"{FIRST}:2: unknown key 'titel'"),
    (FIRST, "# # First", "# # Fisrt", f"{FIRST}:9: the first cell does not open"),
    (FIRST, "# ## Doubling", "# ## Doubling\n#\n# [x](none.py)", f"{FIRST}:15: the link leads"),
    (SECOND, "first.py#doubling", "first.py#dubbing", f"{SECOND}:12: basics/first has no"),
    (SECOND, "basics/first: how", "basics/frist: how", f"{SECOND}:5: the prerequisite"),
    (FIRST, "[@ada1843notes]", "[@ada1834notes]", f"{FIRST}:11: the citation @ada1834notes"),
    (FIRST, "for $x = 21$", "for $x = {21$", f"{FIRST}:38: the formula x = {{21 does not"),
    (FIRST, "for $x = 21$", "for $x=|21|$", f"{FIRST}:38: a bare | in x=|21|"),
    (FIRST, "for $x = 21$", "for$x = 21$", f"{FIRST}:38: a letter or digit touches"),
    (FIRST, "for $x = 21$", "for \\$x$ 21", f"{FIRST}:38: a dollar that neither opens"),
    (FIRST, "#| fig-alt: A rising line.\n", "", f"{FIRST}:24: the figure has no fig-alt"),
    (FIRST, "#| label: fig-line", "#| label: line", f"{FIRST}:24: the label 'line' is not"),
    (FIRST, "@fig-line", "@fig-lime", f"{FIRST}:40: no figure is labelled fig-lime"),
    (FIRST, "    ### END SOLUTION\n", "", f"{FIRST}:47: the solution does not end"),
    (FIRST, "return 2 * x", "return 3 * x", f"{FIRST}: the stored outputs are older"),
    (FIRST, "double(21)", "double(22)", f"{FIRST}: the stored outputs are older"),
    (FIRST, "Numbers can", "All numbers can", "build/basics/first.md:"),
    (FIRST, "assert double(3) == 6", "assert double(4) == 8", "the stored outputs are older"),
    (FIRST, "Numbers can", "<script>x</script> can", f"{FIRST}:11: raw HTML <script>"),
    (FIRST, "# ## Doubling", "# ## Doubling $x$", f"{FIRST}:13: a formula in a heading"),
    (
        FIRST,
        "import matplotlib",
        "import torch\nimport matplotlib",
        f"{FIRST}:27: the cell imports",
    ),
    ("build/basics/second.md", "It builds", "It rests", "build/basics/second.md:1: the generated"),
    ("build/basics/first_files/fig-line.svg", "</svg>", "</svg >", "fig-line.svg:1: the generated"),
    ("notebooks/basics/first.ipynb", '"8\\n"', '"9\\n"', "first.ipynb:1: the generated file was"),
    ("tests/topics/basics/test_first.py", "== 6", "== 7", "test_first.py:1: the generated file"),
    ("README.md", "The first topic.", "Another.", "README.md:3: the generated block 'documents'"),
    ("src/catalogue.yaml", "[first, second]", "[second, first]", "machine-learning.pdf: not what"),
    ("src/catalogue.yaml", "[first, second]", "[second]", f"{FIRST}: src/catalogue.yaml does not"),
    (
        "src/catalogue.yaml",
        "title: A small book",
        "title: A small book\nstandards: {documents: {linked_by: 1}}",
        f"{SECOND}: linked by 0 other topics, fewer than 1",
    ),
    (
        "src/catalogue.yaml",
        "[first, second]",
        "[second, first]",
        "machine-learning.epub: not what",
    ),
    ("build/index.md", "# Index", "# Indices", "build/index.md:1: the generated file was"),
    ("src/index.yaml", "first#doubling", "first#halving", "src/index.yaml:1: basics/first has no"),
    ("src/index.yaml", "doubling: b", "halving: b", "src/index.yaml:3: 'times two' sends on to"),
    ("src/index.yaml", "times two", "times 2", "build/index.md:"),
    (
        "src/index.yaml",
        "doubling: b",
        "squaring: basics/second#quadrupling\ndoubling: b",
        "src/index.yaml:1: basics/second#quadrupling does not speak of 'squaring'",
    ),
    (
        "src/catalogue.yaml",
        "paths:",
        "arrows:\n  - [basics/first, basics/third]\npaths:",
        "src/catalogue.yaml:13: ['basics/first', 'basics/third'] is not an arrow",
    ),
    ("build/changes.md", "# Changes", "# News", "build/changes.md:1: the generated file was"),
    ("src/changes.yaml", "shorter", "longer", "build/changes.md:"),
    ("src/changes.yaml", "basics/first", "basics/frist", "src/changes.yaml:3: an entry of 2026-02"),
    ("src/changes.yaml", "{added: ", "{fixed: ", "src/changes.yaml:1: an entry of 2026-01-01 is"),
    ("src/references.bib", "Notes}", "Remarks}", "build/basics/first.md:"),
]


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Path:
    book = SmallBook(tmp_path_factory.mktemp("built"))
    done = book.doit()
    assert done.returncode == 0, done.stdout
    return book.root


def findings(root: Path) -> str:
    """All that `check` says of the book in `root`."""
    builder = Builder(root)
    said = []
    try:
        builder.references()
        builder.index()
        names = builder.book().written()
    except Trouble as trouble:
        return str(trouble)
    for name in names:
        try:
            check.check_topic(builder, name)
        except Trouble as trouble:
            said.append(str(trouble))
    try:
        check.check_book(builder)
    except Trouble as trouble:
        said.append(str(trouble))
    return "\n".join(said)


def test_nothing_is_found_in_a_sound_book(built: Path) -> None:
    assert findings(built) == ""


@pytest.mark.parametrize(("file", "old", "new", "said"), DEFECTS)
def test_planted_defect(
    built: Path, tmp_path: Path, file: str, old: str, new: str, said: str
) -> None:
    root = tmp_path / "book"
    shutil.copytree(built, root)
    path = root / file
    text = path.read_text(encoding="utf-8")
    assert old in text
    path.write_text(text.replace(old, new, 1), encoding="utf-8")
    lines = [line for line in findings(root).split("\n") if said in line]
    assert lines and all(" — " in line for line in lines), findings(root)
