"""`src/changes.yaml` → the page of changes and errata, newest first."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from literate import paths
from literate.book import Book
from literate.disk import BLANK_SEAL
from literate.problem import Problem, raise_all
from literate.source import load_mapping

DAY = re.compile(r"\d{4}-\d{2}-\d{2}")
KINDS = {"corrected": "Corrected", "changed": "Changed", "added": "Added"}
WHOLE = "book"  # what an entry names that is about no single topic


@dataclass(frozen=True)
class Change:
    """One entry: on what day, of what kind, to which topic."""

    day: str
    kind: str
    topic: str
    what: str
    line: int


def parse(text: str, path: str = paths.CHANGES) -> tuple[Change, ...]:
    """All entries, newest day first, corrections before the rest."""
    data, lines = load_mapping(text, path, 1)
    problems: list[Problem] = []
    found = []
    for day, items in data.items():
        if not DAY.fullmatch(day) or not isinstance(items, list):
            todo = "write `2026-11-25:` and a list below it"
            what = f"{day!r} is not a day with entries"
            problems.append(Problem(path, lines[day], what, todo))
            continue
        for item in items:
            change = _change(day, item, lines[day])
            if change:
                found.append(change)
            else:
                todo = f"write `{{{' | '.join(KINDS)}: part/topic or {WHOLE}, what: …}}`"
                what = f"an entry of {day} is incomplete"
                problems.append(Problem(path, lines[day], what, todo))
    raise_all(problems)
    order = list(KINDS)
    by_kind = sorted(found, key=lambda change: order.index(change.kind))
    return tuple(sorted(by_kind, key=lambda change: change.day, reverse=True))


def _change(day: str, item: Any, line: int) -> Change | None:
    if not isinstance(item, dict) or not isinstance(item.get("what"), str):
        return None
    kinds = [kind for kind in KINDS if isinstance(item.get(kind), str)]
    if len(kinds) != 1 or len(item) != 2:
        return None
    return Change(day, kinds[0], item[kinds[0]], " ".join(item["what"].split()), line)


def lost(changes: tuple[Change, ...], book: Book, path: str = paths.CHANGES) -> Iterator[Problem]:
    """Entries about a topic that is none."""
    for change in changes:
        if change.topic != WHOLE and change.topic not in book.entries:
            what = f"an entry of {change.day} names {change.topic!r}, which is no topic"
            yield Problem(path, change.line, what, f"name a topic, or {WHOLE}")


def load(text: str, book: Book) -> tuple[Change, ...]:
    """The entries of `text`, all of whose topics exist."""
    found = parse(text)
    raise_all(lost(found, book))
    return found


def page(changes: tuple[Change, ...], book: Book) -> str:
    """The page for GitHub, with a blank seal."""
    blocks = [
        f"<!-- Generated from {paths.CHANGES}: edit that, then run doit. {BLANK_SEAL} -->",
        "# Changes and errata",
        "What readers of an earlier version should know. Spelling and layout are not listed.",
    ]
    day = ""
    for change in changes:
        if change.day != day:
            day = change.day
            blocks.append(f"## {day}")
            blocks.append("\n".join(_item(c, book) for c in changes if c.day == day))
    blocks += ["---", f"[All topics]({paths.relative('README.md', paths.CHANGES_PAGE)})"]
    return "\n\n".join(blocks) + "\n"


def _item(change: Change, book: Book) -> str:
    about = ""
    if change.topic != WHOLE:
        entry = book.entries[change.topic]
        target = paths.relative(paths.document(entry.name), paths.CHANGES_PAGE)
        about = f" in {entry.title}" if entry.planned else f" in [{entry.title}]({target})"
    return f"- **{KINDS[change.kind]}**{about}: {change.what}"
