"""Topic → the steps that a kernel runs, and step results → what the notebook stores."""

from __future__ import annotations

import ast
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from literate import common, notebook
from literate.problem import Problem
from literate.stored import ANSI, Stored, joined
from literate.svg import lighter
from literate.topic import Topic

# "Cell In[12], line 3"; the first line of a frame in IPython's traceback
FRAME = re.compile(r"(?:Cell |File )?In\[(?P<step>\d+)\](?:, in [^\n]*)?, line (?P<line>\d+)")
# "/tmp/ipykernel_4711/123.py", in warnings; the process differs each time
CELL_FILE = re.compile(r"\S*/ipykernel_\d+/\d+\.py")
ADDRESS = re.compile(r" at 0x[0-9a-f]+")
USAGE = (
    "(lambda r: (r.ru_utime + r.ru_stime, r.ru_maxrss))"
    "(__import__('resource').getrusage(__import__('resource').RUSAGE_SELF))"
)


@dataclass(frozen=True)
class Step:
    """Code to run. `lines` is the source line of each of its lines."""

    code: str
    lines: tuple[int, ...]
    kind: str  # "cell", "solution", "values", "style" or "usage"
    cell: int = -1  # index of the topic's cell

    def source_line(self, line: int) -> int:
        return self.lines[min(max(line, 1), len(self.lines)) - 1]


def steps(topic: Topic, style: str) -> tuple[Step, ...]:
    """What runs, in order: the notebook's own cells, and hidden steps around them.

    A hidden step proves each solution before the reader's stub takes its place.
    """
    exercises = common.exercise_of(topic)
    found = [Step(USAGE, (1,), "usage")]
    for code in notebook.preparations(topic, style).values():
        found.append(Step(code, (1,), "style"))
    for index, cell in enumerate(topic.cells):
        if cell.kind == "markdown":
            values = common.values_of(cell)
            if values:
                lines = tuple(cell.line + value.line - 1 for value in values)
                items = [f"str({' '.join(value.expression.split())})," for value in values]
                code = "[" + "\n".join(items) + "\n]"
                found.append(Step(code, (*lines, lines[-1]), "values", index))
            continue
        code = notebook.code_of(cell, is_check=index in exercises)
        if cell.is_exercise:
            solution = common.solved(cell.text)
            found.append(Step(solution, _lines(cell.line, cell.text, solution), "solution", index))
            for test, exercise in exercises.items():
                if exercise == index:
                    proof = topic.cells[test]
                    calls = "\n".join(f"{n}()" for n in common.test_functions(proof.text))
                    proof_code = f"{proof.text}\n{calls}"
                    lines = _lines(proof.line, proof.text, proof_code)
                    found.append(Step(proof_code, lines, "solution", test))
        found.append(Step(code, _lines(cell.line, cell.text, code), "cell", index))
    found.append(Step(USAGE, (1,), "usage"))
    return tuple(found)


def _lines(first: int, source: str, code: str) -> tuple[int, ...]:
    """The source line of each line of `code`, which adds to `source` or cuts from it."""
    rest = source.split("\n")
    lines, at = [], 0
    for line in code.split("\n"):
        for ahead in range(at, len(rest)):
            if rest[ahead] == line:
                at = ahead + 1
                break
        lines.append(first + max(at - 1, 0))
    return tuple(lines)


def store(topic: Topic, plan: Sequence[Step], results: Sequence[Any], stamp: str) -> Stored:
    """The outputs that the notebook keeps. `results` are nbformat outputs of each step."""
    outputs: dict[int, tuple[Mapping[str, Any], ...]] = {}
    values: dict[int, tuple[str, ...]] = {}
    for step, result in zip(plan, results, strict=True):
        if step.kind == "cell":
            labelled = "label" in topic.cells[step.cell].options
            outputs[step.cell] = tuple(
                _clean(output)
                for output in result
                # What a plotting call returns is not what the cell shows.
                if not (labelled and output["output_type"] == "execute_result")
            )
        elif step.kind == "values":
            values[step.cell] = tuple(ast.literal_eval(_plain(result)))
    cells = list(enumerate(topic.cells))
    return Stored(
        stamp,
        tuple(outputs[index] for index, cell in cells if cell.kind == "code"),
        tuple(values.get(index, ()) for index, cell in cells if cell.kind == "markdown"),
    )


def usage(plan: Sequence[Step], results: Sequence[Any]) -> tuple[float, int]:
    """CPU seconds of the topic's own code and the peak memory of its kernel in bytes."""
    first, last = (
        ast.literal_eval(_plain(result))
        for step, result in zip(plan, results, strict=True)
        if step.kind == "usage"
    )
    return last[0] - first[0], last[1] * 1024


def _plain(outputs: Sequence[Mapping[str, Any]]) -> str:
    for output in outputs:
        if output["output_type"] == "execute_result":
            return joined(output["data"]["text/plain"])
    raise ValueError(f"the step left no result, but {outputs}")


def _clean(output: Mapping[str, Any]) -> Mapping[str, Any]:
    """An output without what differs from run to run, its SVG kept in its metadata."""
    clean = {key: value for key, value in output.items() if key != "transient"}
    if "text" in clean:
        clean["text"] = CELL_FILE.sub("cell", joined(clean["text"]))
    if "data" not in clean:
        return clean
    data = dict(clean["data"])
    if "text/plain" in data:
        data["text/plain"] = ADDRESS.sub("", joined(data["text/plain"]))
    metadata = dict(clean.get("metadata", {}))
    svg = data.pop("image/svg+xml", None)
    data.pop("text/html", None)
    if "image/png" in data:
        data["image/png"] = joined(data["image/png"]).strip()
        metadata.pop("image/svg+xml", None)
        metadata["literate"] = {"svg": lighter(joined(svg or "")).splitlines(keepends=True)}
    return {**clean, "data": data, "metadata": metadata}


def stub_problems(topic: Topic, plan: Sequence[Step], results: Sequence[Any]) -> list[Problem]:
    """Exercises whose stub already passes: their tests prove nothing."""
    exercises = common.exercise_of(topic)
    said: dict[int, str] = {}
    for step, result in zip(plan, results, strict=True):
        if step.kind == "cell" and step.cell in exercises:
            text = "".join(joined(output.get("text", "")) for output in result)
            said[exercises[step.cell]] = said.get(exercises[step.cell], "") + text
    return [
        Problem(
            topic.path,
            topic.cells[index].line,
            "the exercise's stub already passes its test",
            "make a test that needs the solution",
        )
        for index, text in sorted(said.items())
        if ": not yet\n" not in text and ": wrong, " not in text
    ]


def locate(plan: Sequence[Step], number: int, traceback: str) -> tuple[int, str]:
    """The source line of the deepest frame in the topic's code, and a clean traceback.

    `number` is the failing step, counted from 1 as the kernel counts.
    """
    text = ANSI.sub("", traceback)
    line = plan[number - 1].lines[0]
    for frame in FRAME.finditer(text):
        if 0 < int(frame["step"]) <= len(plan):
            line = plan[int(frame["step"]) - 1].source_line(int(frame["line"]))
    return line, _own_frames(text)


def _own_frames(traceback: str) -> str:
    """The traceback without the frames inside libraries."""
    blocks = traceback.split("\n\n")
    kept = [b for n, b in enumerate(blocks) if "In[" in b or n == len(blocks) - 1]
    return "\n\n".join(kept)
