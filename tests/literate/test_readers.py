"""The committed forms as a reader finds them."""

from __future__ import annotations

import json
import re
from pathlib import Path

import nbformat
import pytest

ROOT = Path(__file__).parents[2]
DOCUMENTS = sorted(p for p in (ROOT / "build").rglob("*.md") if p.name != "notation.md")
NOTEBOOKS = sorted((ROOT / "notebooks").rglob("*.ipynb"))
# Raw HTML that documents may hold: anchors, folded solutions, the line naming the source.
ALLOWED = re.compile(
    r"<!-- Generated from \S+: edit that file, then run doit\. digest:[0-9a-f]{16} -->"
    r"|<!-- Generated from \S+: edit that, then run doit\. digest:[0-9a-f]{16} -->"
    r'|<a id="[\w:.+/-]+"></a>|</?details>|</?summary>|<https?://[^>]+>|</?su[bp]>|<br>'
)
FENCED = re.compile(r"^(`{3,})[^\n]*\n.*?^\1$", re.S | re.M)
CODE = re.compile(r"\$?`[^`\n]+`\$?")


def named(paths: list[Path]) -> dict[str, object]:
    return {"argvalues": paths, "ids": [p.relative_to(ROOT).as_posix() for p in paths]}


@pytest.mark.parametrize("path", **named(NOTEBOOKS))
def test_notebook_is_valid_and_plain(path: Path) -> None:
    text = path.read_text(encoding="utf-8")
    notebook = nbformat.reads(text, as_version=4)
    nbformat.validate(notebook)
    assert (notebook.nbformat, notebook.nbformat_minor) == (4, 5)
    ids = [cell.id for cell in notebook.cells]
    assert len(set(ids)) == len(ids)
    assert "<script" not in text.lower() and len(text) < 3_000_000
    for cell in json.loads(text)["cells"]:
        assert "execution" not in cell["metadata"], "timestamps"
        for output in cell.get("outputs", []):
            assert output["output_type"] != "error"
            assert output.get("name") != "stderr", f"{cell['id']} warns: {output['text']}"
            assert "text/html" not in output.get("data", {})


@pytest.mark.parametrize("path", **named(DOCUMENTS))
def test_document_holds_no_other_html(path: Path) -> None:
    text = CODE.sub("", FENCED.sub("", path.read_text(encoding="utf-8")))
    assert re.findall(r"<[A-Za-z/!][^>]*>", ALLOWED.sub("", text)) == []


@pytest.mark.parametrize("path", **named(DOCUMENTS))
def test_links_lead_to_files_and_anchors(path: Path) -> None:
    text = path.read_text(encoding="utf-8")
    for target in re.findall(r"\]\(([^)\s]+)\)", CODE.sub("", FENCED.sub("", text))):
        if target.startswith("http"):
            continue
        file, _, anchor = target.partition("#")
        place = (path.parent / file).resolve() if file else path
        assert place.exists(), target
        if anchor and place.suffix == ".md":
            assert anchor in anchors(place.read_text(encoding="utf-8")), target


def anchors(markdown: str) -> set[str]:
    from literate.prose import Slugs, plain, scan

    found = set(re.findall(r'<a id="([^"]+)"></a>', markdown))
    slugs = Slugs()
    for line in FENCED.sub("", markdown).split("\n"):
        if match := re.fullmatch(r"#{1,6} +(.*)", line):
            found.add(slugs(plain(scan(match[1]))))
    return found
