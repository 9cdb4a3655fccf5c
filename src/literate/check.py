"""`doit check`: proves without executing that every committed form is sound and in step."""

from __future__ import annotations

from collections.abc import Iterator

from literate import (
    common,
    document,
    epub,
    extract,
    formula,
    measure,
    notebook,
    paths,
    prose,
    readme,
    terms,
    typeset,
    validate,
    whole,
)
from literate.book import Book
from literate.build import Builder
from literate.disk import BLANK_SEAL, hand_edited, is_intact, seal
from literate.problem import Problem, Trouble, raise_all
from literate.topic import Topic

REBUILD = "run doit, and commit what it writes"
GENERATED = (
    ("build", "*.md"),
    ("build", "*.svg"),
    ("notebooks", "*.ipynb"),
    ("tests/topics", "*.py"),
)


def check_topic(builder: Builder, name: str) -> None:
    """All that is wrong with a topic and its forms, as one `Trouble`."""
    topic, book = builder.topic(name), builder.book()
    found = validate.problems(topic, book)
    found += measure.problems(topic, builder.catalogue.standards)
    found += _pdf_formulas(topic)
    if not found:  # an unsound topic has no forms to compare
        found += _forms(builder, topic, book)
    raise_all(found)


def _pdf_formulas(topic: Topic) -> Iterator[Problem]:
    """Formulas that GitHub and Jupyter show and the PDF does not."""
    for cell, segments in common.prose_of(topic):
        for segment in prose.walk(segments):
            if isinstance(segment, prose.Math):
                try:
                    typeset.set_formula(segment.tex, display=segment.display)
                except formula.Refused as refused:
                    line = cell.line + segment.line - 1
                    yield Problem(topic.path, line, refused.what, refused.todo)


def _forms(builder: Builder, topic: Topic, book: Book) -> Iterator[Problem]:
    """Forms that are not byte for byte what the build would write now."""
    name = topic.name
    try:
        stored = builder.outputs(topic)
    except Trouble as trouble:
        yield from trouble.problems
        return
    made = document.render(topic, stored, book)
    expected = {
        paths.notebook(name): notebook.render(topic, stored, book, builder.style),
        paths.document(name): made.text,
        **made.figures,
    }
    found = extract.extract(topic)
    if found.tests:
        expected[paths.tests(name)] = extract.module(topic, found, BLANK_SEAL)
    for file, text in sorted(expected.items()):
        yield from _compare(builder, file, text, topic.path)


def _compare(builder: Builder, file: str, text: str, source: str) -> Iterator[Problem]:
    if not builder.disk.exists(file):
        yield Problem(file, 0, "the generated file is missing", REBUILD)
        return
    old = builder.disk.read_bytes(file).decode("utf-8", "replace")
    if old == seal(text):
        return
    if not is_intact(old):
        yield hand_edited(file, source)
        return
    new = seal(text).split("\n")
    pairs = zip(old.split("\n"), new, strict=False)
    line = next((n for n, (a, b) in enumerate(pairs, 1) if a != b and "digest:" not in a), 1)
    yield Problem(file, line, f"not what {source} gives now", REBUILD)


def check_book(builder: Builder) -> None:
    """What no single topic can show: orphans, chunks, links back, the README, the PDF."""
    book = builder.book()
    topics = {name: builder.topic(name) for name in book.written()}
    found = [*_unlisted(builder), *_orphans(builder, topics), *_chunks(topics)]
    found += measure.too_lonely(topics, builder.catalogue.standards)
    found += _promises(builder, topics)
    found += _pages(builder, book)
    raise_all(found)


def _unlisted(builder: Builder) -> Iterator[Problem]:
    for file in sorted((builder.root / "src/topics").rglob("*.py")):
        path = file.relative_to(builder.root).as_posix()
        name = path.removeprefix("src/topics/").removesuffix(".py")
        if name not in builder.catalogue.topics:
            what = f"{paths.CATALOGUE} does not list this topic"
            yield Problem(path, 0, what, "add it there, or delete it")


def _orphans(builder: Builder, topics: dict[str, Topic]) -> Iterator[Problem]:
    """Generated files that no topic writes."""
    known = {page for page, _ in builder.pages().values()}
    for name, topic in topics.items():
        known |= {paths.document(name), paths.notebook(name), paths.tests(name)}
        known |= {f"{paths.figures(name)}/{label}.svg" for label in common.figure_numbers(topic)}
    for folder, pattern in GENERATED:
        for file in sorted((builder.root / folder).rglob(pattern)):
            path = file.relative_to(builder.root).as_posix()
            if path not in known:
                yield Problem(path, 0, "no topic writes this file", "delete it")


def _chunks(topics: dict[str, Topic]) -> Iterator[Problem]:
    """A definition taken over from another topic must stay the same text."""
    first: dict[str, tuple[str, str]] = {}
    for topic in topics.values():
        for cell in topic.cells:
            chunk = cell.options.get("chunk")
            if not chunk:
                continue
            place = f"{topic.path}:{cell.line}"
            known, text = first.setdefault(chunk, (place, cell.text))
            if text != cell.text:
                what = f"the chunk {chunk!r} differs from {known}"
                line = cell.option_lines["chunk"]
                yield Problem(topic.path, line, what, "make both the same text")


def _promises(builder: Builder, topics: dict[str, Topic]) -> Iterator[Problem]:
    """Sections that do not speak of the term that the index sends to them."""
    try:
        found = builder.terms()
    except Trouble:
        return  # the index's page says so
    yield from terms.empty_promises(found, topics)


def _pages(builder: Builder, book: Book) -> Iterator[Problem]:
    """The README, the pages that no topic writes, and the whole book as PDF and EPUB."""
    disk = builder.disk
    if disk.exists(readme.NAME):
        old = disk.read(readme.NAME)
        try:
            if readme.fill(old, book) != old:
                yield Problem(readme.NAME, 0, "a generated block is out of step", REBUILD)
        except Trouble as trouble:
            yield from trouble.problems
    for source, (page, text) in builder.pages().items():
        if disk.exists(source):
            try:
                yield from _compare(builder, page, text(), source)
            except Trouble as trouble:
                yield from trouble.problems
    current = f"digest:{whole.book_digest(builder)}"
    for file, keywords in ((paths.BOOK_PDF, _latin), (paths.BOOK_EPUB, epub.keywords_of)):
        if not disk.exists(file):
            yield Problem(file, 0, "the book is missing", REBUILD)
        elif current not in keywords(disk.read_bytes(file)):
            yield Problem(file, 0, "not what the sources give now", REBUILD)


def _latin(pdf: bytes) -> str:
    """A PDF's bytes to search in; its keywords stand uncompressed."""
    return pdf.decode("latin-1")
