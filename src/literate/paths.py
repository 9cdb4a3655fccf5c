"""One name, four trees: where each form of a topic lives, relative to the root."""

from __future__ import annotations

import posixpath

from literate.topic import NOTEBOOKS

CACHE = ".cache"
CATALOGUE = "src/catalogue.yaml"
REFERENCES = "src/references.bib"
NOTATION = "src/notation.md"
NOTATION_PAGE = "build/notation.md"
BOOK_PDF = "build/machine-learning.pdf"


def source(name: str) -> str:
    return f"src/topics/{name}.py"


def document(name: str) -> str:
    return f"build/{name}.md"


def figures(name: str) -> str:
    """The folder of the document's figures."""
    return f"build/{name}_files"


def notebook(name: str) -> str:
    part, stem = name.split("/")
    return f"notebooks/{stem}.ipynb" if part == NOTEBOOKS else f"notebooks/{name}.ipynb"


def tests(name: str) -> str:
    part, stem = name.split("/")
    return f"tests/topics/{part}/test_{stem.replace('-', '_')}.py"


def pdf(name: str) -> str:
    return f"build/pdf/{name}.pdf"


def chapter(name: str) -> str:
    """The topic as typst, an intermediate of both PDFs; not committed."""
    return f"{CACHE}/chapters/{name}.typ"


def solutions(name: str) -> str:
    """The solutions of the topic's exercises, as typst."""
    return f"{CACHE}/chapters/{name}.solutions.typ"


def costs(name: str) -> str:
    """Seconds and memory of the last execution on this machine; not committed."""
    return f"{CACHE}/costs/{name}.json"


def relative(target: str, start: str) -> str:
    """`target` as a link in the file `start`."""
    return posixpath.relpath(target, posixpath.dirname(start) or ".")
