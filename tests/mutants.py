"""`doit mutants`: seeds bugs into the definitions of each extracted test module.

Each mutant changes one thing that a person gets wrong: an operator, an axis, a constant,
a transpose, a comparison, a sign. The module's own tests must notice. Seeds are fixed and
the choice is even over the definitions, so the rate is the same on every run.
"""

from __future__ import annotations

import ast
import contextlib
import copy
import importlib
import json
import os
import random
import re
import signal
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
MODULES = ROOT / "tests/topics"
A_TOPIC = 30  # mutants
SECONDS = 60
PLACE = re.compile(r"# (?P<path>src/topics/\S+\.py):(?P<line>\d+)")
SWAPS: dict[type[ast.AST], type[ast.AST]] = {
    ast.Add: ast.Sub,
    ast.Sub: ast.Add,
    ast.Mult: ast.Div,
    ast.Div: ast.Mult,
    ast.Lt: ast.LtE,
    ast.LtE: ast.Lt,
    ast.Gt: ast.GtE,
    ast.GtE: ast.Gt,
    ast.Eq: ast.NotEq,
    ast.And: ast.Or,
    ast.Or: ast.And,
}
CALLS = {"max": "min", "min": "max", "sum": "mean", "mean": "sum", "tril": "triu",
         "argmax": "argmin", "zeros_like": "ones_like", "zeros": "ones", "exp": "expm1",
         "maximum": "minimum", "minimum": "maximum", "sin": "cos", "cos": "sin"}  # fmt: skip


@dataclass(frozen=True)
class Mutant:
    definition: str
    line: int
    what: str
    text: str  # the module with the bug


def mutants(text: str, count: int = A_TOPIC) -> list[Mutant]:
    """Up to `count` mutants of the definitions in an extracted module, evenly spread."""
    tree = ast.parse(text)
    found: dict[str, list[Mutant]] = {}
    for index, node in enumerate(tree.body):
        if not isinstance(node, ast.FunctionDef | ast.ClassDef) or _is_test(node):
            continue
        for what, line, changed in _changes(node):
            body = [*tree.body[:index], changed, *tree.body[index + 1 :]]
            module = ast.unparse(ast.Module(body, []))
            found.setdefault(node.name, []).append(Mutant(node.name, line, what, module))
    rng = random.Random(0)
    for listed in found.values():
        rng.shuffle(listed)
    chosen: list[Mutant] = []
    while len(chosen) < count and any(found.values()):
        for name in sorted(found):
            if found[name] and len(chosen) < count:
                chosen.append(found[name].pop())
    return chosen


def _is_test(node: ast.AST) -> bool:
    """Tests, and the helpers that test cells define to compare things."""
    name = getattr(node, "name", "")
    return name.startswith(("test_", "check_", "random_", "assert_"))


def _changes(definition: ast.stmt) -> Iterator[tuple[str, int, ast.stmt]]:
    """Each single change of a definition: what it is, its line, the changed definition."""
    nodes = list(ast.walk(definition))
    for number, node in enumerate(nodes):
        for what, change in _single(node):
            changed = copy.deepcopy(definition)
            twin = list(ast.walk(changed))[number]
            change(twin)
            if ast.dump(changed) != ast.dump(definition):
                yield what, getattr(node, "lineno", 0), changed


def _single(node: ast.AST) -> Iterator[tuple[str, object]]:
    if isinstance(node, ast.BinOp):
        if type(node.op) in SWAPS:
            yield f"{type(node.op).__name__} swapped", _swap_operator
        if isinstance(node.op, ast.MatMult):
            yield "left factor transposed", _transpose_left
        if isinstance(node.op, ast.Mult | ast.Div | ast.Add | ast.Sub):
            yield "right operand dropped", _drop_right
    elif isinstance(node, ast.Compare) and type(node.ops[0]) in SWAPS:
        yield "comparison swapped", _swap_comparison
    elif isinstance(node, ast.keyword) and node.arg == "axis":
        yield "axis 0 for the other", _swap_axis
    elif isinstance(node, ast.Attribute) and node.attr == "T":
        yield "transpose forgotten", _forget_transpose
    elif isinstance(node, ast.Attribute) and node.attr in CALLS:
        yield f"{node.attr} for {CALLS[node.attr]}", _swap_call
    elif isinstance(node, ast.AugAssign):
        yield "assigned, not accumulated", _no_accumulation
    elif _is_negation(node):
        yield "sign lost", _lose_sign
    elif isinstance(node, ast.Constant) and type(node.value) in (int, float):
        yield "constant off by one", _off_by_one


