"""What goes wrong, said in one line: `path:line: what is wrong — what to do`."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass


@dataclass(frozen=True, order=True)
class Problem:
    """One finding. `line` counts from 1; 0 means the file as a whole."""

    path: str
    line: int
    what: str
    todo: str
    detail: str = ""

    def __str__(self) -> str:
        place = f"{self.path}:{self.line}" if self.line else self.path
        head = f"{place}: {self.what} — {self.todo}"
        return f"{head}\n{self.detail.rstrip()}" if self.detail else head


class Trouble(Exception):
    """One or more problems that stop a stage; the others still run."""

    def __init__(self, *problems: Problem) -> None:
        self.problems = tuple(problems)
        super().__init__("\n".join(str(problem) for problem in problems))


def raise_all(problems: Iterable[Problem]) -> None:
    """Raise `Trouble` with all `problems`, in order of place, if there are any."""
    found = sorted(set(problems))
    if found:
        raise Trouble(*found)
