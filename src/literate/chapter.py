"""Topic + stored outputs → pandoc's markdown, from which both PDFs are set."""

from __future__ import annotations

import itertools
import json
from dataclasses import dataclass

from literate import common, prose
from literate.book import Book, Entry, TopicLink, resolve
from literate.common import Values
from literate.prose import Segment
from literate.stored import Stored, figures_of, text_of
from literate.topic import Cell, Topic


@dataclass(frozen=True)
class Chapter:
    """The text, and each figure's SVG by the file name that the text gives it."""

    text: str
    figures: dict[str, str]


def render(topic: Topic, stored: Stored, book: Book, folder: str) -> Chapter:
    """The chapter; its figures will be in `folder`, relative to the root."""
    writer = _Writer(topic, book, folder)
    values, outputs = iter(stored.values), iter(stored.outputs)
    blocks: list[str] = []
    opened = False
    for index, cell in enumerate(topic.cells):
        if cell.kind == "code":
            blocks += writer.code(index, cell, next(outputs, ()))
            continue
        rule = writer.rule(Values(cell, next(values, ()), topic))
        opening = None if opened else common.split_opening(cell.text)
        if opening:
            opened = True
            blocks.append(writer.markdown(opening[0], rule))
            blocks.append(writer.front())
            blocks.append(writer.markdown(opening[1], rule))
        elif "remove-cell" not in cell.tags:
            text = writer.markdown(cell.text, rule)
            blocks.append(writer.solution(text) if cell.is_solution else text)
    if not opened:
        blocks.append(writer.front())
    return Chapter("\n\n".join(block for block in blocks if block) + "\n", writer.figures)


class _Writer:
    """The rules of one chapter; remembers its headings, exercises and figures."""

    def __init__(self, topic: Topic, book: Book, folder: str) -> None:
        self.topic, self.book, self.folder = topic, book, folder
        self.slugs = prose.Slugs()
        self.exercise = ""  # the anchor of the exercise we are in
        self.figures: dict[str, str] = {}

    def rule(self, values: Values | None) -> common.Rule:
        def write(segment: Segment) -> str | None:
            if isinstance(segment, prose.Math) and segment.display:
                body = "\n".join(segment.indent + line for line in segment.tex.split("\n"))
                return f"{segment.indent}$$\n{body}\n{segment.indent}$$"
            if isinstance(segment, prose.Value) and values:
                return values(segment)
            if isinstance(segment, prose.FigureRef):
                return f'[]{{.figref target="{segment.label}"}}'
            if isinstance(segment, prose.Heading):
                return self.heading(segment, prose.write(segment.title, write))
            if isinstance(segment, prose.Link) and not segment.image:
                return self.link(segment, prose.write(segment.label, write))
            return None

        return write

    def heading(self, segment: prose.Heading, title: str) -> str:
        words = prose.plain(segment.title)
        anchor = self.slugs(words)
        self.exercise = anchor if words.startswith("Exercise ") else ""
        return f"{'#' * segment.level} {title} {{#{anchor}}}"

    def link(self, segment: prose.Link, label: str) -> str:
        target = resolve(segment.target, self.topic, segment.line)
        if not isinstance(target, TopicLink):
            return f"[{label}]({target.target})"
        if self.book.entries[target.name].planned:
            return label
        return self.cross(label, target.name, target.anchor)

    def cross(self, label: str, name: str, anchor: str = "") -> str:
        return f'[{label}]{{.xref topic="{name}" slug="{anchor}"}}'

    def front(self) -> str:
        def link(entry: Entry) -> str:
            return self.cross(entry.title, entry.name)

        line = common.front_line(self.topic, self.book, link)
        return f"::: {{.front}}\n{line}\n:::"

    def markdown(self, text: str, rule: common.Rule) -> str:
        """A cell's prose: alerts and the two set-apart paragraphs become divs."""
        written = prose.write(prose.scan(text), rule)
        return "\n\n".join(_set_apart(block) for block in _paragraphs(written))

    def solution(self, text: str) -> str:
        return f'::: {{.solution exercise="{self.exercise}"}}\n{text}\n:::'

    def code(self, index: int, cell: Cell, outputs: tuple[object, ...]) -> list[str]:
        if cell.is_test or "remove-cell" in cell.tags:
            return []
        if cell.is_exercise:
            answer = self.solution(_fence(common.solved(cell.text), "python"))
            return [_fence(common.stub(cell.text), "python"), answer]
        blocks = []
        if not cell.tags & {"remove-input", "hide-input"}:
            blocks.append(_fence(cell.text, "python"))
        if "remove-output" in cell.tags:
            return blocks
        if text := text_of(outputs):  # type: ignore[arg-type]
            blocks.append(_fence(text, "{.output}"))
        for figure in figures_of(outputs):  # type: ignore[arg-type]
            blocks.append(self.figure(cell, figure.svg))
        return blocks

    def figure(self, cell: Cell, svg: str) -> str:
        label = cell.options["label"]
        file = f"{self.folder}/{label}.svg"
        self.figures[file] = svg
        caption = prose.write(prose.scan(cell.options["fig-cap"]), self.rule(None))
        alt = json.dumps(" ".join(cell.options["fig-alt"].split()), ensure_ascii=False)
        return f'::: {{.figure #{label} file="{file}" alt={alt}}}\n{caption}\n:::'


def _paragraphs(markdown: str) -> list[str]:
    """Blocks between blank lines; a fence or a display is never cut."""
    blocks: list[str] = []
    current = ""
    for is_text, run in itertools.groupby(prose.scan(markdown), lambda s: type(s) is prose.Text):
        raw = "".join(segment.raw for segment in run)
        if not is_text:
            current += raw
            continue
        first, *rest = raw.split("\n\n")
        current += first
        for text in rest:
            blocks.append(current)
            current = text
    blocks.append(current)
    return [block.strip("\n") for block in blocks if block.strip()]


def _set_apart(block: str) -> str:
    lines = block.split("\n")
    kind = lines[0].removeprefix("> [!").removesuffix("]").lower()
    if lines[0].startswith("> [!") and kind in ("note", "tip", "important", "warning", "caution"):
        body = "\n".join(line.removeprefix(">").removeprefix(" ") for line in lines[1:])
        return f'::: {{.callout kind="{kind}"}}\n{body}\n:::'
    if common.MEANING.match(block):
        return f"::: {{.meaning}}\n{block}\n:::"
    return block


def _fence(text: str, info: str) -> str:
    marks = "```"
    while marks in text:
        marks += "`"
    return f"{marks}{info}\n{text}\n{marks}"
