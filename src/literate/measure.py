"""What a topic holds, in numbers, and whether that is what the book asks of it."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass

from literate import common, prose
from literate.book import TopicLink, headings, resolve
from literate.catalogue import Standards
from literate.problem import Problem, Trouble
from literate.topic import NOTEBOOKS, Topic

BOXED = re.compile(r"\\boxed\b")


@dataclass(frozen=True)
class Measures:
    words: int
    code_cells: int
    formulas: int
    figures: int
    citations: int
    exercises: int
    tests: int
    links: int  # topics that this one links to
    linked: tuple[str, ...]


def measure(topic: Topic) -> Measures:
    markdown = [cell for cell in topic.cells if cell.kind == "markdown"]
    segments = [s for _, scanned in common.prose_of(topic) for s in prose.walk(scanned)]
    linked = set()
    for segment in segments:
        if isinstance(segment, prose.Link):
            try:
                target = resolve(segment.target, topic, 0)
            except Trouble:
                continue  # validate says so
            if isinstance(target, TopicLink) and target.name != topic.name:
                linked.add(target.name)
    return Measures(
        words=sum(common.count_words(cell.text) for cell in markdown),
        code_cells=sum(cell.kind == "code" and not cell.is_test for cell in topic.cells),
        formulas=sum(isinstance(segment, prose.Math) for segment in segments),
        figures=len(common.figure_numbers(topic)),
        citations=len(common.cited_keys(topic)),
        exercises=sum(words.startswith("Exercise ") for _, words in headings(topic)),
        tests=sum(len(common.test_functions(c.text)) for c in topic.cells if c.is_test),
        links=len(linked),
        linked=tuple(sorted(linked)),
    )


def problems(topic: Topic, standards: Standards) -> Iterator[Problem]:
    """Where the topic falls short of the book's standards."""
    is_notebook = topic.part == NOTEBOOKS
    asked = dict(standards.notebooks if is_notebook else standards.documents)
    if not asked:
        return
    found = measure(topic)
    asked.pop("linked_by", None)  # the other topics decide that: `too_lonely`
    most = asked.pop("most_words", found.words)
    if found.words > most:
        what, todo = f"{found.words} words, more than {most}", "tighten it"
        yield Problem(topic.path, 0, what, todo)
    for key, least in sorted(asked.items()):
        value = getattr(found, key)
        if value < least:
            what, todo = f"{value} {key}, fewer than {least}", f"add {least - value}"
            yield Problem(topic.path, 0, what, todo)
    opening = topic.cells[0].text
    if not BOXED.search(opening):
        what, todo = "the opening has no boxed equation", r"box the key equation with \boxed"
        yield Problem(topic.path, topic.cells[0].line, what, todo)
    text = "\n".join(cell.text for cell in topic.cells if cell.kind == "markdown")
    for phrase in (
        "**What this means:**",
        "**What the code shows:**",
        "**The essential insight:**",
    ):
        if phrase not in text:
            yield Problem(topic.path, 0, f"{phrase} is nowhere", "add it, as the template has it")
    titles = [words for _, words in headings(topic)]
    wanted = ("Summary",) if is_notebook else standards.headings
    for title in wanted:
        if not any(words.endswith(title) for words in titles):
            yield Problem(topic.path, 0, f"no section {title!r}", "add it")


def times_linked(linked: Iterable[tuple[str, ...]]) -> Counter[str]:
    """How many topics link to each, from the names that each topic links to."""
    return Counter(name for names in linked for name in names)


def too_lonely(topics: Mapping[str, Topic], standards: Standards) -> Iterator[Problem]:
    """Topics that fewer others link to than the book asks."""
    counts = times_linked(measure(topic).linked for topic in topics.values())
    for name, topic in topics.items():
        asked = standards.notebooks if topic.part == NOTEBOOKS else standards.documents
        least = asked.get("linked_by", 0)
        if counts[name] < least:
            what = f"linked by {counts[name]} other topics, fewer than {least}"
            yield Problem(topic.path, 0, what, "link to it where its idea is used")
