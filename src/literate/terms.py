"""`src/index.yaml` → the index of terms: a page for GitHub, and the back of both books."""

from __future__ import annotations

import itertools
import re
import unicodedata
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from literate import paths, prose
from literate.book import Book, TopicLink, link_problems
from literate.disk import BLANK_SEAL
from literate.formula import quote
from literate.problem import Problem, Trouble, raise_all
from literate.source import load_mapping
from literate.topic import Topic

# "grouped-query attention (GQA)"
SHORT = re.compile(r"\((?P<short>[^)]+)\)")
WORD = re.compile(r"[^\W_]+")
STEM = 5  # letters of a word that a section must hold: "normal" of "normalised" too
TITLE = "Index of terms"
Link = Callable[[str, str], str]  # a topic's name and a heading of it → where they are


@dataclass(frozen=True)
class Term:
    """`places` teach it, the main one first; a term without places sends on to `see`."""

    words: str
    places: tuple[TopicLink, ...]
    see: str
    line: int

    @property
    def key(self) -> tuple[str, str]:
        """How it is sorted: by letters and digits, whatever their case and accents."""
        plain = unicodedata.normalize("NFKD", self.words).casefold()
        return " ".join(WORD.findall(plain)), self.words

    @property
    def letter(self) -> str:
        first = self.key[0][:1].upper()
        return first if "A" <= first <= "Z" else "Signs"


def parse(text: str, path: str = paths.INDEX_OF_TERMS) -> tuple[Term, ...]:
    """The terms, sorted. Raises `Trouble` with all that is wrong with the file itself."""
    data, lines = load_mapping(text, path, 1)
    problems: list[Problem] = []
    terms = [_term(words, value, lines[words], path, problems) for words, value in data.items()]
    raise_all(problems)
    return tuple(sorted(terms, key=lambda term: term.key))


def _term(words: str, value: Any, line: int, path: str, problems: list[Problem]) -> Term:
    if isinstance(value, dict) and isinstance(value.get("see"), str) and len(value) == 1:
        return Term(words, (), value["see"], line)
    items = value if isinstance(value, list) else [value]
    places = []
    for item in items:
        name, _, anchor = str(item).partition("#")
        if not (isinstance(item, str) and "/" in name and anchor):
            todo = "write part/topic#heading, a list of them, or {see: other term}"
            problems.append(Problem(path, line, f"the term {words!r} has no place", todo))
        places.append(TopicLink(name, anchor))
    return Term(words, tuple(places), "", line)


def lost(terms: tuple[Term, ...], book: Book, path: str = paths.INDEX_OF_TERMS) -> list[Problem]:
    """Terms that lead nowhere. A place in a planned topic is not lost, only not shown."""
    found: list[Problem] = []
    known = {term.words for term in terms if term.places}
    for term in terms:
        for place in term.places:
            found += link_problems(place, book, path, term.line)
        if term.see and term.see not in known:
            what = f"{term.words!r} sends on to {term.see!r}, which has no place"
            found.append(Problem(path, term.line, what, "name a term of this file"))
    return found


def empty_promises(
    terms: tuple[Term, ...], topics: Mapping[str, Topic], path: str = paths.INDEX_OF_TERMS
) -> Iterator[Problem]:
    """Places whose section does not hold the words of the term."""
    texts = {name: sections(topic) for name, topic in topics.items()}
    for term in terms:
        for place in term.places:
            text = texts.get(place.name, {}).get(place.anchor)
            if text is not None and not _speaks_of(text.casefold(), term.words):
                what = f"{place.name}#{place.anchor} does not speak of {term.words!r}"
                yield Problem(path, term.line, what, "name the section that teaches it")


def _speaks_of(text: str, words: str) -> bool:
    short = SHORT.search(words)
    if short and short["short"].casefold() in text:
        return True
    return all(w.casefold()[:STEM] in text for w in WORD.findall(SHORT.sub("", words)))


def sections(topic: Topic) -> dict[str, str]:
    """What stands below each heading, its subsections included, by anchor."""
    slugs = prose.Slugs()
    open_: list[tuple[int, str]] = []
    found: dict[str, list[str]] = {}
    for cell in topic.cells:
        segments = prose.scan(cell.text) if cell.kind == "markdown" else (None,)
        for segment in segments:
            if isinstance(segment, prose.Heading):
                open_ = [(level, a) for level, a in open_ if level < segment.level]
                anchor = slugs(prose.plain(segment.title))
                open_.append((segment.level, anchor))
                found[anchor] = []
            raw = segment.raw if segment else cell.text
            for _, anchor in open_:
                found[anchor].append(raw)
    return {anchor: "".join(parts) for anchor, parts in found.items()}


def letters(terms: tuple[Term, ...]) -> Iterator[tuple[str, list[Term]]]:
    for letter, group in itertools.groupby(terms, key=lambda term: term.letter):
        yield letter, list(group)


def shown(term: Term, book: Book) -> tuple[TopicLink, ...]:
    return tuple(place for place in term.places if not book.entries[place.name].planned)


def page(terms: tuple[Term, ...], book: Book) -> str:
    """The page for GitHub, with a blank seal."""
    here, source = paths.INDEX_PAGE, paths.INDEX_OF_TERMS

    def link(name: str, anchor: str) -> str:
        return f"{paths.relative(paths.document(name), here)}#{anchor}"

    blocks = [
        f"<!-- Generated from {source}: edit that, then run doit. {BLANK_SEAL} -->",
        f"# {TITLE}",
        "Where each term is taught, the main place first.",
        " · ".join(f"[{letter}](#{letter.lower()})" for letter, _ in letters(terms)),
        listing(terms, book, link),
        "---",
        f"[All topics]({paths.relative('README.md', here)})",
    ]
    return "\n\n".join(blocks) + "\n"


def listing(terms: tuple[Term, ...], book: Book, link: Link, letter_as: str = "## {}") -> str:
    """The terms as markdown, each letter above its own."""
    blocks = []
    for letter, group in letters(terms):
        items = []
        for term in group:
            links = ", ".join(_links(shown(term, book), book, link))
            if term.see:
                items.append(f"- {term.words}: see *{term.see}*")
            elif links:
                items.append(f"- **{term.words}**: {links}")
        blocks += [letter_as.format(letter), "\n".join(items)]
    return "\n\n".join(blocks)


def _links(places: tuple[TopicLink, ...], book: Book, link: Link) -> Iterator[str]:
    """A link for each place; a topic that has two says which headings they are."""
    names = [place.name for place in places]
    for place in places:
        entry = book.entries[place.name]
        words = entry.title
        if names.count(place.name) > 1:
            words += f" ({entry.headings[place.anchor]})"
        yield f"[{words}]({link(place.name, place.anchor)})"


def typst(terms: tuple[Term, ...], book: Book) -> str:
    """A call of the template that sets the index, with page numbers."""
    groups = []
    for letter, group in letters(terms):
        entries = []
        for term in group:
            places = [f"<{p.name.replace('/', '-')}--{p.anchor}>" for p in shown(term, book)]
            if places or term.see:
                labels = "".join(f"{place}, " for place in places)
                entries.append(f"({quote(term.words)}, ({labels}), {quote(term.see)})")
        groups.append(f"({quote(letter)}, ({', '.join(entries)},))")
    return f"#index-of-terms(({', '.join(groups)},))\n"


def load(text: str, book: Book) -> tuple[Term, ...]:
    """The terms of `text`, all of whose places exist."""
    terms = parse(text)
    if problems := lost(terms, book):
        raise Trouble(*sorted(set(problems)))
    return terms
