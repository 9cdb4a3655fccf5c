"""Whether a topic is sound: structure, links, citations, labels, exercises, formulas."""

from __future__ import annotations

import ast
import re
import sys
from collections.abc import Iterator

from literate import common, mathcheck, paths, prose
from literate.book import Book, TopicLink, link_problems, resolve
from literate.problem import Problem, Trouble
from literate.stamp import DISTRIBUTIONS
from literate.topic import BEGIN_SOLUTION, END_SOLUTION, Cell, Topic

LABEL = re.compile(r"fig-[a-z0-9]+(?:-[a-z0-9]+)*")
# "<div", "</b>", "<!--"; not "a < b"
TAG = re.compile(r"<(?P<name>/?[A-Za-z][\w-]*|!--)")
ALLOWED_TAGS = frozenset({"br", "sub", "/sub", "sup", "/sup", "kbd", "/kbd"})
# "costs $5"; not "costs \\$5"
LONE_DOLLAR = re.compile(r"(?<!\\)\$")
# "<https://x.org>"
AUTOLINK = re.compile(r"<https?://[^>\s]+>")
STDLIB = sys.stdlib_module_names
# Packages that come with another one, by import name.
COMES_WITH = {"mpl_toolkits": "matplotlib", "IPython": "ipykernel"}


def problems(topic: Topic, book: Book) -> list[Problem]:
    """All findings. A planned topic has only its front matter looked at."""
    found = list(_front(topic, book))
    if topic.planned:
        return found
    found += _code(topic)
    if found and any("not valid Python" in problem.what for problem in found):
        return found  # what follows parses the code
    found += _opening(topic)
    found += _figures(topic)
    found += _exercises(topic)
    found += _packages(topic)
    labels = common.figure_numbers(topic)
    for cell in topic.cells:
        if cell.kind == "markdown":
            found += _prose(cell, topic, book, labels)
        elif "fig-cap" in cell.options:
            line = cell.option_lines["fig-cap"]
            caption = Cell("markdown", cell.options["fig-cap"], line)
            found += _prose(caption, topic, book, labels)
    return found


def _front(topic: Topic, book: Book) -> Iterator[Problem]:
    path = topic.path
    for prerequisite in topic.front.prerequisites:
        if prerequisite.topic not in book.entries:
            what = f"the prerequisite {prerequisite.topic!r} is no topic"
            todo = f"name one that {paths.CATALOGUE} lists"
            yield Problem(path, prerequisite.line, what, todo)
    for cycle in _cycles(topic.name, book):
        what = f"the prerequisites form a cycle, {' → '.join(cycle)}"
        line = topic.front.line("prerequisites")
        yield Problem(path, line, what, "take one of these prerequisites out")
    for stem in topic.front.notebooks:
        if f"notebooks/{stem}" not in book.entries:
            what = f"the notebook {stem!r} is no topic"
            todo = f"name one of the part notebooks in {paths.CATALOGUE}"
            yield Problem(path, topic.front.line("notebooks"), what, todo)


def _cycles(name: str, book: Book) -> Iterator[list[str]]:
    """A shortest way from `name` back to itself along prerequisites, if there is one."""
    queue, seen = [[name]], {name}
    while queue:
        way = queue.pop(0)
        entry = book.entries.get(way[-1])
        for prerequisite in entry.prerequisites if entry else ():
            if prerequisite.topic == name:
                yield [*way, name]
                return
            if prerequisite.topic not in seen:
                seen.add(prerequisite.topic)
                queue.append([*way, prerequisite.topic])


def _code(topic: Topic) -> Iterator[Problem]:
    for cell in topic.cells:
        if cell.kind != "code":
            continue
        try:
            ast.parse(cell.text)
        except SyntaxError as error:
            line = cell.line + (error.lineno or 1) - 1
            what = f"the cell is not valid Python, {error.msg}"
            todo = "mend it; the source also runs as a script, so no magics"
            yield Problem(topic.path, line, what, todo)


def _opening(topic: Topic) -> Iterator[Problem]:
    first = topic.cells[0]
    title = f"# {topic.front.title}"
    if first.kind != "markdown" or first.text.split("\n")[0].strip() != title:
        what = "the first cell does not open with the title"
        yield Problem(topic.path, first.line, what, f"open it with `{title}`")


def _figures(topic: Topic) -> Iterator[Problem]:
    lines: dict[str, int] = {}
    for cell in topic.cells:
        options = {key: cell.options.get(key) for key in ("label", "fig-cap", "fig-alt")}
        if not any(options.values()):
            if cell.kind == "code" and not cell.is_test and _draws(cell):
                what = "a figure without label, caption and alternative text"
                todo = "add `#| label: fig-…`, `#| fig-cap: …` and `#| fig-alt: …`"
                yield Problem(topic.path, cell.line, what, todo)
            continue
        line = min(cell.option_lines.values())
        for key, value in options.items():
            if not value or not value.strip():
                what = f"the figure has no {key}"
                yield Problem(topic.path, line, what, f"add `#| {key}: …` to the cell")
        label = options["label"]
        if not label:
            continue
        where = cell.option_lines["label"]
        if not LABEL.fullmatch(label):
            what = f"the label {label!r} is not of the form fig-name"
            yield Problem(topic.path, where, what, "use lower-case letters and hyphens")
        if label in lines:
            what = f"the label {label!r} is used twice"
            todo = f"rename it; the first is at line {lines[label]}"
            yield Problem(topic.path, where, what, todo)
        lines[label] = where


def _draws(cell: Cell) -> bool:
    """Whether a cell's own statements make a figure (a function's body does not count)."""
    for node in ast.parse(cell.text).body:
        if isinstance(node, ast.FunctionDef | ast.ClassDef):
            continue
        for inner in ast.walk(node):
            if (
                isinstance(inner, ast.Attribute)
                and inner.attr in ("subplots", "figure")
                and isinstance(inner.value, ast.Name)
                and inner.value.id == "plt"
            ):
                return True
    return False


