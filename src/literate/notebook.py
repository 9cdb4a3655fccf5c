"""Topic + stored outputs → the notebook, which keeps the outputs of all forms."""

from __future__ import annotations

import ast
import json
import re
from collections.abc import Iterator
from typing import Any

from literate import common, disk, paths, prose
from literate.book import Book, Entry, TopicLink, resolve
from literate.common import Values
from literate.prose import Segment
from literate.stored import Stored
from literate.topic import Cell, Topic

JSON = dict[str, Any]
FOLDED: JSON = {"jupyter": {"source_hidden": True}}
# "> [!NOTE]", which Jupyter would show as it stands
ALERT = re.compile(r"^> \[!(NOTE|TIP|IMPORTANT|WARNING|CAUTION)\]$", re.M)


def render(topic: Topic, stored: Stored, book: Book, style: str) -> str:
    """The notebook's text with a blank seal. `style` is the book's matplotlib style."""
    here = paths.notebook(topic.name)
    writer = _Writer(topic, book, here)
    values, outputs = iter(stored.values), iter(stored.outputs)
    cells = [_markdown("header", writer.header())]
    exercises = common.exercise_of(topic)
    opened, prepared = False, False
    for index, cell in enumerate(topic.cells):
        name = f"cell-{index:03}"
        if cell.kind == "code":
            if not prepared:  # before the first code, folded away
                prepared = True
                cells += [_code(n, c, [], FOLDED) for n, c in preparations(topic, style).items()]
            stored_outputs = [dict(output) for output in next(outputs, ())]
            code = code_of(cell, is_check=index in exercises)
            with_alt = [_described(output, cell) for output in stored_outputs]
            folded = FOLDED if cell.is_test else {}
            cells.append(_code(name, code, with_alt, {"literate": {}, **folded}, cell.tags))
            if "fig-cap" in cell.options:
                cells.append(_markdown(f"caption-{index:03}", writer.caption(cell)))
            continue
        own = next(values, ())
        text = prose.write(prose.scan(cell.text), writer.rule(Values(cell, own, topic)))
        text = ALERT.sub(lambda match: f"> **{match[1].capitalize()}.**\n>", text)
        opening = None if opened else common.split_opening(text)
        if opening:
            opened = True
            before, after = opening
            text = "\n\n".join([before.strip("\n"), writer.front(), "---", after.strip("\n")])
        if cell.is_solution:
            text = f"<details>\n<summary>Solution</summary>\n\n{text}\n\n</details>"
        metadata = {"literate": {"values": list(own)} if own else {}}
        cells.append(_markdown(name, text.strip("\n"), metadata, cell.tags))
    cells.append(_markdown("footer", writer.footer()))
    return _notebook_text(cells, topic, stored.stamp)


def code_of(cell: Cell, is_check: bool) -> str:
    """A code cell as the notebook shows and runs it."""
    if cell.is_exercise:
        return common.stub(cell.text)
    if not cell.is_test:
        return _quiet(cell.text) if "label" in cell.options else cell.text
    names = common.test_functions(cell.text)
    calls = [line for name in names for line in (_check(name) if is_check else _run(name))]
    return "\n".join([cell.text.rstrip("\n"), "", "", *calls])


def _quiet(code: str) -> str:
    """A figure's code, so that Jupyter shows the figure alone, not what the last call returns."""
    try:
        statements = ast.parse(code).body
    except SyntaxError:  # a magic; the notebook shows it as it stands
        return code
    if not statements or not isinstance(statements[-1], ast.Expr):
        return code
    lines = code.split("\n")
    at = (statements[-1].end_lineno or 1) - 1
    line = lines[at].encode()  # ast counts bytes
    head, tail = line[: statements[-1].end_col_offset], line[statements[-1].end_col_offset :]
    if not tail.strip().startswith(b";"):
        lines[at] = (head + b";" + tail).decode()
    return "\n".join(lines)


def _run(name: str) -> list[str]:
    return [f"{name}()", f'print("{name}: passed")']


def _check(name: str) -> list[str]:
    return [f"check_answer({name})"]


