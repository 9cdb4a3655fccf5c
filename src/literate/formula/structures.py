"""The commands with arguments of their own, and the environments."""

from __future__ import annotations

import re
from collections.abc import Callable

from literate.formula import symbols
from literate.formula.reader import Reader, inner, nested
from literate.formula.scanner import Atom, Refused

FRACTIONS = {"frac": "", "tfrac": "inline", "dfrac": "display"}
ARROWS = {"xrightarrow": "→", "xleftarrow": "←"}
MATRICES = {
    "matrix": "#none",
    "smallmatrix": "#none",
    "pmatrix": '"("',
    "bmatrix": '"["',
    "Bmatrix": '"{"',
    "vmatrix": '"|"',
    "Vmatrix": '"‖"',
}
# Heights of \big and its kin, as in plain TeX.
BIG = {"big": "1.2em", "Big": "1.8em", "bigg": "2.4em", "Bigg": "3em"}
BIG_SIDES = {"": "normal", "l": "opening", "r": "closing", "m": "relation"}
# Commands before which \dots sits on the axis.
AXIS = {"cdot", "times", "oplus", "otimes", "odot", "pm", "circ", "cup", "cap"}
AXIS |= {"le", "lt", "ge", "gt", "to"}


def fraction(reader: Reader, name: str) -> Atom:
    code = f"frac({reader.argument().code}, {reader.argument().code})"
    return Atom(f"{FRACTIONS[name]}({code})" if FRACTIONS[name] else code)


def binomial(reader: Reader, name: str) -> Atom:
    return Atom(f"binom({reader.argument().code}, {reader.argument().code})")


def root(reader: Reader, name: str) -> Atom:
    degree = bracket(reader)
    radicand = reader.argument().code
    return Atom(f"root({degree}, {radicand})" if degree else f"sqrt({radicand})")


def bracket(reader: Reader) -> str:
    """An optional argument in square brackets."""
    if not reader.take("["):
        return ""
    code = inner(reader.sequence(lambda: reader.peek("]")))
    reader.take("]")
    return code


def fenced(reader: Reader, name: str) -> Atom:
    left = reader.delimiter()
    body = reader.sequence(lambda: reader.peek_command() == "right")
    reader.command()
    right = reader.delimiter()
    # Empty text keeps the body's own first bracket from being taken for the fence.
    atoms = [Atom(left or '""'), *map(nested, body), Atom(right or '""')]
    return Atom(f"lr({inner(atoms)})")


def middle(reader: Reader, name: str) -> Atom:
    return Atom(f"mid({reader.delimiter()})")


def sized(reader: Reader, name: str) -> Atom:
    size = name if name in BIG else name[:-1]
    fence = f"lr(size: #{BIG[size]}, {reader.delimiter()})"
    return Atom(f'class("{BIG_SIDES[name.removeprefix(size)]}", {fence})')


def box(reader: Reader, name: str) -> Atom:
    if reader.peek("{"):
        atoms = reader.group()
        if len(atoms) == 1:
            return Atom(atoms[0].code, "box")
        return Atom(inner(atoms), "box")
    return Atom(reader.argument().code, "box")


def stacked(reader: Reader, name: str) -> Atom:
    """Something above or below: the base keeps its class."""
    script = reader.argument().code
    side = "b" if name == "underset" else "t"
    start = reader.at
    base = reader.argument()
    commands = set(re.findall(r"\\([A-Za-z]+)", reader.tex[start : reader.at]))
    if commands and commands <= symbols.OPERATORS:
        return Atom(f"attach(limits(op({base.code})), {side}: {script})")
    code = f"attach(limits({base.code}), {side}: {script})"
    return Atom(f'class("relation", {code})' if base.kind == "relation" else code)


def long_arrow(reader: Reader, name: str) -> Atom:
    below = bracket(reader)
    arrow = f"limits(stretch({ARROWS[name]}, size: #(100% + 1em)))"
    script = f"t: {reader.argument().code}" + (f", b: {below}" if below else "")
    return Atom(f'class("relation", attach({arrow}, {script}))')


def brace(reader: Reader, name: str) -> Atom:
    body = reader.argument().code
    if reader.take("_" if name == "underbrace" else "^"):
        return Atom(f"{name}({body}, {reader.argument().code})")
    return Atom(f"{name}({body})")


