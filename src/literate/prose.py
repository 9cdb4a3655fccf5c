"""Markdown → segments, without loss: the text that needs no change stays untouched.

`scan` finds what the forms treat differently (mathematics, links, citations, inline
values, references to figures) and leaves everything else as `Text`. Joining the `raw`
of all segments gives the input back.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from functools import lru_cache


@dataclass(frozen=True)
class Segment:
    """A stretch of markdown. `line` is where it starts, counted from 1 in the cell."""

    raw: str
    line: int


@dataclass(frozen=True)
class Text(Segment):
    """Anything that passes through."""


@dataclass(frozen=True)
class Code(Segment):
    """A code span or a fenced block: nothing in it is looked at."""


@dataclass(frozen=True)
class Math(Segment):
    """A formula. `indent` is the white space in front of a display's fences."""

    tex: str
    display: bool
    indent: str = ""


@dataclass(frozen=True)
class Value(Segment):
    """`{python} expr`: text that the kernel computes."""

    expression: str


@dataclass(frozen=True)
class Link(Segment):
    """`[label](target)`, or an image when `image`."""

    label: tuple[Segment, ...]
    target: str
    image: bool = False


@dataclass(frozen=True)
class CitedKey:
    """One key of a citation: `prefix @key suffix`."""

    key: str
    prefix: str = ""
    suffix: str = ""


@dataclass(frozen=True)
class Cite(Segment):
    """`[@a; @b, p. 3]`, or `@a` in running text (`narrative`)."""

    keys: tuple[CitedKey, ...]
    narrative: bool = False


@dataclass(frozen=True)
class FigureRef(Segment):
    """`@fig-label`."""

    label: str


@dataclass(frozen=True)
class Heading(Segment):
    """A whole heading line; `title` is its markdown text."""

    level: int
    title: tuple[Segment, ...] = field(default=())


# "```python" and "~~~"; not "``x``"
FENCE = re.compile(r"(?P<indent> *)(?P<marks>`{3,}|~{3,})[^`]*")
# "## Title"; not "##Title"
HEADING = re.compile(r"(?P<marks>#{1,6})(?P<space> +)(?P<title>.*?)(?P<end>\s*)")
# "$$"; not "$$ x $$"
DISPLAY_FENCE = re.compile(r"(?P<indent>\s*)\$\$\s*")
MATH_FENCE = "```math"
# "$$ x $$"; not "$$"
DISPLAY_LINE = re.compile(r"(?P<indent>\s*)\$\$(?P<tex>[^$]+)\$\$\s*")
KEY = r"[A-Za-z][\w:.+/-]*\w"
INLINE = re.compile(
    rf"""
    (?P<escape>\\[^\w\s])                                    # \$, \[
  | (?P<code>(?P<ticks>`+)(?!`)(?P<body>.+?)(?<!`)(?P=ticks)(?!`))
  | (?P<verbatim>\$`(?P<body_tex>[^`$]+)`\$)                  # GitHub's form, as it is
  | (?P<math>(?<![\\$])\$(?![\s$])(?P<tex>(?:\\.|[^$\\])+?)(?<!\s)\$(?![\d$]))
  | (?P<cites>\[(?:[^\[\]@]*-?@{KEY}[^\[\]@;]*)(?:;[^\[\]@;]*@{KEY}[^\[\]@;]*)*\](?!\())
  | (?P<link>!?\[(?P<label>(?:`[^`]*`|\$[^$]*\$|\\.|[^\[\]\\`$])*)\]
      \((?P<target>[^()\s]*(?:\s+"[^"]*")?)\))
  | (?P<figure>(?<![\w@`])@fig-[a-z0-9-]*[a-z0-9])
  | (?P<narrative>(?<![\w@.`])@{KEY})
    """,
    re.VERBOSE | re.DOTALL,
)
VALUE = re.compile(r"\{python\}\s+(?P<expression>.+)", re.DOTALL)
CITED = re.compile(rf"(?P<prefix>[^@]*?)\s*-?@(?P<key>{KEY})(?P<suffix>.*)", re.DOTALL)
# characters that GitHub's slugs drop: "Core concept?" -> "core-concept"
NOT_IN_SLUG = re.compile(r"[^\w\- ]")


@lru_cache(maxsize=512)  # every form, count and check of a cell asks for the same
def scan(markdown: str) -> tuple[Segment, ...]:
    """All segments of a markdown cell, in order."""
    return tuple(_blocks(markdown.split("\n")))


def unscan(segments: tuple[Segment, ...]) -> str:
    return "".join(segment.raw for segment in segments)


def walk(segments: tuple[Segment, ...]) -> Iterator[Segment]:
    """All segments, those inside links and headings too."""
    for segment in segments:
        yield segment
        if isinstance(segment, Link):
            yield from walk(segment.label)
        elif isinstance(segment, Heading):
            yield from walk(segment.title)


def write(segments: tuple[Segment, ...], rule: Callable[[Segment], str | None]) -> str:
    """The markdown of one form: `rule` writes a segment, or None to keep it."""
    parts = []
    for segment in segments:
        written = rule(segment)
        parts.append(segment.raw if written is None else written)
    return "".join(parts)