# An exercise's test must not stop Run All: it says how far you are.
CHECKER = """\
# Says how far your answer to an exercise is.
import traceback


def check_answer(test):
    try:
        test()
    except NotImplementedError:
        print(f"{test.__name__}: not yet")
    except Exception as error:
        line = traceback.extract_tb(error.__traceback__)[-1].line
        reason = f"{type(error).__name__}: {error}".strip(": ").split("\\n")[0]
        print(f"{test.__name__}: wrong, {reason} at\\n    {line}")
    else:
        print(f"{test.__name__}: correct")"""


def preparations(topic: Topic, style: str) -> dict[str, str]:
    """Code that the notebook runs first, by the name of its cell: the plot style, the checker."""
    found = {}
    if uses_matplotlib(topic):
        found["style"] = style_cell(style)
    if common.exercise_of(topic):
        found["checker"] = CHECKER
    return found


def uses_matplotlib(topic: Topic) -> bool:
    return any("matplotlib" in cell.text for cell in topic.cells if cell.kind == "code")


def style_cell(style: str) -> str:
    """The book's plot style as code, so that the notebook looks alike anywhere."""
    settings = {}
    for line in style.splitlines():
        if line.strip() and not line.startswith("#"):
            key, _, value = line.partition(":")
            settings[key.strip()] = value.strip()
    cycler = settings.pop("axes.prop_cycle")
    names = cycler[cycler.index("[") + 1 : cycler.index("]")].replace("'", "").split(", ")
    colours = [f"#{name}" for name in names]
    lines = [
        "# The book's plot style; nothing below depends on it.",
        "import matplotlib.pyplot as plt",
        "",
        "colors = [",
        *(f"    {json.dumps(colour)}," for colour in colours),
        "]",
        'plt.rcParams["axes.prop_cycle"] = plt.cycler(color=colors)',
        "plt.rcParams.update({",
        *(f"    {json.dumps(key)}: {_literal(value)}," for key, value in settings.items()),
        "})",
    ]
    return "\n".join(lines)


def _literal(value: str) -> str:
    """A style file's value as Python: numbers and lists of them; else text."""
    try:
        parsed = ast.literal_eval(value)
    except (ValueError, SyntaxError):
        return json.dumps(value)
    return repr(parsed)


class _Writer:
    """The rules of one notebook's markdown: dollars stay, links lead to notebooks."""

    def __init__(self, topic: Topic, book: Book, here: str) -> None:
        self.topic, self.book, self.here = topic, book, here
        self.numbers = common.figure_numbers(topic)

    def caption(self, cell: Cell) -> str:
        number = self.numbers[cell.options["label"]]
        words = prose.write(prose.scan(cell.options["fig-cap"]), self.rule(None))
        return f"**Figure {number}.** {' '.join(words.split())}"

    def rule(self, values: Values | None) -> common.Rule:
        def write(segment: Segment) -> str | None:
            if isinstance(segment, prose.Value) and values:
                return values(segment)
            if isinstance(segment, prose.Cite):
                references = self.book.references
                return common.cite(segment, references, lambda key: references[key].url)
            if isinstance(segment, prose.FigureRef):
                return f"Figure {self.numbers[segment.label]}"
            if isinstance(segment, prose.Heading):
                return f"{'#' * segment.level} {prose.write(segment.title, write)}"
            if isinstance(segment, prose.Link) and not segment.image:
                return self.link(segment, prose.write(segment.label, write))
            return None

        return write

    def link(self, segment: prose.Link, label: str) -> str:
        target = resolve(segment.target, self.topic, segment.line)
        if not isinstance(target, TopicLink):
            own = jupyter_anchors(self.book.entries[self.topic.name])
            if target.target.startswith("#") and target.target[1:] in own:
                return f"[{label}](#{own[target.target[1:]]})"
            return f"[{label}]({target.target})"
        entry = self.book.entries[target.name]
        if entry.planned:
            return label
        anchor = f"#{jupyter_anchors(entry)[target.anchor]}" if target.anchor else ""
        return f"[{label}]({paths.relative(paths.notebook(target.name), self.here)}{anchor})"

    def entry(self, entry: Entry) -> str:
        return f"[{entry.title}]({paths.relative(paths.notebook(entry.name), self.here)})"

    def front(self) -> str:
        return common.front_line(self.topic, self.book, self.entry)

    def header(self) -> str:
        note = f"*Generated from `{self.topic.path}`: edit that file, then run `doit`*"
        document = paths.relative(paths.document(self.topic.name), self.here)
        links = [f"[Read as a document]({document})"]
        for other in self.book.paired(self.topic.name):
            place = paths.relative(paths.document(other.name), self.here)
            links.append(f"Goes with [{other.title}]({place})")
        if colab := self.book.in_colab(self.topic.name):
            repository = self.book.catalogue.repository
            links.append(f"[On GitHub]({repository}/blob/main/{self.here})")
            links.append(colab.replace("[open", "[Open"))
        return "\n\n".join([" · ".join([*links, note]), *self.needs()])

    def needs(self) -> list[str]:
        """How to install what the notebook imports, for whoever has only this file."""
        packages, versions = self.topic.front.packages, self.book.versions
        if not packages:
            return []
        made = ", ".join(f"{p} {versions[p.lower()]}" for p in packages if p.lower() in versions)
        made_with = f" (the outputs below were made with {made})" if made else ""
        alone = (
            "Links to other topics need the whole repository; "
            "code that solves an exercise stands in the document."
        )
        return [f"**To run it:** `pip install {' '.join(packages)}`{made_with}. {alone}"]

    def footer(self) -> str:
        keys = set(common.cited_keys(self.topic))
        listed = [
            f"- {reference.listed}"
            for key, reference in self.book.references.items()
            if key in keys
        ]
        before, after = self.book.neighbours(self.topic.name)
        steps = [f"Previous: {self.entry(before)}"] if before else []
        steps += [f"Next: {self.entry(after)}"] if after else []
        references = ["## References", "\n".join(listed)] if listed else []
        return "\n\n".join([*references, "---", " · ".join(steps) or "The only topic."])


