"""Golden cases: a folder for each behaviour, with its input and what it must give.

`forms/<case>` holds `input.py`, `stored.json` where outputs are needed, and the expected
forms. `errors/<case>` holds `input.py` and `error.txt`, the whole text. A file that no
test reads fails the run. Write expectations anew with `pytest --update`, then read them.
"""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from helpers import book_of

from literate import chapter, document, extract, notebook, source, validate
from literate.book import Book
from literate.disk import BLANK_SEAL
from literate.problem import Trouble, raise_all
from literate.stored import Stored
from literate.topic import Topic

CASES = Path(__file__).parent / "cases"
STYLE = (Path(__file__).parents[2] / "src/literate/book.mplstyle").read_text()
NAME, PATH = "basics/first", "src/topics/basics/first.py"
SECOND = """\
# ---
# title: Second
# summary: Another topic.
# ---

# %% [markdown]
# # Second
#
# ## A heading, with punctuation!
"""
PLANNED = "# ---\n# title: Later\n# summary: Not written.\n# ---\n"


def topic_and_book(text: str) -> tuple[Topic, Book]:
    topic = source.parse(text, NAME, PATH)
    others = [
        source.parse(SECOND, "basics/second", "src/topics/basics/second.py"),
        source.parse(PLANNED, "basics/later", "src/topics/basics/later.py"),
    ]
    return topic, book_of(topic, *others)


def simple(notebook_text: str) -> str:
    """A notebook as text that a person can review: kind, id, tags, source, outputs."""
    lines = []
    for cell in json.loads(notebook_text)["cells"]:
        tags = cell["metadata"].get("tags", [])
        lines.append(f"--- {cell['cell_type']} {cell['id']} {' '.join(tags)}".rstrip())
        lines.append("".join(cell["source"]))
        lines += [f"=> {json.dumps(output)}" for output in cell.get("outputs", [])]
    return "\n".join(lines) + "\n"


def compare(file: Path, actual: str, update: bool) -> None:
    if update:
        file.write_text(actual, encoding="utf-8")
    assert actual == file.read_text(encoding="utf-8")


@pytest.mark.parametrize("case", sorted((CASES / "forms").iterdir()), ids=lambda case: case.name)
def test_forms(case: Path, request: pytest.FixtureRequest) -> None:
    update = request.config.getoption("--update")
    topic, book = topic_and_book((case / "input.py").read_text(encoding="utf-8"))
    raise_all(validate.problems(topic, book))
    data = {"outputs": [], "values": []}
    if (case / "stored.json").exists():
        data = json.loads((case / "stored.json").read_text())
    codes = sum(cell.kind == "code" for cell in topic.cells)
    outputs = data["outputs"] + [[]] * (codes - len(data["outputs"]))
    stored = Stored("stamp", tuple(map(tuple, outputs)), tuple(map(tuple, data["values"])))
    forms = {
        "document.md": lambda: document.render(topic, stored, book).text,
        "notebook.txt": lambda: simple(notebook.render(topic, stored, book, STYLE)),
        "chapter.md": lambda: chapter.render(topic, stored, book, "figures").text,
        "tests.py": lambda: extract.module(topic, extract.extract(topic), BLANK_SEAL),
    }
    expected = {file.name for file in case.iterdir()} - {"input.py", "stored.json"}
    assert expected and expected <= forms.keys(), f"unused: {sorted(expected - forms.keys())}"
    for name in sorted(expected):
        compare(case / name, forms[name](), update)


@pytest.mark.parametrize("case", sorted((CASES / "errors").iterdir()), ids=lambda case: case.name)
def test_errors(case: Path, request: pytest.FixtureRequest) -> None:
    assert {file.name for file in case.iterdir()} == {"input.py", "error.txt"}
    with pytest.raises(Trouble) as caught:
        text = source.decode((case / "input.py").read_bytes(), PATH)
        topic, book = topic_and_book(text)
        raise_all(validate.problems(topic, book))
        extract.extract(topic)
    compare(case / "error.txt", f"{caught.value}\n", request.config.getoption("--update"))
