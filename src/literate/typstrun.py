"""Running typst: a main file in, PDF bytes out, its messages as problems."""

from __future__ import annotations

import io
import re
from collections.abc import Mapping
from functools import cache
from pathlib import Path

import pikepdf
import typst

from literate.problem import Problem, Trouble, raise_all

HERE = Path(__file__).parent / "typst"
PACKAGES = HERE / "packages"
# "┌─ .cache/chapters/transformers/attention.typ:12:4"
PLACE = re.compile(r"┌─ (\S+?):\d+:\d+")
# "label `<transformers-attention--softmax>` does not exist in the document"
NO_LABEL = re.compile(r"label `<(?:(.*?)--)?([^>]*)>` does not exist")
# 'the text `"😀"` could not be displayed with font `"New Computer Modern"`'
NO_GLYPH = re.compile(r'the text `"(.*?)"` could not be displayed')
# "PDF/UA-1 error: skipped from heading level 2 to 4"
SKIPPED = re.compile(r"skipped from heading level \d+ to \d+")


@cache
def _fonts() -> typst.Fonts:
    """The fonts inside typst, the same everywhere."""
    return typst.Fonts(include_system_fonts=False)


def compile_pdf(
    source: str, root: Path, path: str, sources: Mapping[str, str] | None = None
) -> bytes:
    """The PDF of a main file that finds its other files below `root`.

    Problems are of the file that `sources` gives for the file typst names, of `path`
    otherwise. The standard PDF/UA costs nothing and makes typst refuse what would
    print as an empty box: a character that no font has.
    """
    compiler = typst.Compiler(root=str(root), font_paths=_fonts(), package_path=str(PACKAGES))
    try:
        pdf, warnings = compiler.compile_with_warnings(
            source.encode(), format="pdf", pdf_standards="ua-1", timestamp=0
        )
    except typst.TypstError as error:
        raise Trouble(explain(error, path, sources or {})) from None
    raise_all(explain(warning, path, sources or {}) for warning in warnings)
    assert isinstance(pdf, bytes)
    return pdf


def slim(pdf: bytes) -> bytes:
    """The same document in about half the bytes: typst leaves the tags uncompressed."""
    out = io.BytesIO()
    with pikepdf.open(io.BytesIO(pdf)) as document:
        streams = pikepdf.ObjectStreamMode.generate
        document.save(out, object_stream_mode=streams, deterministic_id=True)
    return out.getvalue()


def explain(
    error: typst.TypstError | typst.TypstWarning, path: str, sources: Mapping[str, str]
) -> Problem:
    """A message of typst, located in the source of the file it names."""
    place = PLACE.search(error.diagnostic)
    for file, source in sources.items():
        if place and f"/{place[1]}".endswith(f"/{file}"):
            path = source
    if glyph := NO_GLYPH.search(error.message):
        what = f"no font of the PDF has a glyph for {glyph[1]}"
        return Problem(path, 0, what, "write it in another way")
    if label := NO_LABEL.search(error.message):
        # The message may name the template; the label names the topic.
        path = _by_prefix(sources).get(label[1], path)
        what = f"there is no heading or figure #{label[2]}"
        return Problem(path, 0, what, "correct the link or the reference")
    if skipped := SKIPPED.search(error.message):
        todo = "use the level between them"
        return Problem(path, 0, skipped[0], todo, error.diagnostic)
    what = f"typst: {error.message.splitlines()[0]}"
    return Problem(path, 0, what, "correct the text", error.diagnostic)


def _by_prefix(sources: Mapping[str, str]) -> dict[str, str]:
    """src/topics/transformers/attention.py by transformers-attention, and so on."""
    names = {source: source.removeprefix("src/topics/") for source in sources.values()}
    return {name.removesuffix(".py").replace("/", "-"): source for source, name in names.items()}
