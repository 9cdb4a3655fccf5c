"""`doit report`: what each topic holds, as a table and as JSON."""

from __future__ import annotations

import contextlib
import json
import re
import zlib
from dataclasses import asdict
from typing import Any

from literate import measure, paths
from literate.build import Builder

FILE = f"{paths.CACHE}/report.json"
STREAM = re.compile(rb"stream\r?\n(.*?)\r?\nendstream", re.S)
PAGE = re.compile(rb"/Type\s*/Page\b(?!s)")
COLUMNS = (
    "words", "code_cells", "formulas", "figures", "citations", "exercises", "tests", "links",
    "linked_by", "seconds", "megabytes", "pages",
)  # fmt: skip


def rows(builder: Builder) -> dict[str, dict[str, Any]]:
    """The figures of each written topic, by name. A figure nobody has measured is None."""
    names = builder.book().written()
    found: dict[str, dict[str, Any]] = {}
    for name in names:
        row: dict[str, Any] = asdict(measure.measure(builder.topic(name)))
        cost = {"seconds": None, "megabytes": None}
        if builder.disk.exists(paths.costs(name)):
            cost = json.loads(builder.disk.read(paths.costs(name)))
        row.update(cost, pages=_pages(builder, name))
        found[name] = row
    counts = measure.times_linked(row["linked"] for row in found.values())
    for name in names:
        found[name]["linked_by"] = counts[name]
    return found


def _pages(builder: Builder, name: str) -> int | None:
    """Pages of the topic's PDF, if it is built; the objects stand in compressed streams."""
    if not builder.disk.exists(paths.pdf(name)):
        return None
    data = builder.disk.read_bytes(paths.pdf(name))
    parts = [data]
    for stream in STREAM.findall(data):
        with contextlib.suppress(zlib.error):
            parts.append(zlib.decompress(stream))
    return sum(len(PAGE.findall(part)) for part in parts) or None


def table(found: dict[str, dict[str, Any]]) -> str:
    """The figures as text, with a line of totals."""
    width = max([len(name) for name in found] + [len("total")])
    heads = [column.replace("_", " ") for column in COLUMNS]
    lines = [" ".join(["topic".ljust(width), *(f"{head:>10}" for head in heads)])]
    for name, row in found.items():
        cells = ("–" if row[c] is None else f"{row[c]:,}" for c in COLUMNS)
        lines.append(" ".join([name.ljust(width), *(f"{cell:>10}" for cell in cells)]))
    sums = (f"{sum(row[c] or 0 for row in found.values()):,.6g}" for c in COLUMNS)
    lines.append(" ".join(["total".ljust(width), *(f"{cell:>10}" for cell in sums)]))
    documents = sum(not name.startswith("notebooks/") for name in found)
    lines.append(f"{documents} documents and {len(found) - documents} notebooks complete")
    return "\n".join(lines)


def report(builder: Builder) -> str:
    found = rows(builder)
    builder.disk.write(FILE, json.dumps(found, indent=1))
    return f"{table(found)}\nas JSON: {FILE}"
