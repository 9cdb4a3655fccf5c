"""The catalogue: the order of parts and topics, and the reading paths."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from literate import paths
from literate.problem import Problem, raise_all
from literate.source import TOPIC_NAME, load_mapping


@dataclass(frozen=True)
class Part:
    name: str
    title: str
    summary: str
    topics: tuple[str, ...]  # full names, "part/topic"


@dataclass(frozen=True)
class ReadingPath:
    name: str
    summary: str
    steps: tuple[str, ...]  # topics; a step that names a part is already unfolded


@dataclass(frozen=True)
class Standards:
    """What `check` asks of a written topic; nothing, where the catalogue is silent."""

    documents: Mapping[str, int] = field(default_factory=dict)
    notebooks: Mapping[str, int] = field(default_factory=dict)
    headings: tuple[str, ...] = ()


@dataclass(frozen=True)
class Catalogue:
    title: str
    subtitle: str
    repository: str
    parts: tuple[Part, ...]
    reading_paths: tuple[ReadingPath, ...]
    standards: Standards = Standards()
    arrows: tuple[tuple[str, str], ...] = ()  # always drawn in the graph

    @property
    def topics(self) -> tuple[str, ...]:
        """All topics in the book's order."""
        return tuple(name for part in self.parts for name in part.topics)


KEYS = ("title", "subtitle", "repository", "parts", "paths", "arrows", "standards")


def parse(text: str, path: str = paths.CATALOGUE) -> Catalogue:
    """The catalogue in `text`. Raises `Trouble` with all that is wrong with it."""
    data, lines = load_mapping(text, path, 1)
    problems = [
        Problem(path, lines[key], f"unknown key {key!r}", f"use one of: {', '.join(KEYS)}")
        for key in data
        if key not in KEYS
    ]

    def line_of(word: str) -> int:
        found = [n for n, line in enumerate(text.split("\n"), 1) if word in line]
        return found[0] if found else 1

    def texts(item: Any, *keys: str) -> bool:
        """Whether `item` has text under all `keys`; otherwise a problem is noted."""
        known = isinstance(item, dict)
        missing = [key for key in keys if not known or not isinstance(item.get(key), str)]
        for key in missing:
            where = line_of(str(item.get("name", "")) if known else str(item))
            what = f"an entry has no {key}"
            problems.append(Problem(path, where, what, f"add `{key}: …`"))
        return not missing

    texts(data, "title", "subtitle")
    parts: list[Part] = []
    for item in data.get("parts") or []:
        if not texts(item, "name", "title", "summary"):
            continue
        names = tuple(f"{item['name']}/{stem}" for stem in item.get("topics") or [])
        for name in names:
            if not TOPIC_NAME.fullmatch(name):
                todo = "use <part>/<topic> in lower-case letters, digits and hyphens"
                what = f"{name!r} is not a topic name"
                problems.append(Problem(path, line_of(name.split("/", 1)[1]), what, todo))
        parts.append(Part(item["name"], item["title"], item["summary"].strip(), names))
    known = {name for part in parts for name in part.topics}
    by_part = {part.name: part.topics for part in parts}
    reading_paths = []
    for item in data.get("paths") or []:
        if not texts(item, "name", "summary"):
            continue
        steps: list[str] = []
        for step in item.get("steps") or []:
            if step not in known and step not in by_part:
                todo = "name a topic or a part of this catalogue"
                what = f"the path {item['name']!r} names {step!r}, which is neither"
                problems.append(Problem(path, line_of(step), what, todo))
            steps.extend(by_part.get(step, (step,)))
        reading_paths.append(ReadingPath(item["name"], item["summary"], tuple(steps)))
    arrows = []
    for item in data.get("arrows") or []:
        if isinstance(item, list) and len(item) == 2 and known.issuperset(item):
            arrows.append((item[0], item[1]))
            continue
        todo = "write `- [part/topic, part/topic]`, with topics of this catalogue"
        where = line_of(str(item[-1]) if isinstance(item, list) and item else "arrows")
        problems.append(Problem(path, where, f"{item!r} is not an arrow", todo))
    raise_all(problems)
    standards = data.get("standards") or {}
    return Catalogue(
        data["title"],
        data["subtitle"],
        str(data.get("repository") or "").rstrip("/"),
        tuple(parts),
        tuple(reading_paths),
        Standards(
            standards.get("documents", {}),
            standards.get("notebooks", {}),
            tuple(standards.get("headings", ())),
        ),
        tuple(arrows),
    )
