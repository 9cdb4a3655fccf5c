"""Topic → the definitions and tests that can stand alone, or a refusal that says why.

A test module may hold imports, functions, classes and constants whose value is a pure
expression. Experiments stay out. Where a test needs a name that an experiment binds or
changes, the extracted value might not be the one the reader saw, so we refuse.
"""

from __future__ import annotations

import ast
import builtins
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from literate import purity
from literate.problem import Problem, raise_all
from literate.topic import Topic

Function = ast.FunctionDef | ast.AsyncFunctionDef
BUILTINS = frozenset(dir(builtins)) | {"__name__", "__file__", "__doc__"}


@dataclass(frozen=True)
class Statement:
    """A top-level statement: `line` in the topic, and how it counts."""

    node: ast.stmt
    text: str
    line: int
    kind: str  # "import", "definition", "constant", "test" or "experiment"
    binds: frozenset[str]
    needs: frozenset[str]


@dataclass(frozen=True)
class Extracted:
    """What a test module is made of, each in the topic's order."""

    imports: tuple[Statement, ...]
    definitions: tuple[Statement, ...]
    tests: tuple[Statement, ...]
    unreached: tuple[Statement, ...]  # functions and classes that no test needs


def extract(topic: Topic) -> Extracted:
    """The topic's tests with everything they need. Raises `Trouble` where unsound."""
    statements = list(_statements(topic))
    tests = [item for item in statements if item.kind == "test"]
    problems = _repeated_tests(topic, tests)
    by_name: dict[str, list[Statement]] = {}
    for statement in statements:
        for name in statement.binds:
            by_name.setdefault(name, []).append(statement)
    changes = purity.changes([(s.node, s.line) for s in statements])
    wanted: dict[int, Statement] = {}
    # Names still to be looked at, each with the test that asked for it.
    queue = [(name, test) for test in tests for name in sorted(test.needs)]
    seen: set[str] = set()
    while queue:
        name, test = queue.pop(0)
        if name in seen:
            continue
        seen.add(name)
        if name not in by_name:
            if name not in BUILTINS:
                what = f"{_name(test)} needs {name!r}, which nothing binds"
                todo = "import or define it in the topic"
                problems.append(Problem(topic.path, test.line, what, todo))
            continue
        refusal = _refusal(topic, name, test, by_name[name], changes)
        if refusal:
            problems.append(refusal)
            continue
        for statement in by_name[name]:
            if id(statement) not in wanted and statement.kind != "test":
                wanted[id(statement)] = statement
                queue += [(other, test) for other in sorted(statement.needs)]
    raise_all(problems)
    chosen = [item for item in statements if id(item) in wanted]
    unique = {item.text: item for item in chosen if item.kind == "import"}
    return Extracted(
        tuple(unique.values()),
        tuple(item for item in chosen if item.kind != "import"),
        tuple(tests),
        tuple(s for s in statements if s.kind == "definition" and id(s) not in wanted),
    )


def _statements(topic: Topic) -> Iterator[Statement]:
    for cell in topic.cells:
        if cell.kind != "code":
            continue
        # Solved code keeps its lines' order; the markers' lines are blanked, not cut.
        code = "\n".join(
            "" if line.strip().startswith("### ") and "SOLUTION" in line else line
            for line in cell.text.split("\n")
        )
        lines = code.split("\n")
        for node in ast.parse(code).body:
            first = min([node.lineno, *(d.lineno for d in getattr(node, "decorator_list", []))])
            assert node.end_lineno is not None
            text = "\n".join(lines[first - 1 : node.end_lineno])
            kind = "experiment" if cell.is_experiment else _kind(node, cell.is_test)
            if kind in ("definition", "test") and cell.is_exercise:
                text = "\n".join(line for line in text.split("\n") if line.strip())
            line = cell.line + first - 1
            yield Statement(node, text, line, kind, purity.bound(node), purity.needed(node))


def _kind(node: ast.stmt, in_test_cell: bool) -> str:
    if isinstance(node, ast.Import | ast.ImportFrom):
        return "import"
    if isinstance(node, ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
        is_test = in_test_cell and node.name.startswith("test_")
        return "test" if is_test else "definition"
    if purity.is_constant(node):
        return "constant"
    return "experiment"


def _name(statement: Statement) -> str:
    return getattr(statement.node, "name", "the test")


def _repeated_tests(topic: Topic, tests: Iterable[Statement]) -> list[Problem]:
    problems, lines = [], dict[str, int]()
    for test in tests:
        name = _name(test)
        if name in lines:
            what = f"the test {name} is defined twice"
            todo = f"rename it; the first is at line {lines[name]}"
            problems.append(Problem(topic.path, test.line, what, todo))
        lines[name] = test.line
        assert isinstance(test.node, Function)
        arguments = test.node.args
        if arguments.args or arguments.kwonlyargs or arguments.vararg or arguments.kwarg:
            todo = "make the data inside the test"
            problems.append(Problem(topic.path, test.line, f"{name} takes arguments", todo))
    return problems


def _refusal(
    topic: Topic,
    name: str,
    test: Statement,
    binders: list[Statement],
    changes: dict[str, list[int]],
) -> Problem | None:
    """Why `name` cannot be extracted for `test`, if so."""
    todo = "make it inside the test, or give it one pure value"
    experiments = [item for item in binders if item.kind == "experiment"]
    if experiments:
        line = experiments[0].line
        what = f"{_name(test)} needs {name!r}, which an experiment binds at line {line}"
        return Problem(topic.path, test.line, what, todo)
    if len({item.text for item in binders}) > 1:
        lines = " and ".join(str(item.line) for item in binders)
        what = f"{_name(test)} needs {name!r}, which is defined at lines {lines}"
        return Problem(topic.path, test.line, what, "keep one definition")
    if name in changes and binders[0].kind == "constant":
        line = changes[name][0]
        what = f"{_name(test)} needs {name!r}, which is changed at line {line}"
        return Problem(topic.path, test.line, what, todo)
    return None


def module(topic: Topic, extracted: Extracted, blank_seal: str) -> str:
    """The text of the pytest module, as a person would have laid it out."""
    head = f"# Generated from {topic.path}: edit that file, then run doit. {blank_seal}"
    imports = sorted(
        (item.text for item in extracted.imports if "__future__" not in item.text),
        key=lambda text: (text.startswith("from"), text),
    )
    future = [item.text for item in extracted.imports if "__future__" in item.text]
    parts = [head, f'"""Tests of {topic.name}: {topic.front.title}."""']
    if future or imports:
        parts.append("\n".join([*future, *([""] if future and imports else []), *imports]))
    blocks = [
        f"# {topic.path}:{item.line}\n{item.text}"
        for item in (*extracted.definitions, *extracted.tests)
    ]
    return "\n\n".join(parts) + "\n\n\n" + "\n\n\n".join(blocks) + "\n"