def _is_negation(node: ast.AST) -> bool:
    """-x, but not the -1 of a last axis, which is often the same as 1."""
    return (
        isinstance(node, ast.UnaryOp)
        and isinstance(node.op, ast.USub)
        and not isinstance(node.operand, ast.Constant)
    )


def _swap_operator(node: ast.BinOp) -> None:
    node.op = SWAPS[type(node.op)]()  # type: ignore[assignment]


def _swap_comparison(node: ast.Compare) -> None:
    node.ops[0] = SWAPS[type(node.ops[0])]()  # type: ignore[call-overload]


def _transpose_left(node: ast.BinOp) -> None:
    node.left = ast.Attribute(node.left, "T", ast.Load())


def _drop_right(node: ast.BinOp) -> None:
    neutral = 1 if isinstance(node.op, ast.Mult | ast.Div) else 0
    node.right = ast.Constant(neutral)


def _swap_axis(node: ast.keyword) -> None:
    is_zero = isinstance(node.value, ast.Constant) and node.value.value == 0
    node.value = ast.UnaryOp(ast.USub(), ast.Constant(1)) if is_zero else ast.Constant(0)


def _forget_transpose(node: ast.Attribute) -> None:
    node.attr = "real"


def _swap_call(node: ast.Attribute) -> None:
    node.attr = CALLS[node.attr]


def _no_accumulation(node: ast.AugAssign) -> None:
    node.__class__ = ast.Assign  # type: ignore[assignment]
    node.targets = [node.target]  # type: ignore[attr-defined]
    node.type_comment = None  # type: ignore[attr-defined]


def _lose_sign(node: ast.UnaryOp) -> None:
    node.op = ast.UAdd()


def _off_by_one(node: ast.Constant) -> None:
    node.value = node.value + 1  # type: ignore[operator]


def noticed(mutants: list[Mutant]) -> list[bool]:
    """Whether the module's tests fail, or do not end, with each bug in it.

    A child is forked for each: importing torch anew would cost ten times the tests.
    """
    results: dict[int, bool] = {}
    running: dict[int, int] = {}
    waiting = list(enumerate(mutants))
    with tempfile.TemporaryDirectory(prefix="mutant-") as folder:
        while waiting or running:
            while waiting and len(running) < (os.cpu_count() or 1):
                number, mutant = waiting.pop(0)
                file = Path(folder) / f"test_mutant_{number}.py"
                file.write_text(mutant.text, encoding="utf-8")
                pid = os.fork()
                if pid == 0:
                    _run_and_exit(file)
                running[pid] = number
            pid, status = os.wait()
            results[running.pop(pid)] = status != 0
    return [results[number] for number in range(len(mutants))]


def _run_and_exit(file: Path) -> None:
    """In the child: run the tests, silently, within the limit of processor time."""
    signal.setitimer(signal.ITIMER_PROF, SECONDS)
    signal.alarm(10 * SECONDS)  # a mutant that waits for ever uses no processor
    null = os.open(os.devnull, os.O_RDWR)
    for stream in (0, 1, 2):
        os.dup2(null, stream)
    os.chdir(file.parent)
    os._exit(int(pytest.main(["-x", "-q", "-p", "no:cacheprovider", str(file)])))


def main(names: list[str]) -> int:
    """Print the rate of each topic and every mutant that survives; 0 if all reach 0.9."""
    for package in ("numpy", "scipy", "torch", "sklearn", "transformers"):
        with contextlib.suppress(ImportError):
            importlib.import_module(package)
    torch = sys.modules.get("torch")
    if torch:
        torch.set_num_threads(1)  # before any operation, or a fork would hang
    modules = [
        file
        for file in sorted(MODULES.rglob("test_*.py"))
        if not names or any(name in file.as_posix() for name in names)
    ]
    rates = {}
    for file in modules:
        text = file.read_text(encoding="utf-8")
        listed = mutants(text)
        results = noticed(listed)
        name = file.relative_to(MODULES).as_posix()
        rates[name] = sum(results) / max(len(results), 1)
        print(f"{rates[name]:6.0%} of {len(results):3d}  {name}", flush=True)
        for mutant, result in zip(listed, results, strict=True):
            if not result:
                place = _place(text, mutant.line)
                print(f"        survives: {place} {mutant.definition}, {mutant.what}", flush=True)
    (ROOT / ".cache/mutants.json").write_text(json.dumps(rates, indent=1))
    return int(any(rate < 0.9 for rate in rates.values()))


def _place(text: str, line: int) -> str:
    lines = text.split("\n")
    for number in range(min(line, len(lines)), 0, -1):
        if match := PLACE.fullmatch(lines[number - 1]):
            return f"{match['path']}:{int(match['line']) + line - number - 1}"
    return f"line {line}"


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
