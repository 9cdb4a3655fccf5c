"""Topic + stored outputs → the Markdown document that GitHub shows, and its figures."""

from __future__ import annotations

from dataclasses import dataclass

from literate import common, disk, paths, prose
from literate.book import Book, Entry, TopicLink, resolve
from literate.common import Values
from literate.prose import Segment
from literate.stored import Stored, figures_of, text_of
from literate.topic import Cell, Topic


@dataclass(frozen=True)
class Document:
    """The text with a blank seal, and each figure's SVG (sealed likewise) by path."""

    text: str
    figures: dict[str, str]


def github_math(segment: prose.Math) -> str:
    """GitHub's verbatim forms: its dollars lose backslashes."""
    if segment.display:
        body = "\n".join(segment.indent + line for line in segment.tex.split("\n"))
        return f"{segment.indent}```math\n{body}\n{segment.indent}```"
    return f"$`{' '.join(segment.tex.split())}`$"


def lower(markdown: str) -> str:
    """Only the mathematics of `markdown` in GitHub's forms; all else as it was."""

    def rule(segment: Segment) -> str | None:
        if isinstance(segment, prose.Math):
            return github_math(segment)
        if isinstance(segment, prose.Heading):
            return f"{'#' * segment.level} {prose.write(segment.title, rule)}"
        if isinstance(segment, prose.Link):
            return f"{'!' * segment.image}[{prose.write(segment.label, rule)}]({segment.target})"
        return None

    return prose.write(prose.scan(markdown), rule)


def render(topic: Topic, stored: Stored, book: Book) -> Document:
    """The document. Its path is `paths.document(topic.name)`."""
    here = paths.document(topic.name)
    writer = _Writer(topic, book, here)
    values, outputs = iter(stored.values), iter(stored.outputs)
    blocks: list[str] = []
    opened = False
    for cell in topic.cells:
        if cell.kind == "code":
            blocks += writer.code(cell, next(outputs, ()))
            continue
        rule = writer.rule(Values(cell, next(values, ()), topic))
        opening = None if opened else common.split_opening(cell.text)
        if opening:
            opened = True
            before, after = (prose.write(prose.scan(text), rule) for text in opening)
            blocks += [before.strip("\n"), writer.front(), "---", after.strip("\n")]
        elif "remove-cell" not in cell.tags:
            text = prose.write(prose.scan(cell.text), rule)
            blocks += _folded("Solution", [text]) if cell.is_solution else [text]
    if not opened:
        blocks.append(writer.front())
    blocks += writer.back()
    head = f"<!-- Generated from {topic.path}: edit that file, then run doit. {disk.BLANK_SEAL} -->"
    text = "\n\n".join(block for block in [head, *blocks] if block) + "\n"
    return Document(text, writer.figures)


