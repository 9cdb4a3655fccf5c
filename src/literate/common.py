"""What the document, the notebook and the chapter write in the same way."""

from __future__ import annotations

import ast
import math
import re
from collections.abc import Callable, Iterable, Mapping

from literate import prose
from literate.book import Book, Entry
from literate.problem import Problem, Trouble
from literate.prose import Cite, Segment, Value
from literate.references import References
from literate.topic import BEGIN_SOLUTION, END_SOLUTION, Cell, Topic

WORDS_A_MINUTE = 180
# "softmax", "d_k's"; not "—"
WORD = re.compile(r"[^\W_][\w'’-]*")
# what markdown would read as markup in a computed text: "a*b"; not "1e-05"
MARKUP = re.compile(r"([\\`*_{}\[\]<>$|])")
# "**What this means:** …" and "**What the code shows:** …"; not "What this means"
MEANING = re.compile(r"\*\*What (?:this means|the code shows):\*\*")

Rule = Callable[[Segment], str | None]


def figure_numbers(topic: Topic) -> dict[str, int]:
    """The number of each labelled figure of the topic."""
    labels = [cell.options["label"] for cell in topic.cells if "label" in cell.options]
    return {label: number for number, label in enumerate(labels, 1)}


def cited_keys(topic: Topic) -> list[str]:
    """The keys the topic cites, each once."""
    found: dict[str, None] = {}
    for _, segments in prose_of(topic):
        for segment in prose.walk(segments):
            if isinstance(segment, Cite):
                found.update({cited.key: None for cited in segment.keys})
    return list(found)


def prose_of(topic: Topic) -> Iterable[tuple[Cell, tuple[Segment, ...]]]:
    """All markdown of a topic, captions included."""
    for cell in topic.cells:
        if cell.kind == "markdown":
            yield cell, prose.scan(cell.text)
        elif "fig-cap" in cell.options:
            yield cell, prose.scan(cell.options["fig-cap"])


def values_of(cell: Cell) -> list[Value]:
    """The inline values of a markdown cell, in order."""
    segments = prose.walk(prose.scan(cell.text))
    return [segment for segment in segments if isinstance(segment, Value)]


class Values:
    """Hands out the stored values of one cell to its inline values, in order."""

    def __init__(self, cell: Cell, stored: tuple[str, ...], topic: Topic) -> None:
        expected = values_of(cell)
        if len(expected) != len(stored):
            what = "the stored outputs do not fit the inline values of this cell"
            todo = f"run `doit execute:{topic.name}`"
            raise Trouble(Problem(topic.path, cell.line, what, todo))
        self._stored = iter(stored)

    def __call__(self, _: Value) -> str:
        return MARKUP.sub(r"\\\1", next(self._stored))


def cite(segment: Cite, references: References, link: Callable[[str], str]) -> str:
    """A citation in words, each key linked by `link`."""

    def one(key: str, words: str) -> str:
        target = link(key)
        return f"[{words}]({target})" if target else words

    if segment.narrative:
        key = segment.keys[0].key
        return one(key, references[key].narrative)
    parts = []
    for cited in segment.keys:
        words = one(cited.key, references[cited.key].cited)
        prefix = f"{cited.prefix} " if cited.prefix else ""
        suffix = f", {cited.suffix}" if cited.suffix else ""
        parts.append(f"{prefix}{words}{suffix}")
    return f"({'; '.join(parts)})"


def reading_minutes(topic: Topic) -> int:
    words = sum(count_words(cell.text) for cell in topic.cells if cell.kind == "markdown")
    return max(1, math.ceil(words / WORDS_A_MINUTE))


def count_words(markdown: str) -> int:
    """Words of running text; formulas, code and addresses do not count."""
    texts = [s.raw for s in prose.walk(prose.scan(markdown)) if type(s) is prose.Text]
    return len(WORD.findall(" ".join(texts)))


def front_line(topic: Topic, book: Book, link: Callable[[Entry], str]) -> str:
    """Prerequisites with what is needed of each, packages and reading time."""
    items = []
    for prerequisite in topic.front.prerequisites:
        entry = book.entries[prerequisite.topic]
        name = entry.title if entry.planned else link(entry)
        items.append(f"{name} ({prerequisite.needs})" if prerequisite.needs else name)
    packages = ", ".join(f"`{package}`" for package in topic.front.packages)
    parts = [f"**Prerequisites:** {'; '.join(items) if items else 'none'}."]
    if packages:
        parts.append(f"**For code:** {packages}.")
    minutes = reading_minutes(topic)
    parts.append(f"**Reading time:** {minutes} minute{'s' * (minutes > 1)}.")
    return " ".join(parts)


def split_opening(text: str) -> tuple[str, str] | None:
    """A cell's text before and from its first `## ` heading, if it has one."""
    offset = 0
    for segment in prose.scan(text):
        if isinstance(segment, prose.Heading) and segment.level == 2:
            return text[:offset], text[offset:]
        offset += len(segment.raw)
    return None


def stub(code: str) -> str:
    """An exercise's code with each solution replaced by a refusal."""
    lines: list[str] = []
    inside = False
    for line in code.split("\n"):
        if line.strip() == BEGIN_SOLUTION:
            inside = True
            indent = line[: len(line) - len(line.lstrip())]
            lines += [f"{indent}# Your code here.", f"{indent}raise NotImplementedError"]
        elif line.strip() == END_SOLUTION:
            inside = False
        elif not inside:
            lines.append(line)
    return "\n".join(lines)


def solved(code: str) -> str:
    """An exercise's code without the markers."""
    marks = (BEGIN_SOLUTION, END_SOLUTION)
    return "\n".join(line for line in code.split("\n") if line.strip() not in marks)


def test_functions(code: str) -> list[str]:
    """The names of the tests that a test cell defines."""
    return [
        node.name
        for node in ast.parse(code).body
        if isinstance(node, ast.FunctionDef) and node.name.startswith("test_")
    ]


def exercise_of(topic: Topic) -> Mapping[int, int]:
    """For each test cell that checks an exercise, the index of the exercise's cell."""
    found: dict[int, int] = {}
    current: int | None = None
    for index, cell in enumerate(topic.cells):
        if cell.is_exercise:
            current = index
        elif cell.kind == "code" and cell.is_test and current is not None:
            found[index] = current
        else:
            current = None
    return found
