"""`src/references.bib` → how each entry is cited and listed, set by pandoc's citeproc."""

from __future__ import annotations

import re
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from literate import paths
from literate.problem import Problem, raise_all

# "@article{vaswani2017attention,"; not "@string{x = 1}"
ENTRY = re.compile(r"^\s*@(?!string|comment|preamble)\w+\s*\{\s*(?P<key>[^\s,]+)\s*,", re.M | re.I)
# pandoc's div of one entry, with its text
LISTED = re.compile(
    r'<div id="ref-(?P<key>[^"]+)" class="csl-entry">\s*(?P<text>.*?)\s*</div>', re.S
)
# The same style as in the PDF.
CSL = Path(__file__).parent / "typst/packages/local/literate/1.0.0/references.csl"
# citeproc's mark around words that keep their case
SPAN = re.compile(r"</?span[^>]*>")
# A title on one line; double braces make citeproc keep its capitals, as the PDF does.
TITLE = re.compile(r"^(\s*(?:title|booktitle|journal)\s*=\s*)\{(.*)\}(?=,?\s*$)", re.M)
URL = re.compile(r"<(https?://[^>]+)>")


@dataclass(frozen=True)
class Reference:
    """`cited` as in "Vaswani et al. 2017", `narrative` as in "Vaswani et al. (2017)"."""

    cited: str
    narrative: str
    listed: str

    @property
    def url(self) -> str:
        match = URL.search(self.listed)
        return match[1] if match else ""


References = Mapping[str, Reference]


def keys(bibliography: str, path: str = paths.REFERENCES) -> dict[str, int]:
    """The keys of a BibTeX text and their lines. A repeated key is a problem."""
    found: dict[str, int] = {}
    problems = []
    for match in ENTRY.finditer(bibliography):
        line = bibliography.count("\n", 0, match.start("key")) + 1
        if match["key"] in found:
            what = f"the key {match['key']!r} is used twice"
            todo = f"rename this entry or merge it with line {found[match['key']]}"
            problems.append(Problem(path, line, what, todo))
        found.setdefault(match["key"], line)
    raise_all(problems)
    return found


def capitals_kept(bibliography: str) -> str:
    """BibTeX whose titles citeproc leaves as they are written."""
    return TITLE.sub(r"\1{{\2}}", bibliography)


def format_references(bibliography: Path) -> dict[str, Reference]:
    """All entries as the documents cite and list them, by key, sorted by author."""
    from literate.pandoc import run_pandoc  # only this function needs pandoc

    source = bibliography.read_text(encoding="utf-8")
    names = sorted(keys(source))
    if not names:
        return {}
    # A separate paragraph for each form of each key; nothing else is in the text.
    text = "\n\n".join(f"[@{key}]\n\n@{key}" for key in names)
    arguments = ["-f", "markdown", "-t", "gfm", "--wrap=none", "--citeproc"]
    with tempfile.TemporaryDirectory(prefix="literate-") as folder:
        kept = Path(folder) / "references.bib"
        kept.write_text(capitals_kept(source), encoding="utf-8")
        style = [f"--csl={CSL}", f"--bibliography={kept}"]
        output, _ = run_pandoc([*arguments, *style], text)
    output = SPAN.sub("", output)
    body, _, listed = output.partition('<div id="refs"')
    paragraphs = [paragraph.strip() for paragraph in body.strip().split("\n\n")]
    forms = dict(zip(names, zip(paragraphs[::2], paragraphs[1::2], strict=True), strict=True))
    entries = {match["key"]: match["text"] for match in LISTED.finditer(listed)}
    return {
        key: Reference(forms[key][0].strip("()"), forms[key][1], " ".join(text.split()))
        for key, text in entries.items()
    }
