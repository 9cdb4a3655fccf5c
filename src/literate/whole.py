"""The book as one file, PDF or EPUB: the edge that gathers its chapters and writes it."""

from __future__ import annotations

import importlib.resources
from pathlib import Path

from literate import epub, paths, terms, typeset
from literate.build import Builder, Written
from literate.disk import digest
from literate.terms import Term
from literate.typeset import Book, Chapter, Part

# The modules that shape the two files, besides the formulas and the template.
SETTERS = (
    "chapter.py",
    "common.py",
    "epub.css",
    "epub.lua",
    "epub.py",
    "pandoc.py",
    "prose.py",
    "terms.py",
    "typeset.py",
    "typstrun.py",
)


def write_pdf(builder: Builder) -> Written:
    """All written topics in one PDF, which names the digest of what it was made of."""
    found = builder.terms()
    made = typeset.book_pdf(
        _gathered(builder),
        root=builder.root,
        bibliography=paths.REFERENCES,
        index=terms.typst(found, builder.book()) if found else "",
        keywords=f"digest:{book_digest(builder)}",
    )
    builder.disk.write(paths.BOOK_PDF, made)
    return builder.digests(paths.BOOK_PDF)


def write_epub(builder: Builder) -> Written:
    """The same as an EPUB."""
    made = epub.epub(
        _gathered(builder),
        root=builder.root,
        bibliography=paths.REFERENCES,
        index=_index(builder, builder.terms()),
        keywords=f"digest:{book_digest(builder)}",
    )
    builder.disk.write(paths.BOOK_EPUB, made)
    return builder.digests(paths.BOOK_EPUB)


def _index(builder: Builder, found: tuple[Term, ...]) -> str:
    def link(name: str, anchor: str) -> str:
        return f"#{name.replace('/', '-')}--{anchor}"

    listed = terms.listing(found, builder.book(), link, letter_as="**{}**")
    return f"# {terms.TITLE} {{#index}}\n\n{listed}\n"


def _gathered(builder: Builder) -> Book:
    """The chapters in the book's order; the notation is converted here, the rest are."""
    book, catalogue, disk = builder.book(), builder.catalogue, builder.disk
    front = []
    if disk.exists(paths.NOTATION):
        text = disk.read(paths.NOTATION)
        disk.write(paths.chapter_markdown("notation"), text)
        made = typeset.to_typst(text, path=paths.NOTATION, prefix="notation")
        disk.write(paths.chapter("notation"), made.main)
        front = [Chapter("notation", "Notation", paths.chapter("notation"))]
    parts = [
        Part(
            part.title,
            part.summary,
            tuple(
                Chapter(
                    name,
                    book.entries[name].title,
                    paths.chapter(name),
                    paths.solutions(name),
                    book.entries[name].summary,
                )
                for name in part.topics
                if not book.entries[name].planned
            ),
        )
        for part in catalogue.parts
    ]
    return Book(
        title=catalogue.title,
        subtitle=catalogue.subtitle,
        author=(),
        parts=tuple(part for part in parts if part.chapters),
        front=tuple(front),
    )


def book_digest(builder: Builder) -> str:
    """What both files depend on: all sources and stored outputs, and their setters."""
    names = [paths.CATALOGUE, paths.NOTATION, paths.REFERENCES, paths.INDEX_OF_TERMS]
    for name in builder.book().written():
        names += [paths.source(name), paths.notebook(name)]
    parts = [builder.disk.read_bytes(name) for name in names if builder.disk.exists(name)]
    folder = Path(str(importlib.resources.files("literate")))
    setters = [folder / name for name in SETTERS]
    setters += [*(folder / "formula").glob("*.py"), *(folder / "typst").rglob("*.*")]
    parts += [file.read_bytes() for file in sorted(setters) if file.is_file()]
    return digest(*parts)
