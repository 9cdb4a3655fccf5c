"""One name, four trees: where each form of a topic lives, relative to the root."""

from __future__ import annotations

import posixpath

from literate.topic import NOTEBOOKS

CACHE = ".cache"
CATALOGUE = "src/catalogue.yaml"
REFERENCES = "src/references.bib"
NOTATION = "src/notation.md"
NOTATION_PAGE = "build/notation.md"
INDEX_OF_TERMS = "src/index.yaml"
INDEX_PAGE = "build/index.md"
CHANGES = "src/changes.yaml"
CHANGES_PAGE = "build/changes.md"
BOOK_PDF = "build/machine-learning.pdf"
BOOK_EPUB = "build/machine-learning.epub"


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


def chapter_markdown(name: str) -> str:
    """The topic as pandoc's markdown, from which the PDFs and the EPUB are made."""
    return f"{CACHE}/chapters/{name}.md"


def costs(name: str) -> str:
    """Seconds and memory of the last execution on this machine; not committed."""
    return f"{CACHE}/costs/{name}.json"


def colab(repository: str, name: str) -> str:
    """Where Colab opens the topic's notebook; nowhere unless the address is on GitHub."""
    host = "https://github.com/"
    if not repository.startswith(host):
        return ""
    place = repository.removeprefix(host).removesuffix(".git")
    return f"https://colab.research.google.com/github/{place}/blob/main/{notebook(name)}"


def relative(target: str, start: str) -> str:
    """`target` as a link in the file `start`."""
    return posixpath.relpath(target, posixpath.dirname(start) or ".")
