"""Chapters as pandoc markdown → one EPUB, its mathematics as MathML."""

from __future__ import annotations

import json
import re
import tempfile
import uuid
import zipfile
from collections.abc import Iterator, Mapping
from io import BytesIO
from pathlib import Path
from typing import Any

from literate import paths, references
from literate.pandoc import PandocError, run_pandoc, run_pandoc_bytes
from literate.problem import Problem, Trouble
from literate.typeset import MARKDOWN, Book, Chapter

HERE = Path(__file__).parent
# "[WARNING] Could not convert TeX math \foo, rendering as TeX:"
NO_MATHML = re.compile(r"Could not convert TeX math (?P<tex>.*?), rendering as TeX", re.S)
# What a screen reader is told of the book.
ACCESS = {
    "accessModes": ["textual", "visual"],
    "accessModeSufficient": ["textual"],
    "accessibilityFeatures": [
        "alternativeText",
        "MathML",
        "readingOrder",
        "structuralNavigation",
        "tableOfContents",
    ],
    "accessibilityHazards": ["none"],
    "accessibilitySummary": "Every figure has a text alternative and every formula is MathML.",
}
Blocks = list[Any]  # pandoc's blocks, as JSON


def epub(
    book: Book, *, root: Path, bibliography: str, index: str = "", keywords: str = ""
) -> bytes:
    """All topics, by part, with one bibliography and the index of terms.

    `index` is markdown with links to `part-topic--heading`.
    """
    document = {
        "pandoc-api-version": json.loads(_blocks("", ""))["pandoc-api-version"],
        "meta": {},
        "blocks": [*_body(book, root), *_back(index)],
    }
    metadata = {
        "title": book.title,
        "subtitle": book.subtitle,
        "author": list(book.author),
        "lang": "en",
        "identifier": f"urn:uuid:{uuid.uuid5(uuid.NAMESPACE_URL, book.title + book.subtitle)}",
        "subject": keywords,
        "link-citations": True,
        "toc-title": "Contents",
        **ACCESS,
    }
    with tempfile.TemporaryDirectory(prefix="literate-") as name:
        folder = Path(name)
        (folder / "metadata.json").write_text(json.dumps(metadata), encoding="utf-8")
        cited = (root / bibliography).read_text(encoding="utf-8")
        kept = references.capitals_kept(cited)
        (folder / "references.bib").write_text(kept, encoding="utf-8")
        args = [
            *("-f", "json", "-t", "epub3", "-o", "-", "--mathml", "--citeproc"),
            *(f"--csl={references.CSL}", f"--bibliography={folder}/references.bib"),
            *(f"--metadata-file={folder}/metadata.json", f"--css={HERE}/epub.css"),
            *("--split-level=2", "--toc", "--toc-depth=3", f"--resource-path={root}"),
        ]
        try:
            made, warnings = run_pandoc_bytes(args, json.dumps(document))
        except PandocError as error:
            what, todo = "pandoc stopped", "correct the text it names"
            raise Trouble(Problem(paths.BOOK_EPUB, 0, what, todo, str(error))) from None
    if warnings:
        raise Trouble(*_explained(warnings))
    return made


def keywords_of(made: bytes) -> str:
    """The keywords that an EPUB carries; empty if it is none."""
    try:
        with zipfile.ZipFile(BytesIO(made)) as file:
            package = file.read("EPUB/content.opf").decode()
    except (zipfile.BadZipFile, KeyError):
        return ""
    found = re.search(r"<dc:subject[^>]*>([^<]*)</dc:subject>", package)
    return found[1] if found else ""


def _body(book: Book, root: Path) -> Iterator[Any]:
    """Front matter and parts at the first level, chapters at the second."""
    numbers = {chapter: n for n, chapter in enumerate(book.chapters, 1)}
    for chapter in book.front:
        yield from _chapter(chapter, root, {"shift": "0"})
    for number, part in enumerate(book.parts, 1):
        yield from _parsed(f"# {part.title} {{#part-{number}}}\n\n{part.intro}\n", "")
        for chapter in part.chapters:
            yield from _chapter(chapter, root, {"shift": "1", "number": str(numbers[chapter])})


def _back(index: str) -> Iterator[Any]:
    yield from _parsed("# References {#references}\n\n::: {#refs}\n:::\n", "")
    if index:
        yield from _parsed(index, "")


def _chapter(chapter: Chapter, root: Path, metadata: Mapping[str, str]) -> Blocks:
    path = paths.chapter_markdown(chapter.name)
    text = (root / path).read_text(encoding="utf-8")
    prefix = chapter.name.replace("/", "-")
    blocks: Blocks = json.loads(_blocks(text, path, {**metadata, "prefix": prefix}))["blocks"]
    return blocks


def _parsed(markdown: str, path: str) -> Blocks:
    blocks: Blocks = json.loads(_blocks(markdown, path))["blocks"]
    return blocks


def _blocks(markdown: str, path: str, metadata: Mapping[str, str] | None = None) -> str:
    """pandoc's JSON of a chapter; with `metadata`, after the filter."""
    args = ["-f", MARKDOWN, "-t", "json"]
    if metadata is not None:
        args += [arg for item in metadata.items() for arg in ("-M", "=".join(item))]
        args.append(f"--lua-filter={HERE}/epub.lua")
    try:
        text, _ = run_pandoc(args, markdown)  # its warnings are said where the PDF is set
    except PandocError as error:
        what, todo = "pandoc stopped", "correct the text it names"
        raise Trouble(Problem(path, 0, what, todo, str(error))) from None
    return text


def _explained(warnings: str) -> Iterator[Problem]:
    formulas = NO_MATHML.findall(warnings)
    for tex in formulas:
        what = f"no MathML for the formula {' '.join(tex.split())}"
        yield Problem(paths.BOOK_EPUB, 0, what, "write it with other commands")
    if not formulas:
        todo = "correct the text it names"
        yield Problem(paths.BOOK_EPUB, 0, "pandoc warns", todo, warnings)
