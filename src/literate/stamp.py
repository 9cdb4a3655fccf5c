"""The stamp: a digest of everything that execution depends on, and of nothing else."""

from __future__ import annotations

import io
import re
import tokenize
import tomllib
from collections.abc import Mapping

from literate import common
from literate.disk import digest
from literate.topic import Topic

# Raise it when the builder executes topics differently, so that all run again.
EXECUTION_VERSION = "1"
# "torch==2.13.0"; not "torch>=2"
PIN = re.compile(r"(?P<name>[A-Za-z0-9_.-]+)(?:\[[^\]]*\])?==(?P<version>[^\s;]+)")
# Import names that differ from the package's name.
DISTRIBUTIONS = {"sklearn": "scikit-learn", "yaml": "pyyaml", "PIL": "pillow"}
# What shapes the outputs of every topic, declared or not.
ALWAYS = ("ipykernel", "matplotlib", "matplotlib-inline")


def pins(pyproject: str) -> dict[str, str]:
    """The exact version of each package that `pyproject.toml` pins, by its name."""
    project = tomllib.loads(pyproject)["project"]
    groups = [project.get("dependencies", []), *project.get("optional-dependencies", {}).values()]
    matches = (PIN.match(requirement) for group in groups for requirement in group)
    return {match["name"].lower(): match["version"] for match in matches if match}


def stamp(topic: Topic, versions: Mapping[str, str], data: Mapping[str, bytes], style: str) -> str:
    """The digest of the topic's execution. `data` is each declared file's content."""
    parts = [EXECUTION_VERSION, style]
    for cell in topic.cells:
        if cell.kind == "code":
            tags = sorted(cell.tags & {"test", "experiment"})
            parts += ["code", *tags, without_comments(cell.text)]
        else:
            parts += [value.expression for value in common.values_of(cell)]
    for package in sorted({*topic.front.packages, *ALWAYS}):
        name = DISTRIBUTIONS.get(package, package).lower()
        parts.append(f"{name}=={versions.get(name, '')}")
    for file, content in sorted(data.items()):
        parts += [file, digest(content)]
    return digest(*parts)


def without_comments(code: str) -> str:
    """`code` without comments and blank lines: a remark does not change what runs."""
    lines = code.split("\n")
    inside: set[int] = set()  # lines within a string, where blank lines matter
    opened: list[int] = []
    for token in tokenize.generate_tokens(io.StringIO(code).readline):
        (row, column), (end, _) = token.start, token.end
        name = tokenize.tok_name[token.type]
        if name == "COMMENT" and "SOLUTION" not in token.string:
            lines[row - 1] = lines[row - 1][:column]
        elif name == "STRING":
            inside.update(range(row, end))
        elif name.endswith("STRING_START"):  # f-strings, from Python 3.12
            opened.append(row)
        elif name.endswith("STRING_END"):
            inside.update(range(opened.pop(), end))
    kept = (
        line if number in inside else line.rstrip()
        for number, line in enumerate(lines, 1)
        if line.strip() or number in inside
    )
    return "\n".join(kept)
