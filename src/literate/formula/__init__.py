"""TeX mathematics → typst mathematics.

pandoc converts formulas too, but it loses what good setting needs (the size and the
side of delimiters, over- and underset, spaces, arrows) and writes names that typst
has since renamed. This converter knows the part of TeX that the book uses, writes the
characters themselves, and refuses everything else by name: `symbols` holds the
characters, `structures` the commands with arguments, `reader` what TeX itself does.
"""

from __future__ import annotations

from literate.formula.reader import Reader, inner, join
from literate.formula.scanner import Atom, Refused, quote
from literate.formula.structures import STRUCTURES

__all__ = ["Refused", "quote", "to_typst"]

FINAL = ("\\.", "\\,", "\\;")


def to_typst(tex: str) -> tuple[str, bool]:
    """Typst's form of a formula, and whether one box surrounds all of it."""
    reader = Reader(tex.strip(), STRUCTURES)
    atoms = reader.sequence(lambda: reader.at_end)
    if not atoms:
        raise Refused("a formula is empty", "write it or remove its dollars")
    if atoms[0].kind in ("box", "lines") and all(a.code in FINAL for a in atoms[1:]):
        # Lines and a box around everything are for typst's equation, not inside it.
        first = Atom(atoms[0].code)
        return join([first, *atoms[1:]]), atoms[0].kind == "box"
    return inner(atoms), False