def jupyter_anchors(entry: Entry) -> dict[str, str]:
    """GitHub's anchor of each heading → Jupyter's, which keeps case and punctuation."""
    return {slug: words.replace(" ", "-") for slug, words in entry.headings.items()}


def _described(output: JSON, cell: Cell) -> JSON:
    """A figure's output with its alternative text, where Jupyter looks for it."""
    if "image/png" not in output.get("data", {}) or "fig-alt" not in cell.options:
        return output
    alt = " ".join(cell.options["fig-alt"].split())
    return {**output, "metadata": {**output["metadata"], "image/png": {"alt": alt}}}


def _markdown(
    name: str, text: str, metadata: JSON | None = None, tags: frozenset[str] = frozenset()
) -> JSON:
    metadata = {**(metadata or {}), **({"tags": sorted(tags)} if tags else {})}
    return {"cell_type": "markdown", "id": name, "metadata": metadata, "source": text}


def _code(
    name: str, text: str, outputs: list[JSON], metadata: JSON, tags: frozenset[str] = frozenset()
) -> JSON:
    metadata = {**metadata, **({"tags": sorted(tags)} if tags else {})}
    return {
        "cell_type": "code",
        "execution_count": None,
        "id": name,
        "metadata": metadata,
        "outputs": outputs,
        "source": text,
    }


def _notebook_text(cells: list[JSON], topic: Topic, stamp: str) -> str:
    for count, cell in enumerate(_code_cells(cells), 1):
        cell["execution_count"] = count
        for output in cell["outputs"]:
            if output["output_type"] == "execute_result":
                output["execution_count"] = count
    for cell in cells:
        cell["source"] = cell["source"].splitlines(keepends=True)
    literate = {"digest": disk.BLANK_SEAL, "source": topic.path, "stamp": stamp}
    metadata = {
        "kernelspec": {"display_name": "Python 3", "language": "python", "name": "python3"},
        "language_info": {"name": "python"},
        "literate": literate,
    }
    data = {"cells": cells, "metadata": metadata, "nbformat": 4, "nbformat_minor": 5}
    return json.dumps(data, indent=1, ensure_ascii=False, sort_keys=True) + "\n"


def _code_cells(cells: list[JSON]) -> Iterator[JSON]:
    return (cell for cell in cells if cell["cell_type"] == "code")
