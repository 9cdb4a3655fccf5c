"""Text of a source file → `Topic`. Reads no disk; every problem carries its line."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import yaml

from literate.problem import Problem, Trouble, raise_all
from literate.topic import Cell, Front, Prerequisite, Topic

FENCE = "# ---"
KEYS = {
    "title", "summary", "prerequisites", "notebooks", "packages", "data", "seconds",
}  # fmt: skip
TAGS = {
    "test", "experiment", "solution", "hide-input", "remove-input", "remove-output",
    "remove-cell", "NBVAL_IGNORE_OUTPUT",
}  # fmt: skip
OPTIONS = {"label", "fig-cap", "fig-alt", "chunk"}
JUPYTEXT_OWN = {"tags", "title", "lines_to_next_cell"}

# "transformers/self-attention"; not "../x", "a b/c", "transformers"
TOPIC_NAME = re.compile(r"[a-z0-9]+(?:-[a-z0-9]+)*/[a-z0-9]+(?:-[a-z0-9]+)*")
# "#| label: fig-weights"; not "# | label"
OPTION_LINE = re.compile(r"#\| ?(.*)")


def decode(data: bytes, path: str) -> str:
    """The text of a source file, or `Trouble` where an editor would misread it."""
    if data.startswith(b"\xef\xbb\xbf"):
        todo = "save it as UTF-8 without BOM"
        raise Trouble(Problem(path, 1, "the file starts with a byte order mark", todo))
    try:
        text = data.decode("utf-8")
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        what = f"byte 0x{data[error.start]:02x} is not UTF-8"
        raise Trouble(Problem(path, line, what, "save the file as UTF-8")) from None
    problems = []
    for number, line_text in enumerate(text.split("\n"), 1):
        if "\r" in line_text:
            what, todo = "the line ends with CR LF", "save the file with LF line ends"
            problems.append(Problem(path, number, what, todo))
            break  # one report for a whole file of them
    for number, line_text in enumerate(text.split("\n"), 1):
        if "\t" in line_text:
            what, todo = "the line contains a tab", "indent with spaces"
            problems.append(Problem(path, number, what, todo))
    raise_all(problems)
    return text


def parse(text: str, name: str, path: str) -> Topic:
    """The topic in `text`. Raises `Trouble` with all that is wrong with it."""
    check_name(name, path)
    if not text.strip():
        todo = "start from `doit new`, or delete it"
        raise Trouble(Problem(path, 1, "the file is empty", todo))
    lines = text.split("\n")
    end = _front_end(lines, path)
    front = _front(lines[1:end], path)
    cells = _cells(lines, end + 1, path)
    return Topic(name, path, front, cells)


def check_name(name: str, path: str) -> None:
    """A name must not leave its trees, on any file system."""
    if not TOPIC_NAME.fullmatch(name):
        what = f"{name!r} is not a topic name"
        todo = "use <part>/<topic> in lower-case letters, digits and hyphens"
        raise Trouble(Problem(path, 0, what, todo))


def _front_end(lines: list[str], path: str) -> int:
    if lines[0].rstrip() != FENCE:
        what = "the file does not start with front matter"
        todo = f"open it with `{FENCE}`, `# title: …` and `{FENCE}`"
        raise Trouble(Problem(path, 1, what, todo))
    for number, line in enumerate(lines[1:], 1):
        if line.rstrip() == FENCE:
            return number
        if not line.startswith("#"):
            break
    todo = f"end it with `{FENCE}`"
    raise Trouble(Problem(path, 1, "the front matter is not closed", todo))


def _front(commented: list[str], path: str) -> Front:
    """Front matter is data: safe YAML, and only the keys we know."""
    text = "\n".join(line[2:] if line.startswith("# ") else line[1:] for line in commented)
    data, lines = load_mapping(text, path, 2)
    problems = []
    for key in data:
        if key not in KEYS:
            todo = f"use one of: {', '.join(sorted(KEYS))}"
            problems.append(Problem(path, lines[key], f"unknown key {key!r}", todo))
    for key in ("title", "summary"):
        if not isinstance(data.get(key), str) or not str(data[key]).strip():
            what = f"the front matter has no {key}"
            problems.append(Problem(path, lines.get(key, 1), what, f"add `# {key}: …`"))
    names: dict[str, tuple[str, ...]] = {}
    for key in ("notebooks", "packages", "data"):
        names[key] = _strings(data.get(key), key, path, lines, problems)
    prerequisites = _prerequisites(data.get("prerequisites"), path, lines, problems)
    prerequisites = tuple(
        replace(item, line=_line_of(item.topic, commented, item.line)) for item in prerequisites
    )
    seconds = data.get("seconds")
    if seconds is not None and not (isinstance(seconds, int) and seconds > 0):
        todo = "give a whole number of seconds"
        problems.append(Problem(path, lines["seconds"], "seconds is not a number", todo))
    raise_all(problems)
    return Front(
        title=data["title"].strip(),
        summary=data["summary"].strip(),
        prerequisites=prerequisites,
        seconds=seconds,
        lines=lines,
        **names,
    )


def _line_of(word: str, commented: list[str], default: int) -> int:
    """The line of the file in which a list of the front matter names `word`."""
    places = [number for number, line in enumerate(commented, 2) if word in line]
    return places[0] if places else default


def load_mapping(text: str, path: str, first: int) -> tuple[dict[str, Any], dict[str, int]]:
    """A YAML mapping as data, and the line of each of its keys."""
    try:
        node = yaml.compose(text, Loader=yaml.SafeLoader)
        data = yaml.safe_load(text)
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        line = first + (mark.line if mark else 0)
        what = f"malformed YAML, {error.problem or error.context}"
        todo = "quote values that contain `: ` or `#`, and indent lists alike"
        raise Trouble(Problem(path, line, what, todo)) from None
    except (yaml.YAMLError, ValueError) as error:
        what = f"malformed YAML, {error}".replace("\n", " ")
        line = first + _unreadable(text)
        raise Trouble(Problem(path, line, what, "write plain YAML")) from None
    if not isinstance(node, yaml.MappingNode) or not isinstance(data, dict):
        todo = "write `key: value` lines"
        raise Trouble(Problem(path, first, "the YAML is not a mapping", todo))
    lines: dict[str, int] = {}
    for key, _ in node.value:
        line = first + key.start_mark.line
        if key.value in lines:
            what = f"the key {key.value!r} is given twice"
            raise Trouble(Problem(path, line, what, "keep one of them"))
        lines[key.value] = line
    return {str(key): value for key, value in data.items()}, lines


def _unreadable(text: str) -> int:
    """The line, from 0, of the first value that YAML takes for another type, and cannot read."""
    loader = yaml.SafeLoader(text)
    try:
        nodes = [loader.get_single_node()]
        while nodes:
            node = nodes.pop()
            if isinstance(node, yaml.MappingNode):
                nodes += [part for pair in reversed(node.value) for part in reversed(pair)]
            elif isinstance(node, yaml.SequenceNode):
                nodes += reversed(node.value)
            elif node is not None:
                try:
                    loader.construct_object(node)
                except ValueError:
                    return int(node.start_mark.line)
    except yaml.YAMLError:
        pass
    return 0


def _strings(
    value: Any, key: str, path: str, lines: Mapping[str, int], problems: list[Problem]
) -> tuple[str, ...]:
    if value is None:
        return ()
    if isinstance(value, list) and all(isinstance(item, str) for item in value):
        return tuple(value)
    todo = f"write `# {key}: [first, second]`"
    problems.append(Problem(path, lines[key], f"{key} is not a list of words", todo))
    return ()


def _prerequisites(
    value: Any, path: str, lines: Mapping[str, int], problems: list[Problem]
) -> tuple[Prerequisite, ...]:
    """Each item is a topic, or `topic: what is needed of it`."""
    found = []
    for item in value if isinstance(value, list) else [] if value is None else [value]:
        line = lines["prerequisites"]
        if isinstance(item, str) and TOPIC_NAME.fullmatch(item):
            found.append(Prerequisite(item, "", line))
        elif isinstance(item, dict) and len(item) == 1:
            topic, needs = next(iter(item.items()))
            found.append(Prerequisite(str(topic), str(needs or ""), line))
        else:
            what = f"the prerequisite {item!r} is not a topic"
            todo = "write `part/topic` or `part/topic: what is needed`"
            problems.append(Problem(path, line, what, todo))
    return tuple(found)


def _cells(lines: list[str], start: int, path: str) -> tuple[Cell, ...]:
    """jupytext splits the cells; we only keep count of the lines it takes."""
    from jupytext.cell_reader import DoublePercentScriptCellReader
    from jupytext.formats import long_form_one_format

    fmt = long_form_one_format("py:percent")
    cells: list[Cell] = []
    problems: list[Problem] = []
    rest, line = lines[start:], start + 1
    while rest and not rest[0].strip():
        rest, line = rest[1:], line + 1
    while rest:
        cell, taken = DoublePercentScriptCellReader(fmt).read(rest)
        if not rest[0].lstrip().startswith("# %%"):
            what = "text stands before the first cell"
            problems.append(Problem(path, line, what, "put `# %%` in front of it"))
        elif cell.source.strip() or cell.metadata.get("tags"):
            try:
                cells.append(_cell(cell, rest[1:taken], line + 1, path))
            except Trouble as trouble:
                problems.extend(trouble.problems)
        rest, line = rest[taken:], line + taken
    raise_all(problems)
    return tuple(cells)


def _cell(cell: Any, body: list[str], line: int, path: str) -> Cell:
    if cell.cell_type not in ("markdown", "code"):
        todo = "use `# %%` or `# %% [markdown]`"
        raise Trouble(Problem(path, line - 1, f"a {cell.cell_type} cell", todo))
    while body and not body[0].strip():
        body, line = body[1:], line + 1
    if body and body[0].strip() in ('"""', "'''", 'r"""', "r'''"):
        line += 1  # jupytext's form with a string instead of comments
    tags = frozenset(cell.metadata.get("tags", []))
    unknown = sorted(tags - TAGS) + sorted(set(cell.metadata) - JUPYTEXT_OWN)
    if unknown:
        todo = f"use one of: {', '.join(sorted(TAGS, key=str.lower))}"
        raise Trouble(Problem(path, line - 1, f"unknown tag {unknown[0]!r}", todo))
    text = cell.source.strip("\n")
    if cell.cell_type == "markdown":
        return Cell("markdown", text, line, tags)
    options, option_lines, text, skipped = _options(text, line, path)
    return Cell("code", text, line + skipped, tags, options, option_lines)


def _options(text: str, line: int, path: str) -> tuple[dict[str, str], dict[str, int], str, int]:
    """The `#|` lines at the top of a cell, as YAML, and the text without them."""
    lines = text.split("\n")
    count = 0
    while count < len(lines) and OPTION_LINE.match(lines[count]):
        count += 1
    if not count:
        return {}, {}, text, 0
    yaml_text = "\n".join(item[2:].removeprefix(" ") for item in lines[:count])
    data, places = load_mapping(yaml_text, path, line)
    for key, value in data.items():
        if key not in OPTIONS:
            todo = f"use one of: {', '.join(sorted(OPTIONS))}"
            raise Trouble(Problem(path, places[key], f"unknown cell option {key!r}", todo))
        if not isinstance(value, str):
            raise Trouble(Problem(path, places[key], f"{key} is not text", "quote it"))
    while count < len(lines) and not lines[count].strip():
        count += 1
    return data, places, "\n".join(lines[count:]), count
