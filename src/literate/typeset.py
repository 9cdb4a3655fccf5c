"""Chapters as pandoc markdown → typst → PDF, for one topic and for the whole book."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from literate import formula, paths, references
from literate.disk import digest
from literate.formula import quote
from literate.pandoc import PandocError, run_pandoc
from literate.problem import Problem, Trouble, raise_all
from literate.typstrun import HERE, compile_pdf, slim

IMPORT = '#import "@local/literate:1.0.0": *\n'
# What the chapters use, and GitHub understands in the same way.
EXTENSIONS = """
    all_symbols_escapable autolink_bare_uris backtick_code_blocks bracketed_spans
    citations escaped_line_breaks fenced_code_attributes fenced_code_blocks fenced_divs
    footnotes header_attributes intraword_underscores link_attributes
    lists_without_preceding_blankline pipe_tables raw_attribute smart
    space_in_atx_header startnum strikeout task_lists tex_math_dollars
    """
MARKDOWN = "+".join(["markdown_strict", *EXTENSIONS.split()])
# A formula on its way through pandoc; book.lua writes the private characters.
FORMULA = re.compile("\ue000([di])(.*?)\ue001", re.S)
SOLUTIONS = "\ue002"
# "#cite(label("vaswani2017attention"), …)"; not "@vaswani2017attention"
CITED = re.compile(r'#cite\(label\("([^"]+)"\)')


@dataclass(frozen=True)
class Fragment:
    """A chapter as typst, without a preamble; its solutions are set at the back."""

    main: str
    solutions: str


@dataclass(frozen=True)
class Chapter:
    """The files of a chapter's fragments, relative to the root. `name`: part/topic."""

    name: str
    title: str
    main: str
    solutions: str = ""
    summary: str = ""


@dataclass(frozen=True)
class Part:
    title: str
    intro: str
    chapters: tuple[Chapter, ...]


@dataclass(frozen=True)
class Book:
    """`front` holds chapters without a number, the notation for one."""

    title: str
    subtitle: str
    author: tuple[str, ...]
    parts: tuple[Part, ...]
    front: tuple[Chapter, ...] = ()

    @property
    def chapters(self) -> tuple[Chapter, ...]:
        return tuple(chapter for part in self.parts for chapter in part.chapters)


# ---- markdown → typst


@cache
def converter() -> str:
    """The digest of what `to_typst` does: a change of it converts all chapters again."""
    files = [HERE / "book.lua", Path(__file__), *sorted(Path(formula.__file__).parent.glob("*.py"))]
    return digest(*(file.read_bytes() for file in files))


def to_typst(markdown: str, *, path: str, prefix: str) -> Fragment:
    """A chapter's pandoc markdown as typst. Labels become `<prefix--label>`."""
    args = ["-f", MARKDOWN, "-t", "typst-smart", "--wrap=none", "-M", f"prefix={prefix}"]
    try:
        text, warnings = run_pandoc([*args, f"--lua-filter={HERE}/book.lua"], markdown)
    except PandocError as error:
        todo = "correct the text it names"
        raise Trouble(Problem(path, 0, "pandoc stopped", todo, str(error))) from None
    if warnings:
        todo = "correct the text it names"
        raise Trouble(Problem(path, 0, "pandoc warns", todo, warnings))
    problems: list[Problem] = []

    def convert(match: re.Match[str]) -> str:
        try:
            return set_formula(match[2], display=match[1] == "d")
        except formula.Refused as refused:
            what = f"{refused.what} in the formula {match[2].strip()}"
            problems.append(Problem(path, 0, what, refused.todo))
            return ""

    main, _, solutions = FORMULA.sub(convert, text).partition(SOLUTIONS)
    raise_all(problems)
    back = f"{IMPORT}{solutions.strip()}\n" if solutions.strip() else ""
    return Fragment(f"{IMPORT}{main.strip()}\n", back)


def set_formula(tex: str, *, display: bool) -> str:
    """A call of the template that sets a formula; the TeX is its alternative text."""
    code, boxed = formula.to_typst(tex)
    alt = quote(" ".join(tex.split()))
    if display:
        return f"#{'keyeq' if boxed else 'tex'}({alt}, $ {code} $);"
    return f"#tex({alt}, ${f'#boxed(${code}$)' if boxed else code}$);"


# ---- typst → PDF


def topic_pdf(
    chapter: Chapter,
    *,
    root: Path,
    bibliography: str,
    author: tuple[str, ...] = (),
    keywords: str = "",
) -> bytes:
    """One topic: its text, the solutions of its exercises, its references."""
    cited = check_citations((chapter,), root, bibliography)
    source = "".join(
        [
            IMPORT,
            f"#show: topic.with({_metadata(chapter.title, author, keywords)})\n",
            f"#include {quote('/' + chapter.main)}\n",
            *_topic_solutions(chapter, root),
            f"#references(bibliography({_bibliography(bibliography)}))\n" if cited else "",
        ]
    )
    return compile_pdf(source, root, paths.source(chapter.name), _sources((chapter,)))


