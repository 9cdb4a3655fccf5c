"""What the forms of one topic need to know of the others: a `Book` of small entries."""

from __future__ import annotations

import posixpath
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

from literate import paths, prose
from literate.catalogue import Catalogue, Part
from literate.problem import Problem, Trouble
from literate.references import References
from literate.topic import Prerequisite, Topic


@dataclass(frozen=True)
class Entry:
    """One topic as seen from outside. `headings` maps an anchor to the heading's words."""

    name: str
    title: str
    summary: str
    planned: bool
    prerequisites: tuple[Prerequisite, ...] = ()
    notebooks: tuple[str, ...] = ()
    packages: tuple[str, ...] = ()
    headings: Mapping[str, str] = field(default_factory=dict)

    @classmethod
    def of(cls, topic: Topic) -> Entry:
        front = topic.front
        return cls(
            topic.name,
            front.title,
            front.summary,
            topic.planned,
            front.prerequisites,
            front.notebooks,
            front.packages,
            dict(headings(topic)),
        )

    def to_json(self) -> dict[str, Any]:
        return asdict(self)

    @classmethod
    def from_json(cls, data: dict[str, Any]) -> Entry:
        prerequisites = tuple(Prerequisite(**item) for item in data["prerequisites"])
        lists = {key: tuple(data[key]) for key in ("notebooks", "packages")}
        return cls(**{**data, **lists, "prerequisites": prerequisites})


def headings(topic: Topic) -> list[tuple[str, str]]:
    """Anchor and words of every heading of the document, in order."""
    slugs = prose.Slugs()
    found = []
    for cell in topic.cells:
        if cell.kind == "markdown":
            for segment in prose.scan(cell.text):
                if isinstance(segment, prose.Heading):
                    words = prose.plain(segment.title)
                    found.append((slugs(words), words))
    return found


@dataclass(frozen=True)
class Book:
    catalogue: Catalogue
    entries: Mapping[str, Entry]
    references: References
    versions: Mapping[str, str] = field(default_factory=dict)  # of the packages, as pinned

    def in_colab(self, name: str, before: str = "") -> str:
        """A link that opens the topic's notebook in Colab, after `before`; or nothing."""
        address = paths.colab(self.catalogue.repository, name)
        return f"{before}[open in Colab]({address})" if address else ""

    def part(self, name: str) -> Part:
        return next(part for part in self.catalogue.parts if name in part.topics)

    def written(self) -> tuple[str, ...]:
        """The topics that have a document, in the book's order."""
        names = self.catalogue.topics
        return tuple(n for n in names if n in self.entries and not self.entries[n].planned)

    def neighbours(self, name: str) -> tuple[Entry | None, Entry | None]:
        """The written topics before and after `name`."""
        names = self.written()
        at = names.index(name)
        before = self.entries[names[at - 1]] if at else None
        after = self.entries[names[at + 1]] if at + 1 < len(names) else None
        return before, after

    def paired(self, name: str) -> tuple[Entry, ...]:
        """Documents that name `name` as their notebook."""
        stem = name.split("/")[1]
        return tuple(self.entries[n] for n in self.written() if stem in self.entries[n].notebooks)


@dataclass(frozen=True)
class TopicLink:
    """A link to another topic, or to a heading of it."""

    name: str
    anchor: str


@dataclass(frozen=True)
class OtherLink:
    """A web address, or an anchor of the same document."""

    target: str


def resolve(target: str, topic: Topic, line: int) -> TopicLink | OtherLink:
    """Where a link of `topic` leads. Links between topics name the other source file."""
    if target.startswith(("https://", "http://", "#")):
        return OtherLink(target)
    file, _, anchor = target.partition("#")
    place = posixpath.normpath(posixpath.join(posixpath.dirname(topic.path), file))
    if file.endswith(".py") and place.startswith("src/topics/") and place.count("/") == 3:
        return TopicLink(place.removeprefix("src/topics/").removesuffix(".py"), anchor)
    what = f"the link {target!r} leads out of the book's topics"
    todo = "write a relative path to another topic's source file, or a web address"
    raise Trouble(Problem(topic.path, line, what, todo))


def link_problems(link: TopicLink, book: Book, path: str, line: int) -> list[Problem]:
    """What is wrong with where `link` leads."""
    entry = book.entries.get(link.name)
    if entry is None:
        what = f"the link leads to {link.name}, which is no topic"
        todo = f"name a file below src/topics; the topics stand in {paths.CATALOGUE}"
        return [Problem(path, line, what, todo)]
    if link.anchor and not entry.planned and link.anchor not in entry.headings:
        known = ", ".join(list(entry.headings)[:30])
        what = f"{link.name} has no heading #{link.anchor}"
        return [Problem(path, line, what, f"use one of: {known}")]
    return []
