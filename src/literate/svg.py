"""Lighter SVG: what matplotlib writes, without what no eye can see."""

from __future__ import annotations

import re

DECIMALS = 2  # of a point; a printer's dot is 0.06 of one, and a glyph's unit 0.06 too
# "184.396395", "-0.746875"; not "0.6", which is short already
LONG = re.compile(r"-?\d+\.\d{3,}")
# The places where a number is a length: paths, positions, sizes. A scale keeps its digits.
LENGTHS = re.compile(r'(?<=\s)(?:d|x|y|x1|x2|y1|y2|width|height|points)="[^"]*"')
MOVES = re.compile(r"translate\([^)]*\)")
# What names the program that drew it, and the comments that repeat a text's words.
REMARKS = re.compile(r"\s*<metadata>.*?</metadata>|\s*<!--.*?-->|\s*<!DOCTYPE.*?>", re.S)
# matplotlib gives equal pictures the same id, which XML forbids; nothing refers to them.
PICTURE = re.compile(r' id="image[0-9a-f]+"')
PATHS = re.compile(r'(?<=\sd=")[^"]*(?=")')
INDENT = re.compile(r"\n\s+")


def lighter(svg: str) -> str:
    """`svg` to look at as before, in four fifths of the bytes."""
    text = PICTURE.sub("", REMARKS.sub("", svg))
    text = LENGTHS.sub(lambda found: LONG.sub(_rounded, found[0]), text)
    text = MOVES.sub(lambda found: LONG.sub(_rounded, found[0]), text)
    text = PATHS.sub(lambda found: " ".join(found[0].split()), text)
    return INDENT.sub("\n", text)


def _rounded(found: re.Match[str]) -> str:
    text = f"{float(found[0]):.{DECIMALS}f}".rstrip("0").rstrip(".")
    return "0" if text == "-0" else text
