"""The README's generated blocks: tables, dependency graph and reading paths.

The rest of the README is written by hand; each block stands between two markers.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

from literate import paths
from literate.book import Book, Entry
from literate.disk import digest
from literate.problem import Problem, raise_all
from literate.topic import NOTEBOOKS

NAME = "README.md"
# What a reader should know to read a notebook's code, by package.
FRAMEWORKS = {"numpy": "NumPy", "torch": "PyTorch"}
BEGIN = "<!-- BEGIN {name} (generated from src/; do not edit, run doit) {seal} -->"
END = "<!-- END {name} -->"
BLOCK = re.compile(
    r"<!-- BEGIN (?P<name>[a-z]+) (?:\(generated[^)]*\) )?(?:digest:(?P<seal>[0-9a-f]*) )?-->\n"
    r"(?P<body>.*?)<!-- END (?P=name) -->",
    re.S,
)


def fill(text: str, book: Book) -> str:
    """`text` with each block written anew. A block edited by hand is a problem."""
    blocks = {"documents": documents, "notebooks": notebooks, "graph": graph, "paths": reading}
    problems = []

    def one(match: re.Match[str]) -> str:
        line = text.count("\n", 0, match.start()) + 1
        name = match["name"]
        if name not in blocks:
            todo = f"use one of: {', '.join(blocks)}"
            problems.append(Problem(NAME, line, f"unknown block {name!r}", todo))
            return match[0]
        if match["seal"] and match["seal"] != digest(match["body"]):
            what = f"the generated block {name!r} was edited by hand"
            todo = "make the change in the topic's front matter or the catalogue, empty this block"
            problems.append(Problem(NAME, line, what, todo))
            return match[0]
        body = "\n".join(["", *blocks[name](book), "", ""])
        begin = BEGIN.format(name=name, seal=f"digest:{digest(body)}")
        return f"{begin}\n{body}{END.format(name=name)}"

    filled = BLOCK.sub(one, text)
    raise_all(problems)
    return filled


def _link(entry: Entry, words: str | None = None) -> str:
    words = words or entry.title
    return words if entry.planned else f"[{words}]({paths.document(entry.name)})"


def documents(book: Book) -> Iterator[str]:
    """A table of documents for each part."""
    for part in book.catalogue.parts:
        if part.name == NOTEBOOKS:
            continue
        yield from (f"### {part.title}", "", part.summary, "")
        yield "| document | what it is about | notebook |"
        yield "|---|---|---|"
        for name in part.topics:
            entry = book.entries[name]
            title = f"{entry.title} *(planned)*" if entry.planned else _link(entry)
            summary = entry.summary.replace("|", "\\|")
            yield f"| {title} | {summary} | {_own_notebook(entry, book)} |"
        yield ""


def _own_notebook(entry: Entry, book: Book) -> str:
    if entry.planned:
        return ""
    return f"[notebook]({paths.notebook(entry.name)}){book.in_colab(entry.name, before=', ')}"


def notebooks(book: Book) -> Iterator[str]:
    """The table of labs."""
    yield "| notebook | focus | framework | pairs with |"
    yield "|---|---|---|---|"
    for part in book.catalogue.parts:
        for name in part.topics if part.name == NOTEBOOKS else ():
            entry = book.entries[name]
            stem = name.split("/")[1]
            title = f"`{stem}` *(planned)*"
            if not entry.planned:
                title = f"[`{stem}`]({paths.notebook(name)})"
                title += book.in_colab(name, before=", ")
            paired = [e for e in book.entries.values() if stem in e.notebooks]
            pairs = ", ".join(_link(e) for e in paired)
            used = ", ".join(FRAMEWORKS[p] for p in entry.packages if p in FRAMEWORKS)
            yield f"| {title} | {entry.summary} | {used} | {pairs} |"


def graph(book: Book) -> Iterator[str]:
    """The dependency graph, for Mermaid: an arrow leads from what comes first."""
    yield "```mermaid"
    yield "graph TD"
    for part in book.catalogue.parts:
        if part.name == NOTEBOOKS:
            continue
        yield f'  subgraph {part.name}["{part.title}"]'
        for name in part.topics:
            yield f'    {_node(name)}["{book.entries[name].title}"]'
        yield "  end"
    arrows = edges(book)
    drawn = {*direct(arrows), *book.catalogue.arrows}
    for start, end in (arrow for arrow in arrows if arrow in drawn):
        yield f"  {_node(start)} --> {_node(end)}"
    yield "```"


def direct(arrows: list[tuple[str, str]]) -> list[tuple[str, str]]:
    """`arrows` without those that a longer way says too: the graph stays readable."""
    after: dict[str, list[str]] = {}
    for start, end in arrows:
        after.setdefault(start, []).append(end)

    def reached(start: str) -> set[str]:
        found: set[str] = set()
        waiting = list(after.get(start, ()))
        while waiting:
            name = waiting.pop()
            if name not in found:
                found.add(name)
                waiting += after.get(name, ())
        return found

    return [
        (start, end)
        for start, end in arrows
        if not any(end in reached(other) for other in after[start] if other != end)
    ]


def edges(book: Book) -> list[tuple[str, str]]:
    """(prerequisite, topic) for all documents, in the book's order."""
    names = [name for name in book.catalogue.topics if not name.startswith(f"{NOTEBOOKS}/")]
    return [
        (prerequisite.topic, name)
        for name in names
        for prerequisite in book.entries[name].prerequisites
        if prerequisite.topic in book.entries
    ]


def _node(name: str) -> str:
    return name.replace("/", "_").replace("-", "_")


def reading(book: Book) -> Iterator[str]:
    """The reading paths, every step linked."""
    for way in book.catalogue.reading_paths:
        steps = " → ".join(_link(book.entries[name]) for name in way.steps)
        yield f"- **{way.name}**: {way.summary}<br>{steps}"
