"""What TeX itself does: groups, scripts, characters, delimiters, alphabets."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping

from literate.formula import symbols
from literate.formula.scanner import Atom, Refused, Scanner, escape, quote

# "3.14" and "10"; not "." alone
NUMBER = re.compile(r"\d+(?:\.\d+)?")
# "{softmax}" and "{max-pool 2}"; not "{x}" and "{x_i}"
WORDS = re.compile(r"\{[A-Za-z0-9][A-Za-z0-9 .-]+\}")
# "[4pt]" behind the end of a line; not "[x]"
SKIP = re.compile(r"\s*\[\s*-?[\d.]+\s*(?:pt|em|ex|mm|cm)\s*\]")
STYLES = {"displaystyle": "display", "textstyle": "inline"}
SIDES = ((symbols.OPENING, "opening"), (symbols.CLOSING, "closing"))
OPEN_TEXT = ('"', 'bold("', 'italic("', 'mono("', 'sans("')
CLOSE_TEXT = ('"', '")')


def join(atoms: Iterable[Atom]) -> str:
    """A space between atoms, but none beside text: typst would set that space."""
    out = ""
    for code in (atom.code for atom in atoms):
        spaced = not (out.endswith(CLOSE_TEXT) or code.startswith(OPEN_TEXT))
        out += f" {code}" if out and code and spaced else code
    return out


def nested(atom: Atom) -> Atom:
    """Lines and boxes inside a larger formula, where typst needs other means."""
    if atom.kind == "lines":
        rows = atom.code.replace(" \\\n", "; ")
        return Atom(f"display(mat(delim: #none, row-gap: #0.5em, {rows}))")
    if atom.kind == "box":
        return Atom(f"#boxed($display({atom.code})$)")
    return atom


def inner(atoms: Iterable[Atom]) -> str:
    return join(nested(atom) for atom in atoms)


class Reader(Scanner):
    """Reads a formula from left to right."""

    def __init__(self, tex: str, structures: Mapping[str, Callable[[Reader, str], Atom]]) -> None:
        super().__init__(tex)
        self.structures = structures

    def sequence(self, stop: Callable[[], bool]) -> list[Atom]:
        """Atoms with their scripts up to `stop`, which is not consumed."""
        atoms: list[Atom] = []
        while not stop():
            if self.at_end:
                raise Refused("a brace or an environment is not closed", "close it")
            if self.peek_command() in STYLES:
                style = STYLES[self.command()]
                return [*atoms, Atom(f"{style}({inner(self.sequence(stop))})")]
            atoms.append(self.scripted())
        return atoms

    def scripted(self) -> Atom:
        """One atom with its primes, subscript and superscript."""
        base = Atom('""') if self.char in ("_", "^", "'") else self.atom()
        where = ""
        while self.peek_command() in ("limits", "nolimits"):
            where = {"limits": "limits", "nolimits": "scripts"}[self.command()]
        below, above, primes = "", "", 0
        while True:
            if self.take("'"):
                primes += 1
            elif self.take("_"):
                below = self.script(below)
            elif self.take("^"):
                above = self.script(above)
            else:
                break
        if above and not above.strip("′ "):
            primes, above = primes + above.count("′"), ""
        if not (below or above or primes or where):
            return base
        top = join(Atom(a) for a in (f"primes(#{primes})" * bool(primes), above) if a)
        code = f"{where}({base.code})" if where else nested(base).code
        parts = [code, f"t: {top}" if top else "", f"b: {below}" if below else ""]
        return Atom(f"attach({', '.join(filter(None, parts))})")

    def script(self, before: str) -> str:
        if before:
            todo = "put braces around what the first one belongs to"
            raise Refused("one symbol has two subscripts or superscripts", todo)
        return self.argument().code

    def argument(self) -> Atom:
        """What a script or a command applies to: a group or one symbol."""
        if self.at_end or self.char in "}&":
            raise Refused("an argument is missing", "add it, in braces")
        if self.char == "{":
            atoms = self.group()
            return nested(atoms[0]) if len(atoms) == 1 else Atom(inner(atoms) or '""')
        return Atom(self.next()) if self.char.isdigit() else nested(self.atom())

    def group(self) -> list[Atom]:
        self.take("{")
        atoms = self.sequence(lambda: self.peek("}"))
        self.take("}")
        return atoms

    def atom(self) -> Atom:
        self.skip_space()
        if self.char == "\\":
            return self.control(self.command())
        if self.char == "{":
            atoms = self.group()
            if len(atoms) != 1:
                return Atom(inner(atoms) or '""')
            # A symbol alone in braces keeps no space around it: 1{,}000, {=}.
            lone = atoms[0].kind in ("symbol", "relation")
            return Atom(f'class("normal", {atoms[0].code})') if lone else atoms[0]
        if number := self.match(NUMBER):
            return Atom(number)
        return self.character(self.next())

    def character(self, char: str) -> Atom:
        if char == "|":
            todo = "write \\lvert … \\rvert for a size, \\mid for “given”"
            raise Refused("a bare | has no side", todo)
        if char in '&%$#"`}':
            raise Refused(f"there is a stray {char}", f"write \\{char} or remove it")
        if char in "=<>":
            return Atom(char, "relation")
        if char == "~":
            return Atom(symbols.SPACES[" "])
        if char.isalnum():
            return Atom(char)
        return Atom(char if char in "+-*" else escape(char), "symbol")

    def control(self, name: str) -> Atom:
        """What the command `name`, already read, stands for."""
        if name in symbols.RELATIONS:
            return Atom(symbols.RELATIONS[name], "relation")
        if name in symbols.OPERATORS:
            return Atom(name)
        for table in (symbols.GREEK, symbols.OTHERS, symbols.SPACES):
            if name in table:
                return Atom(table[name])
        for table, side in (*SIDES, (symbols.NEUTRAL, "normal")):
            if name in table:
                return Atom(f'class("{side}", {escape(table[name])})')
        if name in "{}%$#&_":
            return Atom(f"\\{name}")
        if name in symbols.ACCENTS:
            return Atom(f"{symbols.ACCENTS[name]}({self.argument().code})")
        if name in symbols.ALPHABETS:
            return self.alphabet(symbols.ALPHABETS[name])
        if name in symbols.TEXTS:
            words, style = quote(self.words(name)), symbols.TEXTS[name]
            return Atom(f"{style}({words})" if style else words)
        if name in self.structures:
            return self.structures[name](self, name)
        todo = symbols.REFUSED.get(name, "write it in another way")
        raise Refused(f"the command \\{name} cannot be set", todo)

    def alphabet(self, functions: tuple[str, ...]) -> Atom:
        self.skip_space()
        if functions in symbols.WORDLIKE and (words := self.match(WORDS)):
            # Several letters are a word, set as text with text's spacing.
            style, text = symbols.WORDLIKE[functions], quote(words[1:-1])
            return Atom(f"{style}({text})" if style else text)
        code = self.argument().code
        for function in reversed(functions):
            code = f"{function}({code})"
        return Atom(code)

    def delimiter(self) -> str:
        """A delimiter behind \\left, \\right, \\middle or \\big; "" for a dot."""
        self.skip_space()
        if self.char == "\\":
            name = self.command()
            for table in (symbols.OPENING, symbols.CLOSING, symbols.NEUTRAL):
                if name in table:
                    return escape(table[name])
            found = {"{": "\\{", "}": "\\}", "|": "‖"}.get(name)
        else:
            char = self.next() if self.char else " "
            found = escape(char) if char in "()[]|/" else None
            found = {"<": "\\⟨", ">": "\\⟩", ".": ""}.get(char, found)
        if found is None:
            todo = "put one behind \\left, \\right, \\middle and \\big"
            raise Refused("a delimiter is missing", todo)
        return found

    def rows(self, end: Callable[[], bool]) -> list[list[str]]:
        """Cells between & and \\\\, as typst; rows without anything are dropped."""

        def stop() -> bool:
            return end() or self.peek("&") or self.peek_command() == "\\"

        rows: list[list[str]] = [[]]
        while True:
            rows[-1].append(inner(self.sequence(stop)))
            if end():
                return [row for row in rows if any(row)]
            if not self.take("&"):
                self.command()
                self.match(SKIP)
                rows.append([])
