"""Failures in extracted tests name the line of the topic's source."""

import re
from pathlib import Path

import pytest

# "# src/topics/transformers/attention.py:120", above each extracted definition
PLACE = re.compile(r"# (?P<path>src/topics/\S+\.py):(?P<line>\d+)")


def source_line(module: Path, line: int) -> str | None:
    """`path:line` in the topic's source for a line of an extracted module."""
    lines = module.read_text(encoding="utf-8").split("\n")
    for number in range(min(line, len(lines)), 0, -1):
        if match := PLACE.fullmatch(lines[number - 1]):
            return f"{match['path']}:{int(match['line']) + line - number - 1}"
    return None


@pytest.hookimpl(hookwrapper=True)
def pytest_runtest_makereport(item, call):
    report = (yield).get_result()
    if report.failed and "topics" in item.path.parts and call.excinfo:
        entries = [entry for entry in call.excinfo.traceback if Path(entry.path) == item.path]
        for entry in entries[-1:]:
            if place := source_line(item.path, entry.lineno + 1):
                report.sections.append(("source", f"{place}: {call.excinfo.exconly()}"))


def pytest_addoption(parser):
    parser.addoption("--update", action="store_true", help="write golden outputs anew")
