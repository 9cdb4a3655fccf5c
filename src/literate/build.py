"""The edge: reads sources and stored outputs, calls the pure stages, writes the forms.

Each public method makes one form of one topic and returns the files it wrote with their
digests, so that a later run knows whether somebody has touched them.
"""

from __future__ import annotations

import importlib.resources
import json
import threading
from collections.abc import Callable
from functools import cached_property, lru_cache
from pathlib import Path
from typing import Any

from literate import catalogue as catalogue_module
from literate import (
    changes,
    chapter,
    document,
    extract,
    notebook,
    paths,
    readme,
    source,
    stamp,
    stored,
    terms,
    validate,
)
from literate.book import Book, Entry
from literate.catalogue import Catalogue
from literate.disk import BLANK_SEAL, Disk, digest, hand_edited, is_intact
from literate.limits import Limits
from literate.problem import Problem, Trouble, raise_all
from literate.references import Reference
from literate.stored import Stored
from literate.terms import Term
from literate.topic import Topic

INDEX = f"{paths.CACHE}/index.json"
# Apart from the index, so that a change of prose alone leaves the index as it is.
DIGESTS = f"{paths.CACHE}/index-digests.json"
CITATIONS = f"{paths.CACHE}/references.json"

Written = dict[str, str]
Progress = Callable[[str, int, int], None]


@lru_cache(maxsize=16)  # each form of a topic asks for it, one after the other
def _parsed(data: bytes, name: str, path: str) -> Topic:
    return source.parse(source.decode(data, path), name, path)