def book_pdf(
    book: Book, *, root: Path, bibliography: str, index: str = "", keywords: str = ""
) -> bytes:
    """All topics, by part, with contents, solutions, one bibliography and the index of terms.

    `index` is typst that calls the template.
    """
    chapters = (*book.front, *book.chapters)
    cited = check_citations(chapters, root, bibliography)
    metadata = _metadata(book.title, book.author, keywords)
    source = "".join(
        [
            IMPORT,
            f"#show: book.with({metadata}, subtitle: {quote(book.subtitle)})\n",
            *(f"#plain-chapter(include {quote('/' + c.main)})\n" for c in book.front),
            *_parts(book),
            *_book_solutions(book, root),
            f"#plain-chapter(bibliography({_bibliography(bibliography)}))\n" if cited else "",
            index,
        ]
    )
    return slim(compile_pdf(source, root, paths.BOOK_PDF, _sources(chapters)))


def formula_sheet(formulas: list[tuple[str, str]]) -> bytes:
    """Formulas beside their TeX, for review by eye: (place, TeX) each."""
    rows = []
    for place, tex in formulas:
        try:
            shown = f"[{set_formula(tex, display=True)}]"
        except formula.Refused as refused:
            shown = f"text(fill: red, {quote(str(refused))})"
        rows.append(f"[#text(6pt, {quote(place)})], raw({quote(tex)}), {shown},\n")
    source = (
        f'{IMPORT}#show: topic.with(title: "Formulas")\n= Formulas\n'
        "#table(columns: (1fr, 4fr, 5fr), align: horizon + left,\n"
        f"{''.join(rows)})\n"
    )
    return compile_pdf(source, HERE, "formulas")


def _source(chapter: Chapter) -> str:
    """A topic's source; the notation's is src/notation.md."""
    name = chapter.name
    return paths.source(name) if "/" in name else f"src/{name}.md"


def _sources(chapters: tuple[Chapter, ...]) -> dict[str, str]:
    """The source of each fragment's file, for messages."""
    return {
        file: _source(chapter)
        for chapter in chapters
        for file in (chapter.main, chapter.solutions)
        if file
    }


def _metadata(title: str, author: tuple[str, ...], keywords: str) -> str:
    names = "".join(f"{quote(name)}, " for name in author)
    return f"title: {quote(title)}, author: ({names}), keywords: {quote(keywords)}"


def _bibliography(path: str) -> str:
    return f"{quote('/' + path)}, title: [References], style: reference-style"


def _topic_solutions(chapter: Chapter, root: Path) -> Iterator[str]:
    if _text(root, chapter.solutions).strip():
        yield f"== Solutions\n#include {quote('/' + chapter.solutions)}\n"


def _parts(book: Book) -> Iterator[str]:
    numbers = {chapter: n for n, chapter in enumerate(book.chapters, 1)}
    for part in book.parts:
        rows = (
            f"({numbers[c]}, {quote(c.title)}, {quote(c.summary)}, <{c.name.replace('/', '-')}>), "
            for c in part.chapters
        )
        yield f"#part({quote(part.title)}, {quote(part.intro)}, ({''.join(rows)}))\n"
        for chapter in part.chapters:
            yield f"#numbered-chapter(include {quote('/' + chapter.main)})\n"


def _book_solutions(book: Book, root: Path) -> Iterator[str]:
    solved = [
        (number, chapter)
        for number, chapter in enumerate(book.chapters, 1)
        if _text(root, chapter.solutions).strip()
    ]
    if solved:
        yield "#plain-chapter[\n= Solutions\n"
        for number, chapter in solved:
            title = quote(f"{number}\u2002{chapter.title}")
            yield f"#heading(level: 2, outlined: false, {title})\n"
            yield f"#include {quote('/' + chapter.solutions)}\n"
        yield "]\n"


def _text(root: Path, path: str) -> str:
    return (root / path).read_text(encoding="utf-8") if path else ""


def check_citations(chapters: tuple[Chapter, ...], root: Path, bibliography: str) -> bool:
    """Whether the chapters cite anything; an unknown key is a problem."""
    texts = {c: _text(root, c.main) + _text(root, c.solutions) for c in chapters}
    cited = {chapter: set(CITED.findall(text)) for chapter, text in texts.items()}
    if not any(cited.values()):
        return False
    known = references.keys(_text(root, bibliography), bibliography)
    todo = f"correct the key or add the entry to {bibliography}"
    raise_all(
        Problem(_source(chapter), 0, f"unknown citation key {key!r}", todo)
        for chapter, keys in cited.items()
        for key in keys - known.keys()
    )
    return True