def _blocks(lines: list[str]) -> Iterator[Segment]:
    """Fences, displays and headings by line; what is between them by `_inline`."""
    pending: list[str] = []
    start = number = 0

    def flush(upto: int) -> Iterator[Segment]:
        if pending:
            text = "\n".join(pending)
            if upto < len(lines):
                text += "\n"
            yield from _inline(text, start + 1)
            pending.clear()

    while number < len(lines):
        line = lines[number]
        end = _block_end(lines, number)
        heading = HEADING.fullmatch(line)
        if end is None and not heading:
            if not pending:
                start = number
            pending.append(line)
            number += 1
            continue
        yield from flush(number)
        last = number if end is None else end
        raw = "\n".join(lines[number : last + 1])
        newline = "\n" if last + 1 < len(lines) else ""
        if heading:
            title = tuple(_inline(heading["title"], number + 1))
            yield Heading(raw, number + 1, len(heading["marks"]), title)
            if newline:
                yield Text(newline, number + 1)
        elif DISPLAY_FENCE.fullmatch(line) or line.strip() == MATH_FENCE:
            indent = line[: len(line) - len(line.lstrip())]
            body = [item.removeprefix(indent) for item in lines[number + 1 : last]]
            yield Math(raw, number + 1, "\n".join(body), True, indent)
            if newline:
                yield Text(newline, last + 1)
        elif one := DISPLAY_LINE.fullmatch(line):
            yield Math(raw, number + 1, one["tex"].strip(), True, one["indent"])
            if newline:
                yield Text(newline, last + 1)
        else:
            yield Code(raw + newline, number + 1)
        number = last + 1
    yield from flush(number)


def _block_end(lines: list[str], number: int) -> int | None:
    """The last line of the fence or display that opens at `number`, if one does."""
    line = lines[number]
    if fence := FENCE.fullmatch(line):
        marks = fence["marks"]
        for later in range(number + 1, len(lines)):
            closing = lines[later].strip()
            if closing.startswith(marks) and set(closing) == {marks[0]}:
                return later
        return len(lines) - 1  # as CommonMark: an open fence runs to the end
    if DISPLAY_FENCE.fullmatch(line):
        for later in range(number + 1, len(lines)):
            if DISPLAY_FENCE.fullmatch(lines[later]):
                return later
        return None
    return number if DISPLAY_LINE.fullmatch(line) else None


def _inline(text: str, line: int) -> Iterator[Segment]:
    """Segments of running text. A formula or a link never spans a blank line."""
    for paragraph in re.split(r"(\n[ \t]*\n)", text):
        position = 0
        for match in INLINE.finditer(paragraph):
            if match["escape"]:
                continue
            if match.start() > position:
                here = line + paragraph.count("\n", 0, position)
                yield Text(paragraph[position : match.start()], here)
            here = line + paragraph.count("\n", 0, match.start())
            yield _segment(match, here)
            position = match.end()
        if position < len(paragraph):
            here = line + paragraph.count("\n", 0, position)
            yield Text(paragraph[position:], here)
        line += paragraph.count("\n")


def _segment(match: re.Match[str], line: int) -> Segment:
    raw = match.group()
    if match["code"]:
        value = VALUE.fullmatch(match["body"].strip())
        return Value(raw, line, value["expression"].strip()) if value else Code(raw, line)
    if match["math"] or match["verbatim"]:
        return Math(raw, line, match["tex"] or match["body_tex"], False)
    if match["cites"]:
        return Cite(raw, line, tuple(_cited(item) for item in raw[1:-1].split(";")))
    if match["link"]:
        label = tuple(_inline(match["label"], line))
        return Link(raw, line, label, match["target"], raw.startswith("!"))
    if match["figure"]:
        return FigureRef(raw, line, raw[1:])
    return Cite(raw, line, (CitedKey(raw[1:]),), narrative=True)


def _cited(item: str) -> CitedKey:
    match = CITED.fullmatch(item.strip())
    assert match, item
    return CitedKey(match["key"], match["prefix"].strip(), match["suffix"].strip(" ,"))


def plain(segments: tuple[Segment, ...]) -> str:
    """The words alone, for anchors and bookmarks."""
    parts = []
    for segment in segments:
        if isinstance(segment, Math):
            parts.append(segment.tex)
        elif isinstance(segment, Code):
            parts.append(segment.raw.strip("`"))
        elif isinstance(segment, Link):
            parts.append(plain(segment.label))
        else:
            parts.append(segment.raw.replace("*", ""))
    return "".join(parts)


def slug(title: str) -> str:
    """GitHub's anchor of a heading's plain text."""
    return NOT_IN_SLUG.sub("", title.strip().lower()).replace(" ", "-")


class Slugs:
    """GitHub's anchors of one document: a repeated one gets -1, -2, …"""

    def __init__(self) -> None:
        self._seen: dict[str, int] = {}

    def __call__(self, title: str) -> str:
        base = slug(title)
        count = self._seen.get(base, 0)
        self._seen[base] = count + 1
        return f"{base}-{count}" if count else base
