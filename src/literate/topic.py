"""A topic as the stages pass it on: frozen, and every part knows its line."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

NOTEBOOKS = "notebooks"  # the part whose topics keep their notebooks at its top

BEGIN_SOLUTION = "### BEGIN SOLUTION"
END_SOLUTION = "### END SOLUTION"


@dataclass(frozen=True)
class Prerequisite:
    """A topic that comes first, and what is needed of it."""

    topic: str
    needs: str
    line: int


@dataclass(frozen=True)
class Front:
    """The front matter, the only place where these facts are stated."""

    title: str
    summary: str
    prerequisites: tuple[Prerequisite, ...] = ()
    notebooks: tuple[str, ...] = ()
    packages: tuple[str, ...] = ()
    data: tuple[str, ...] = ()
    seconds: int | None = None
    lines: Mapping[str, int] = field(default_factory=dict)

    def line(self, key: str) -> int:
        return self.lines.get(key, 1)


@dataclass(frozen=True)
class Cell:
    """One cell. `line` is the line in the source file of the first line of `text`."""

    kind: Literal["markdown", "code"]
    text: str
    line: int
    tags: frozenset[str] = frozenset()
    options: Mapping[str, str] = field(default_factory=dict)
    option_lines: Mapping[str, int] = field(default_factory=dict)

    @property
    def is_test(self) -> bool:
        return "test" in self.tags

    @property
    def is_experiment(self) -> bool:
        return "experiment" in self.tags

    @property
    def is_exercise(self) -> bool:
        return self.kind == "code" and BEGIN_SOLUTION in self.text

    @property
    def is_solution(self) -> bool:
        return self.kind == "markdown" and "solution" in self.tags


@dataclass(frozen=True)
class Topic:
    """A parsed source file. A planned topic has front matter and no cells."""

    name: str
    path: str
    front: Front
    cells: tuple[Cell, ...]

    @property
    def part(self) -> str:
        return self.name.split("/")[0]

    @property
    def stem(self) -> str:
        return self.name.split("/")[1]

    @property
    def planned(self) -> bool:
        return not self.cells

    @property
    def seconds(self) -> int:
        """The budget of CPU time for executing it."""
        return self.front.seconds or (90 if self.part == NOTEBOOKS else 20)