def _exercises(topic: Topic) -> Iterator[Problem]:
    for cell in topic.cells:
        if cell.kind != "code":
            continue
        opened: int | None = None
        spans: list[tuple[int, int]] = []
        for number, line in enumerate(cell.text.split("\n"), 1):
            where = cell.line + number - 1
            mark = line.strip()
            if mark == BEGIN_SOLUTION and opened is not None:
                what, todo = "a solution begins inside a solution", f"close it: {END_SOLUTION}"
                yield Problem(topic.path, where, what, todo)
            elif mark == BEGIN_SOLUTION:
                opened = number
            elif mark == END_SOLUTION and opened is None:
                what, todo = "a solution ends that has not begun", f"open it: {BEGIN_SOLUTION}"
                yield Problem(topic.path, where, what, todo)
            elif mark == END_SOLUTION and opened is not None:
                spans.append((opened, number))
                opened = None
        if opened is not None:
            what, todo = "the solution does not end", f"close it with {END_SOLUTION}"
            yield Problem(topic.path, cell.line + opened - 1, what, todo)
        for begin, end in spans:
            if not _inside_function(cell, begin, end):
                what = "the solution stands outside a function"
                todo = "put it into a function's body, so that the stub can refuse"
                yield Problem(topic.path, cell.line + begin - 1, what, todo)
    checked = set(common.exercise_of(topic).values())
    for index, cell in enumerate(topic.cells):
        if cell.is_exercise and index not in checked:
            what, todo = "the exercise has no test", 'follow it with a `tags=["test"]` cell'
            yield Problem(topic.path, cell.line, what, todo)


def _inside_function(cell: Cell, begin: int, end: int) -> bool:
    return any(
        isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
        and node.lineno < begin
        and end <= (node.end_lineno or 0) + 1
        for node in ast.walk(ast.parse(cell.text))
    )


def _packages(topic: Topic) -> Iterator[Problem]:
    for cell in topic.cells:
        if cell.kind != "code":
            continue
        for node in ast.walk(ast.parse(cell.text)):
            names: list[str] = []
            if isinstance(node, ast.Import):
                names = [alias.name for alias in node.names]
            elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
                names = [node.module]
            for name in names:
                top = name.split(".")[0]
                package = COMES_WITH.get(top, DISTRIBUTIONS.get(top, top)).replace("_", "-")
                named = {item.replace("_", "-") for item in topic.front.packages}
                if top not in STDLIB and package not in named and top not in named:
                    what = f"the cell imports {top}, which `packages` does not name"
                    line = cell.line + node.lineno - 1  # type: ignore[attr-defined]
                    todo = f"add {package} to `packages` in the front matter"
                    yield Problem(topic.path, line, what, todo)


def _prose(cell: Cell, topic: Topic, book: Book, labels: dict[str, int]) -> Iterator[Problem]:
    yield from mathcheck.problems(cell, topic.path)
    for segment in prose.walk(prose.scan(cell.text)):
        line = cell.line + segment.line - 1
        if isinstance(segment, prose.Link) and not segment.image:
            try:
                target = resolve(segment.target, topic, line)
            except Trouble as trouble:
                yield from trouble.problems
                continue
            if isinstance(target, TopicLink):
                yield from link_problems(target, book, topic.path, line)
            elif target.target.startswith("#"):
                link = TopicLink(topic.name, target.target[1:])
                yield from link_problems(link, book, topic.path, line)
        elif isinstance(segment, prose.Cite):
            for cited in segment.keys:
                if cited.key not in book.references:
                    what = f"the citation @{cited.key} is unknown"
                    todo = f"add it to {paths.REFERENCES}, or mend the key"
                    yield Problem(topic.path, line, what, todo)
        elif isinstance(segment, prose.FigureRef) and segment.label not in labels:
            todo = f"use one of: {', '.join(labels) or 'none yet'}"
            yield Problem(topic.path, line, f"no figure is labelled {segment.label}", todo)
        elif isinstance(segment, prose.Value):
            try:
                ast.parse(segment.expression, mode="eval")
            except SyntaxError as error:
                what = f"the inline value is not an expression, {error.msg}"
                yield Problem(topic.path, line, what, "write one Python expression")
        elif type(segment) is prose.Text:
            yield from _html(segment, line, topic)
            yield from _dollars(segment, line, topic)
        if isinstance(segment, prose.Heading) and any(
            isinstance(inner, prose.Value) for inner in segment.title
        ):
            what, todo = "an inline value in a heading", "move it into the text"
            yield Problem(topic.path, line, what, todo)


def _dollars(segment: prose.Text, line: int, topic: Topic) -> Iterator[Problem]:
    """A dollar that opens no formula is a formula that somebody meant."""
    for match in LONE_DOLLAR.finditer(segment.raw):
        where = line + segment.raw.count("\n", 0, match.start())
        what = "a dollar that neither opens nor closes a formula"
        todo = r"write \$ for money; a formula has no space inside its dollars, no digit behind"
        yield Problem(topic.path, where, what, todo)


def _html(segment: prose.Text, line: int, topic: Topic) -> Iterator[Problem]:
    text = AUTOLINK.sub("", segment.raw)
    for match in TAG.finditer(text):
        if match["name"].lower() not in ALLOWED_TAGS:
            where = line + text.count("\n", 0, match.start())
            todo = f"use markdown; allowed are {', '.join(sorted(ALLOWED_TAGS))}"
            yield Problem(topic.path, where, f"raw HTML <{match['name']}>", todo)
