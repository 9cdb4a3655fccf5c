"""Reading TeX character by character, and what a piece of typst is."""

from __future__ import annotations

import re
from dataclasses import dataclass

# "\alpha", "\,", "\\"; a lone backslash at the end matches nothing
COMMAND = re.compile(r"\\([A-Za-z]+|.)", re.S)


class Refused(Exception):
    """A formula that cannot be set: `what` is wrong, and what `todo` about it."""

    def __init__(self, what: str, todo: str) -> None:
        self.what, self.todo = what, todo
        super().__init__(f"{what} — {todo}")


@dataclass(frozen=True)
class Atom:
    """A piece of typst mathematics.

    `kind` says what the pieces around it must know: "symbol" and "relation" are one
    character with space of its own, "lines" is several lines, "box" has a frame.
    """

    code: str
    kind: str = ""


def quote(text: str) -> str:
    """A typst string."""
    return '"' + text.replace("\\", "\\\\").replace('"', '\\"') + '"'


def escape(char: str) -> str:
    """`char` where typst would read markup: ASCII signs, and brackets of any kind."""
    plain = char.isalnum() or not (char.isascii() or char in "⌊⌋⌈⌉⟨⟩")
    return char if plain else f"\\{char}"


class Scanner:
    """A place in a formula. White space is skipped, as TeX does."""

    def __init__(self, tex: str) -> None:
        self.tex, self.at = tex, 0

    @property
    def at_end(self) -> bool:
        self.skip_space()
        return self.at >= len(self.tex)

    @property
    def char(self) -> str:
        return self.tex[self.at : self.at + 1]

    def skip_space(self) -> None:
        while self.char.isspace():
            self.at += 1

    def next(self) -> str:
        self.at += 1
        return self.tex[self.at - 1]

    def peek(self, text: str) -> bool:
        self.skip_space()
        return self.tex.startswith(text, self.at)

    def take(self, text: str) -> bool:
        found = self.peek(text)
        self.at += len(text) if found else 0
        return found

    def match(self, pattern: re.Pattern[str]) -> str:
        """The text that `pattern` matches here, consumed; "" if it does not."""
        match = pattern.match(self.tex, self.at)
        self.at = match.end() if match else self.at
        return match[0] if match else ""

    def peek_command(self) -> str:
        """The name of the command that comes next, or ""."""
        self.skip_space()
        match = COMMAND.match(self.tex, self.at)
        return match[1] if match else ""

    def command(self) -> str:
        name = self.peek_command()
        if not name:
            raise Refused("a formula ends in a backslash", "complete the command")
        self.at += 1 + len(name)
        return name

    def name(self) -> str:
        """The name of an environment, or its columns, in braces."""
        close = self.tex.find("}", self.at)
        if not self.peek("{") or close < 0:
            raise Refused("an environment has no name", "write \\begin{…} … \\end{…}")
        name = self.tex[self.at + 1 : close]
        self.at = close + 1
        return name

    def words(self, command: str) -> str:
        """The braced argument of a text command, as plain characters."""
        if not self.take("{"):
            raise Refused(f"\\{command} has no braces", f"write \\{command}{{…}}")
        out = ""
        while self.char:
            char = self.next()
            if char == "}":
                return out
            if char == "\\" and self.char and self.char in "_%#&${} ":
                char = self.next()
            elif char in "\\${":
                todo = f"end \\{command} before the formula goes on"
                raise Refused(f"there is TeX inside \\{command}", todo)
            out += "\u00a0" if char == "~" else char
        raise Refused(f"the brace of \\{command} is not closed", "close it")
