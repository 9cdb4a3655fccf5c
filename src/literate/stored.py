"""The executed notebook as the store of outputs, read back for the other forms."""

from __future__ import annotations

import base64
import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

# "\x1b[31m"; not "[31m"
ANSI = re.compile(r"\x1b\[[0-9;]*[A-Za-z]")
OUTPUT = Mapping[str, Any]  # one output as nbformat writes it


@dataclass(frozen=True)
class Stored:
    """`outputs` of each code cell and `values` of each markdown cell, in source order."""

    stamp: str
    outputs: tuple[tuple[OUTPUT, ...], ...]
    values: tuple[tuple[str, ...], ...]


@dataclass(frozen=True)
class Figure:
    """A figure: SVG for documents and PDFs, PNG for notebooks."""

    svg: str
    png: bytes


NOTHING = Stored("", (), ())


def load(notebook: str) -> Stored:
    """The stored outputs of a notebook's text; `NOTHING` if it is not one of ours."""
    try:
        data = json.loads(notebook)
        mine = data["metadata"]["literate"]
        outputs: list[tuple[OUTPUT, ...]] = []
        values: list[tuple[str, ...]] = []
        for cell in data["cells"]:
            own = cell["metadata"].get("literate")
            if own is None:
                continue  # written by the build: header, style, references
            if cell["cell_type"] == "code":
                outputs.append(tuple(cell["outputs"]))
            else:
                values.append(tuple(own.get("values", ())))
        return Stored(mine["stamp"], tuple(outputs), tuple(values))
    except (ValueError, KeyError, TypeError):
        return NOTHING


def joined(text: str | Sequence[str]) -> str:
    """nbformat writes long texts as lists of lines."""
    return text if isinstance(text, str) else "".join(text)


def text_of(outputs: Sequence[OUTPUT]) -> str:
    """What a cell printed, and the plain form of its last value."""
    parts = []
    for output in outputs:
        if output["output_type"] == "stream":
            parts.append(joined(output["text"]))
        elif "image/png" not in output.get("data", {}):
            parts.append(joined(output["data"].get("text/plain", "")) + "\n")
    return ANSI.sub("", "".join(parts)).rstrip("\n")


def figures_of(outputs: Sequence[OUTPUT]) -> list[Figure]:
    found = []
    for output in outputs:
        data = output.get("data", {})
        if "image/png" in data:
            svg = joined(output["metadata"]["literate"]["svg"])
            found.append(Figure(svg, base64.b64decode(joined(data["image/png"]))))
    return found
