"""What a formula needs so that GitHub, Jupyter and the PDF all show it.

KaTeX finds what does not parse; the lists below hold what parses and still breaks in one
of the three, as seen in public reports and in our own sheet of formulas.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor

from literate.problem import Problem
from literate.prose import Heading, Link, Math, Segment, Text, scan, walk
from literate.topic import Cell

# Command → what to write instead.
DENIED: Mapping[str, str] = {
    r"\operatorname": r"\text{…} or \mathrm{…}",
    r"\mbox": r"\text{…}",
    r"\phantom": "nothing, or \\quad",
    r"\newcommand": "the formula itself",
    r"\def": "the formula itself",
    r"\mkern": r"\,",
    r"\bm": r"\boldsymbol{…}",
    r"\cfrac": r"\frac",
    r"\dbinom": r"\binom",
    r"\over": r"\frac{…}{…}",
    r"\smash": "nothing",
    r"\textcolor": "nothing",
    r"\color": "nothing",
    r"\colorbox": r"\boxed{…}",
    r"\bigm": r"\mid",
    r"\nonumber": "nothing",
    r"\tag": "a name in the text",
    r"\label": "a name in the text",
    r"\eqref": "a name in the text",
    r"\href": "a link in the text",
    r"\raisebox": "nothing",
    r"\!": "nothing",
    r"\;": r"\quad or \,",
    r"\bra": r"\langle",
    r"\lVert\lVert": r"\lVert",
}
ENVIRONMENTS: Mapping[str, str] = {
    "align": "aligned",
    "align*": "aligned",
    "equation": "nothing",
    "gather": "aligned",
    "rcases": "cases",
    "dcases": "cases",
    "vmatrix": r"\det or \lvert … \rvert",
    "array": "matrix, or a table",
}
COMMAND = re.compile(r"\\(?:[A-Za-z]+|.)")
ENVIRONMENT = re.compile(r"\\begin\{(?P<name>[^}]*)\}")
# "|x|"; not "\|" nor "\lvert"
BARE_BAR = re.compile(r"(?<!\\)\|")
DOUBLE_BAR = re.compile(r"\\\|")
# "a<b"; not "a < b"
TIGHT_LESS = re.compile(r"<(?=[A-Za-z/!])")
# an unescaped comment sign
COMMENT = re.compile(r"(?<!\\)%")
TEXT_DOLLAR = re.compile(r"\\text\{[^}]*\$")
# a line that cannot stand in a list, a quotation or a table
LIST_ITEM = re.compile(r"\s*(?:[-*+]|\d+[.)])\s")
MANY_SCRIPTS = 100

# KaTeX points with a low line under each character
COMBINING = re.compile("\u0332")
# Its interpreter measures its stack from the thread that made it, and hangs in any other.
_katex = ThreadPoolExecutor(max_workers=1, thread_name_prefix="katex")


def problems(cell: Cell, path: str) -> list[Problem]:
    """All that is wrong with the formulas of a markdown cell."""
    found: list[Problem] = []

    def add(line: int, what: str, todo: str) -> None:
        found.append(Problem(path, cell.line + line - 1, what, todo))

    segments = scan(cell.text)
    for segment in walk(segments):
        if isinstance(segment, Math):
            for what, todo in formula_problems(segment):
                add(segment.line, what, todo)
    for line, what, todo in _context(segments, cell.is_solution):
        add(line, what, todo)
    return found


def formula_problems(math: Math) -> Iterator[tuple[str, str]]:
    """What is wrong with one formula by itself: what, and what to do."""
    tex = math.tex
    shown = " ".join(tex.split())
    shown = shown if len(shown) <= 60 else shown[:57] + "…"
    if message := parse_error(tex, math.display):
        yield f"the formula {shown} does not parse, {message}", "mend it"
        return
    for command in sorted(set(COMMAND.findall(tex)) & DENIED.keys()):
        yield f"{command} does not render everywhere", f"write {DENIED[command]}"
    for environment in sorted(set(ENVIRONMENT.findall(tex)) & ENVIRONMENTS.keys()):
        yield f"{environment} does not render everywhere", f"write {ENVIRONMENTS[environment]}"
    if BARE_BAR.search(tex):
        yield f"a bare | in {shown}", r"write \lvert … \rvert, or \mid"
    if DOUBLE_BAR.search(tex):
        yield rf"\| in {shown}", r"write \lVert … \rVert, or \parallel"
    if TIGHT_LESS.search(tex):
        yield f"< before a letter in {shown}", r"write \lt, or put spaces around it"
    if COMMENT.search(tex):
        yield f"a comment in {shown}", r"write \%, or take it out"
    if TEXT_DOLLAR.search(tex):
        yield rf"a dollar inside \text in {shown}", "move it out"
    if tex.count("_") + tex.count("^") >= MANY_SCRIPTS:
        yield "the formula has 100 or more sub- and superscripts", "split it"
    if tex.count("(") != tex.count(")") and "cases" not in tex and "[" not in tex:
        yield f"the parentheses of {shown} do not match", "balance them"


def parse_error(tex: str, display: bool) -> str:
    """KaTeX's objection, or nothing."""
    return _katex.submit(_parse, tex, display).result()


def _parse(tex: str, display: bool) -> str:
    import pykatex

    try:
        pykatex.renderToString(tex, displayMode=display)
    except pykatex.ParseError as error:
        return COMBINING.sub("", str(error)).split(" at position")[0].rstrip(".")
    return ""


def _context(segments: tuple[Segment, ...], folded: bool) -> Iterator[tuple[int, str, str]]:
    """What is wrong with where formulas stand."""
    for before, segment, after in zip(
        (None, *segments), segments, (*segments[1:], None), strict=False
    ):
        if isinstance(segment, Heading) and any(isinstance(s, Math) for s in segment.title):
            yield segment.line, "a formula in a heading", "say it in words"
        if isinstance(segment, Link) and any(isinstance(s, Math) for s in segment.label):
            yield segment.line, "a formula in a link's text", "move it out of the link"
        if not isinstance(segment, Math):
            continue
        left = before.raw[-1:] if before else ""
        right = after.raw[:1] if after else ""
        line = before.raw.rpartition("\n")[2] if isinstance(before, Text) else ""
        if segment.display:
            if segment.indent or LIST_ITEM.match(line):
                yield segment.line, "a display formula in a list", "put it between paragraphs"
            if folded:
                todo = "GitHub shows only inline mathematics in folded text"
                yield segment.line, "a display formula in a solution", todo
        elif left.isalnum() or right.isalnum():
            todo = "put a space or punctuation between them"
            yield segment.line, f"a letter or digit touches the formula {segment.raw}", todo
        elif isinstance(after, Math | type(None)) and isinstance(before, Math):
            yield segment.line, f"two formulas touch at {segment.raw}", "put a space between"
        elif right in ("*", "_") and after and not after.raw.startswith(("* ", "_ ")):
            todo = "end the bold or italic text before it"
            yield segment.line, f"the formula {segment.raw} ends bold or italic text", todo