def substack(reader: Reader, name: str) -> Atom:
    if not reader.take("{"):
        raise Refused("\\substack has no braces", "write \\substack{… \\\\ …}")
    rows = reader.rows(lambda: reader.peek("}"))
    reader.take("}")
    return Atom(" \\\n".join(" ".join(row) for row in rows))


def negated(reader: Reader, name: str) -> Atom:
    what = reader.command() if reader.peek("\\") else reader.next()
    if what not in symbols.NEGATED:
        raise Refused(f"\\not before {what} cannot be set", "use the negated symbol")
    return Atom(symbols.NEGATED[what], "relation")


def dots(reader: Reader, name: str) -> Atom:
    follows = reader.peek_command() or reader.char
    return Atom("⋯" if follows in AXIS or (follows and follows in "+-=<>") else "…")


def colon(reader: Reader, name: str) -> Atom:
    return Atom('class("punctuation", \\:)')


def modulo(reader: Reader, name: str) -> Atom:
    if name == "bmod":
        return Atom('class("binary", "mod")')
    return Atom(f'quad \\("mod"thin {reader.argument().code} \\)')


def operator(reader: Reader, name: str) -> Atom:
    return Atom(f"op({reader.argument().code}, limits: #true)")


def environment(reader: Reader, begin: str) -> Atom:
    name = reader.name()
    spec = reader.name() if name == "array" else ""
    rows = reader.rows(lambda: reader.peek("\\end"))
    reader.command()
    if (end := reader.name()) != name:
        what = f"\\begin{{{name}}} is closed by \\end{{{end}}}"
        raise Refused(what, "give both the same name")
    if name in ("aligned", "split", "gathered"):
        return Atom(" \\\n".join(gapped(row) for row in rows), "lines")
    body = "; ".join(", ".join(cell or '""' for cell in row) for row in rows)
    if name == "cases":
        return Atom(f'mat(delim: #("{{", none), align: #left, {body})')
    if name == "array":
        return Atom(f"display(mat(delim: #none, {columns(spec)}{body}))")
    if name not in MATRICES:
        todo = "use aligned, gathered, cases, array or a matrix"
        raise Refused(f"the environment {name} cannot be set", todo)
    style = "inline" if name == "smallmatrix" else "display"
    return Atom(f"{style}(mat(delim: {MATRICES[name]}, {body}))")


def gapped(row: list[str]) -> str:
    """One line of aligned: a gap in front of every second column but the first."""
    cells = [f"#h(2em) {c}" if n and n % 2 == 0 else c for n, c in enumerate(row)]
    return " & ".join(cells)


def columns(spec: str) -> str:
    """mat's options for the column letters and rules of an array."""
    letters = set(spec) - {"|", " "}
    if len(letters) != 1 or not letters <= set("lcr"):
        todo = "give all columns of the array the same letter: l, c or r"
        raise Refused(f"the columns {{{spec}}} cannot be set", todo)
    at, rules = 0, list[int]()
    for letter in spec.replace(" ", ""):
        at, rules = (at, [*rules, at]) if letter == "|" else (at + 1, rules)
    align = {"l": "left", "c": "center", "r": "right"}[letters.pop()]
    inside = ", ".join(str(rule) for rule in rules if 0 < rule < at)
    augment = f"augment: #(vline: ({inside},)), " if inside else ""
    return f"align: #{align}, {augment}"


STRUCTURES: dict[str, Callable[[Reader, str], Atom]] = {
    **dict.fromkeys(FRACTIONS, fraction),
    **dict.fromkeys(ARROWS, long_arrow),
    **dict.fromkeys((big + side for big in BIG for side in BIG_SIDES), sized),
    **dict.fromkeys(("overset", "stackrel", "underset"), stacked),
    **dict.fromkeys(("underbrace", "overbrace"), brace),
    **dict.fromkeys(("bmod", "pmod"), modulo),
    "binom": binomial,
    "sqrt": root,
    "left": fenced,
    "middle": middle,
    "boxed": box,
    "substack": substack,
    "not": negated,
    "dots": dots,
    "colon": colon,
    "mathop": operator,
    "begin": environment,
}