class Builder:
    """Builds the book below `root`."""

    def __init__(
        self,
        root: Path,
        always: bool = False,
        limits: Limits | None = None,
        fork: bool = True,
        progress: Progress = lambda name, done, total: None,
    ) -> None:
        self.root, self.disk = root, Disk(root)
        self.always, self.limits, self.fork, self.progress = always, limits, fork, progress
        self._lock, self._warming = threading.Lock(), threading.Lock()
        self._warm: object | None = None
        self._book: tuple[str, Book] | None = None

    # What the stages need

    @cached_property
    def catalogue(self) -> Catalogue:
        return catalogue_module.parse(self.disk.read(paths.CATALOGUE))

    @cached_property
    def style(self) -> str:
        return (importlib.resources.files("literate") / "book.mplstyle").read_text()

    @cached_property
    def pins(self) -> dict[str, str]:
        exists = self.disk.exists("pyproject.toml")
        return stamp.pins(self.disk.read("pyproject.toml")) if exists else {}

    def topic(self, name: str) -> Topic:
        path = paths.source(name)
        source.check_name(name, paths.CATALOGUE)
        if not self.disk.exists(path):
            what = f"{paths.CATALOGUE} lists {name}, which has no source"
            todo = f"run `doit new {name}`, list its new name, or take it out"
            raise Trouble(Problem(path, 0, what, todo))
        return _parsed(self.disk.read_bytes(path), name, path)

    def book(self) -> Book:
        """The catalogue, all entries and all references, from the index."""
        index, citations = self.disk.read(INDEX), self.disk.read(CITATIONS)
        key = digest(index, citations)
        with self._lock:
            if self._book is None or self._book[0] != key:
                items = json.loads(index).items()
                entries = {name: Entry.from_json(item) for name, item in items}
                references = {k: Reference(**v) for k, v in json.loads(citations).items()}
                self._book = key, Book(self.catalogue, entries, references, self.pins)
            return self._book[1]

    def stored(self, name: str) -> Stored:
        path = paths.notebook(name)
        return stored.load(self.disk.read(path)) if self.disk.exists(path) else stored.NOTHING

    def stamp(self, topic: Topic) -> str:
        files: dict[str, bytes] = {}
        for file in topic.front.data:
            if not self.disk.exists(file):
                what = f"the data file {file!r} does not exist"
                line = topic.front.line("data")
                raise Trouble(Problem(topic.path, line, what, "name it from the root"))
            files[file] = self.disk.read_bytes(file)
        return stamp.stamp(topic, self.pins, files, self.style)

    def outputs(self, topic: Topic) -> Stored:
        """The stored outputs, if they are those of the source as it stands."""
        result = self.stored(topic.name)
        if result.stamp != self.stamp(topic):
            what = "the stored outputs are older than the code"
            todo = f"run `doit execute:{topic.name}`"
            raise Trouble(Problem(topic.path, 0, what, todo))
        return result

    def digests(self, *names: str) -> Written:
        return {name: digest(self.disk.read_bytes(name)) for name in names}

    # The book as a whole

    def references(self) -> Written:
        from literate.references import format_references

        exists = self.disk.exists(paths.REFERENCES)
        found = format_references(self.disk.path(paths.REFERENCES)) if exists else {}
        data = {key: vars(reference) for key, reference in found.items()}
        self.disk.write(CITATIONS, json.dumps(data, indent=1, ensure_ascii=False))
        return self.digests(CITATIONS)

    def index(self) -> Written:
        """What the topics need to know of each other. A broken topic keeps its old entry."""
        old = self._json(INDEX)
        digests, known = dict[str, str](), self._json(DIGESTS)
        new: dict[str, object] = {}
        for name in self.catalogue.topics:
            path = paths.source(name)
            data = self.disk.read_bytes(path) if self.disk.exists(path) else b""
            digests[name] = digest(data)
            if name in old and known.get(name) == digests[name]:
                new[name] = old[name]
                continue
            try:
                new[name] = Entry.of(self.topic(name)).to_json()
            except (Trouble, SyntaxError):
                fallback = Entry(name, name.split("/")[1], "", planned=True).to_json()
                new[name] = old.get(name, fallback)
                digests[name] = ""  # look again next time
        self.disk.write(DIGESTS, json.dumps(digests, indent=1))
        self.disk.write(INDEX, json.dumps(new, indent=1, ensure_ascii=False))
        return self.digests(INDEX)

    def _json(self, name: str) -> dict[str, Any]:
        """A file of the cache; empty if it is not there or not whole."""
        try:
            data: dict[str, Any] = json.loads(self.disk.read(name))
        except (OSError, ValueError):
            return {}
        return data

    def readme(self) -> Written:
        text = self.disk.read("README.md") if self.disk.exists("README.md") else ""
        self.disk.write("README.md", readme.fill(text, self.book()))
        return self.digests("README.md")

    def pages(self) -> dict[str, tuple[str, Callable[[], str]]]:
        """The pages that no topic writes: of each source, its page and what makes its text."""
        return {
            paths.NOTATION: (paths.NOTATION_PAGE, self._notation),
            paths.INDEX_OF_TERMS: (paths.INDEX_PAGE, self._terms),
            paths.CHANGES: (paths.CHANGES_PAGE, self._changes),
        }

    def page(self, source: str) -> Written:
        """The page of `source` as GitHub shows it."""
        file, text = self.pages()[source]
        self.disk.write_sealed(file, text(), source)
        return self.digests(file)

    def _notation(self) -> str:
        head = f"<!-- Generated from {paths.NOTATION}: edit that, then run doit. {BLANK_SEAL} -->"
        return f"{head}\n\n{document.lower(self.disk.read(paths.NOTATION))}"

    def _terms(self) -> str:
        return terms.page(self.terms(), self.book())

    def _changes(self) -> str:
        book = self.book()
        return changes.page(changes.load(self.disk.read(paths.CHANGES), book), book)

    def terms(self) -> tuple[Term, ...]:
        """The index of terms; empty in a book that has none."""
        exists = self.disk.exists(paths.INDEX_OF_TERMS)
        return terms.load(self.disk.read(paths.INDEX_OF_TERMS), self.book()) if exists else ()

    # One topic

    def source(self, name: str) -> Written:
        """Nothing is written: a topic that is unsound stops here, and says why."""
        topic = self.topic(name)
        raise_all(validate.problems(topic, self.book()))
        return {}

    def execute(self, name: str) -> Written:
        """The notebook: executed if its code has changed, else with its stored outputs."""
        topic, path = self.topic(name), paths.notebook(name)
        if self.disk.exists(path) and not is_intact(self.disk.read(path)):
            raise Trouble(hand_edited(path, topic.path))
        result, current = self.stored(name), self.stamp(topic)
        if self.always or result.stamp != current:
            result = self.run(topic, current)
        text = notebook.render(topic, result, self.book(), self.style)
        self.disk.write_sealed(path, text, topic.path)
        return self.digests(path)

    def run(self, topic: Topic, current: str) -> Stored:
        """Execute `topic`, and note what it cost on this machine."""
        try:
            from literate import execute, kernels
        except ImportError as error:
            what = f"its code is newer than its outputs; to execute it, {error.name} is missing"
            todo = "install the packages: pip install -e '.[execute]'"
            raise Trouble(Problem(topic.path, 0, what, todo)) from None
        with self._warming:
            if self._warm is None and self.fork and kernels.CAN_FORK:
                entries = self.book().entries.values()
                self._warm = kernels.WarmParent({p for e in entries for p in e.packages})
        done = execute.execute(
            topic,
            self.style,
            current,
            self._warm,  # type: ignore[arg-type]
            self.limits or Limits(),
            lambda at, total: self.progress(topic.name, at, total),
        )
        cost = {"seconds": round(done.seconds, 2), "megabytes": done.memory // 2**20}
        self.disk.write(paths.costs(topic.name), json.dumps(cost))
        return done.stored

    def markdown(self, name: str) -> Written:
        topic = self.topic(name)
        made = document.render(topic, self.outputs(topic), self.book())
        path = paths.document(name)
        self.disk.write_sealed(path, made.text, topic.path)
        for file, svg in made.figures.items():
            self.disk.write_sealed(file, svg, topic.path)
        self._remove_others(paths.figures(name), set(made.figures))
        return self.digests(path, *made.figures)

    def _remove_others(self, folder: str, keep: set[str]) -> None:
        """Figures that the topic no longer draws."""
        for file in sorted(self.disk.path(folder).glob("*.svg")):
            name = f"{folder}/{file.name}"
            if name not in keep:
                self.disk.remove(name)

    def tests(self, name: str) -> Written:
        topic, path = self.topic(name), paths.tests(name)
        found = extract.extract(topic)
        if not found.tests:
            self.disk.remove(path)
            return {}
        self.disk.write_sealed(path, extract.module(topic, found, BLANK_SEAL), topic.path)
        return self.digests(path)

    def chapter(self, name: str) -> Written:
        """The topic as typst; pandoc runs only if its markdown or the converter has changed."""
        from literate import typeset

        topic, path = self.topic(name), paths.chapter(name)
        folder = path.removesuffix(".typ") + "_files"
        made = chapter.render(topic, self.outputs(topic), self.book(), folder)
        for file, svg in made.figures.items():
            self.disk.write(file, svg)
        self.disk.write(paths.chapter_markdown(name), made.text)
        files = [path, paths.solutions(name)]
        mark = f"// {digest(made.text, typeset.converter())}\n"
        there = all(map(self.disk.exists, files))
        if not there or not self.disk.read(path).startswith(mark):
            set_ = typeset.to_typst(made.text, path=topic.path, prefix=name.replace("/", "-"))
            self.disk.write(files[1], set_.solutions)
            self.disk.write(path, mark + set_.main)
        return self.digests(*files, *made.figures)

    def pdf(self, name: str) -> Written:
        """One topic as a PDF; not committed."""
        from literate import typeset

        topic = self.topic(name)
        made = typeset.topic_pdf(
            typeset.Chapter(name, topic.front.title, paths.chapter(name), paths.solutions(name)),
            root=self.root,
            bibliography=paths.REFERENCES,
        )
        self.disk.write(paths.pdf(name), made)
        return self.digests(paths.pdf(name))