class _Writer:
    """The rules of one document; collects its figures."""

    def __init__(self, topic: Topic, book: Book, here: str) -> None:
        self.topic, self.book, self.here = topic, book, here
        self.numbers = common.figure_numbers(topic)
        self.figures: dict[str, str] = {}

    def rule(self, values: Values | None) -> common.Rule:
        def write(segment: Segment) -> str | None:
            if isinstance(segment, prose.Math):
                return github_math(segment)
            if isinstance(segment, prose.Value) and values:
                return values(segment)
            if isinstance(segment, prose.Cite):
                return common.cite(segment, self.book.references, lambda key: f"#{key}")
            if isinstance(segment, prose.FigureRef):
                return f"[Figure {self.numbers[segment.label]}](#{segment.label})"
            if isinstance(segment, prose.Heading):
                return f"{'#' * segment.level} {prose.write(segment.title, write)}"
            if isinstance(segment, prose.Link) and not segment.image:
                return self.link(segment, prose.write(segment.label, write))
            return None

        return write

    def link(self, segment: prose.Link, label: str) -> str:
        target = resolve(segment.target, self.topic, segment.line)
        if not isinstance(target, TopicLink):
            return f"[{label}]({target.target})"
        if self.book.entries[target.name].planned:
            return label
        anchor = f"#{target.anchor}" if target.anchor else ""
        return f"[{label}]({paths.relative(paths.document(target.name), self.here)}{anchor})"

    def entry(self, entry: Entry) -> str:
        return f"[{entry.title}]({paths.relative(paths.document(entry.name), self.here)})"

    def front(self) -> str:
        line = common.front_line(self.topic, self.book, self.entry)
        return " ".join([line, *self.notebook_links("**Notebook:** {}.")])

    def notebook_links(self, form: str) -> list[str]:
        """Links to the notebooks that go with this document."""
        names = [f"notebooks/{stem}" for stem in self.topic.front.notebooks]
        if self.topic.part == "notebooks":
            names = [self.topic.name]
        links = [
            f"[{entry.title}]({paths.relative(paths.notebook(entry.name), self.here)})"
            + self.book.in_colab(entry.name, before=", ")
            for entry in (self.book.entries[name] for name in names)
            if not entry.planned
        ]
        return [form.format(", ".join(links))] if links else []

    def code(self, cell: Cell, outputs: tuple[object, ...]) -> list[str]:
        if cell.is_test or "remove-cell" in cell.tags:
            return []
        if cell.is_exercise:
            answer = _folded("Solution", [_fence(common.solved(cell.text), "python")])
            return [_fence(common.stub(cell.text), "python"), *answer]
        blocks = []
        if "hide-input" in cell.tags:
            blocks += _folded("Code", [_fence(cell.text, "python")])
        elif "remove-input" not in cell.tags:
            blocks.append(_fence(cell.text, "python"))
        if "remove-output" in cell.tags:
            return blocks
        if text := text_of(outputs):  # type: ignore[arg-type]
            blocks.append(_fence(text, "text"))
        for figure in figures_of(outputs):  # type: ignore[arg-type]
            blocks += self.figure(cell, figure.svg)
        return blocks

    def figure(self, cell: Cell, svg: str) -> list[str]:
        label = cell.options["label"]
        file = f"{paths.figures(self.topic.name)}/{label}.svg"
        self.figures[file] = sealed_svg(svg, self.topic.path)
        alt = cell.options["fig-alt"].replace("[", r"\[").replace("]", r"\]")
        caption = prose.write(prose.scan(cell.options["fig-cap"]), self.rule(None))
        return [
            f'<a id="{label}"></a>',
            f"![{' '.join(alt.split())}]({paths.relative(file, self.here)})",
            f"**Figure {self.numbers[label]}.** {' '.join(caption.split())}",
        ]

    def back(self) -> list[str]:
        """The notebook's line, the references, and the way to the neighbours."""
        blocks = self.notebook_links("**Notebook:** {} for hands-on implementation.")
        keys = set(common.cited_keys(self.topic))
        if keys:
            blocks.append("## References")
            listed = [
                f'- <a id="{key}"></a>{reference.listed}'
                for key, reference in self.book.references.items()
                if key in keys
            ]
            blocks.append("\n".join(listed))
        before, after = self.book.neighbours(self.topic.name)
        steps = [f"Previous: {self.entry(before)}"] if before else []
        steps += [f"Next: {self.entry(after)}"] if after else []
        contents = paths.relative("README.md", self.here)
        return [*blocks, "---", " · ".join([*steps, f"[All topics]({contents})"])]


def sealed_svg(svg: str, source: str) -> str:
    """A figure's file, with a line naming its source after the XML declaration."""
    note = f"<!-- Generated from {source}: edit that file, then run doit. {disk.BLANK_SEAL} -->"
    declaration, newline, rest = svg.partition("?>\n")
    return f"{declaration}{newline}{note}\n{rest}" if newline else f"{note}\n{svg}"


def _fence(text: str, language: str) -> str:
    marks = "```"
    while marks in text:
        marks += "`"
    return f"{marks}{language}\n{text}\n{marks}"


def _folded(title: str, blocks: list[str]) -> list[str]:
    return [f"<details>\n<summary>{title}</summary>", *blocks, "</details>"]
