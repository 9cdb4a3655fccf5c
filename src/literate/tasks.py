"""The doit tasks: which file depends on which. What they do is in `build`."""

from __future__ import annotations

import functools
import importlib
import os
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from doit import get_var
from doit.exceptions import TaskFailed
from doit.tools import config_changed

from literate import display, paths, state
from literate.build import CITATIONS, INDEX, Builder, Written
from literate.catalogue import Catalogue
from literate.disk import digest
from literate.problem import Problem, Trouble

Task = dict[str, Any]
DOIT_CONFIG = {
    "backend": "literate",
    "check_file_uptodate": state.ContentChecker,
    "dep_file": f"{paths.CACHE}/doit.sqlite",
    "num_process": os.cpu_count() or 1,
    "par_type": "thread",
    "continue": True,
    "verbosity": 0,
    "reporter": display.Reporter,
    "default_tasks": ["execute", "markdown", "notebook", "tests", "readme", "pdf", "book"],
}
PACKAGE = Path(__file__).parent


@functools.cache
def builder_digest() -> str:
    """The builder's own version: its files, whichever of them changes."""
    files = sorted(path for path in PACKAGE.rglob("*") if path.suffix in FORMING)
    return digest(*(part for file in files for part in (file.name, file.read_bytes())))


FORMING = {".css", ".csl", ".lua", ".mplstyle", ".py", ".tmTheme", ".typ"}
UNCAPTURED = {"capture": False}  # doit would swap sys.stdout under the other threads


class Tasks:
    """All tasks of the book below `root`. `dodo.py` hands their generators to doit."""

    def __init__(self, root: Path) -> None:
        always = get_var("execute", "") == "always"
        self.root = root
        (root / paths.CACHE).mkdir(exist_ok=True)
        self.builder = Builder(root, always=always, progress=display.progress)
        self.always = always
        self.problem: Trouble | None = None

    def table(self) -> dict[str, Any]:
        """The task creators by name, for the namespace of `dodo.py`."""
        names = [name for name in dir(self) if name.startswith("task_")]
        return {"DOIT_CONFIG": DOIT_CONFIG, **{name: getattr(self, name) for name in names}}

    @functools.cached_property
    def catalogue(self) -> Catalogue | None:
        try:
            return self.builder.catalogue
        except Trouble as trouble:
            self.problem = trouble
        except OSError as error:
            what = f"the catalogue cannot be read, {error.strerror}"
            todo = "run doit in the root of a book"
            self.problem = Trouble(Problem(paths.CATALOGUE, 0, what, todo))
        return None

    @functools.cached_property
    def written(self) -> list[str]:
        """The topics with cells; a planned one has front matter only."""
        names = self.catalogue.topics if self.catalogue else ()
        return [name for name in names if not self._planned(name)]

    def _planned(self, name: str) -> bool:
        file = self.root / paths.source(name)
        return file.is_file() and bool(data := file.read_bytes().strip()) and b"\n# %%" not in data

    def action(self, method: Callable[..., Written], *arguments: str) -> Task:
        """A task's action and its up-to-date test; its result is what it wrote."""

        def run() -> Any:
            try:
                return {"written": method(*arguments)}
            except Trouble as trouble:
                return TaskFailed(str(trouble), report=True)

        return {
            "actions": [run],
            "io": UNCAPTURED,
            "uptodate": [config_changed(builder_digest()), self._intact],
        }

    def _intact(self, task: Any, values: dict[str, Any]) -> bool:
        """Whether all that the last run wrote is still as it wrote it."""
        written = values.get("written")
        return written is not None and all(
            _file_digest(self.root / name) == known for name, known in written.items()
        )

    def topics(self, method: Callable[..., Written], **more: Any) -> Iterator[Task]:
        """A sub-task for each written topic."""
        for name in self.written:
            task = {"name": name, **self.action(method, name)}
            for key, value in more.items():
                task[key] = value(name) if callable(value) else value
            yield task

    # The book as a whole

    def task__references(self) -> Task:
        """set every citation once, with pandoc"""
        return {**self.action(self.builder.references), "file_dep": self._bib()}

    def task__index(self) -> Task:
        """what topics need to know of each other"""
        if self.catalogue is None:
            problem = self.problem
            return {"actions": [lambda: TaskFailed(str(problem), report=True)]}
        names = [paths.source(name) for name in self.catalogue.topics]
        files = [paths.CATALOGUE, *(n for n in names if (self.root / n).is_file())]
        return {**self.action(self.builder.index), "file_dep": files}

    def task_readme(self) -> Task:
        """write the README's tables, graph and reading paths"""
        task = self.action(self.builder.readme)
        return {**task, "file_dep": [INDEX, CITATIONS, paths.CATALOGUE], **BOOK_FIRST}

    # One topic

    def task__source(self) -> Iterator[Task]:
        """look whether a topic is sound"""
        names = self.catalogue.topics if self.catalogue else ()
        for name in names:
            task = self.action(self.builder.source, name)
            source = paths.source(name)
            files = [source] if (self.root / source).is_file() else []
            yield {"name": name, **task, "file_dep": [*files, INDEX, CITATIONS], **BOOK_FIRST}

    def task_execute(self) -> Iterator[Task]:
        """execute topics whose code has changed (all of them: doit execute=always)"""

        def files(name: str) -> list[str]:
            own = [paths.source(name), INDEX, CITATIONS]
            pyproject = (self.root / "pyproject.toml").is_file()
            return [*own, *(["pyproject.toml"] if pyproject else [])]

        for task in self.topics(self.builder.execute, file_dep=files, task_dep=_checked):
            if self.always:
                task["uptodate"] = [False]
            yield {**task, "targets": [paths.notebook(task["name"])]}

    def task_notebook(self) -> Iterator[Task]:
        """write the notebooks (the same as execute, which writes nothing else)"""
        for name in self.written:
            yield {"name": name, "actions": None, "task_dep": [f"execute:{name}"]}

    def task_markdown(self) -> Iterator[Task]:
        """write the documents for GitHub"""
        if notation := self._if_there(paths.NOTATION):
            task = self.action(self.builder.page, paths.NOTATION)
            yield {"name": "notation", **task, "file_dep": notation}
        if terms := self._if_there(paths.INDEX_OF_TERMS):
            task = self.action(self.builder.page, paths.INDEX_OF_TERMS)
            yield {"name": "index", **task, "file_dep": [INDEX, *terms], **BOOK_FIRST}
        if changes := self._if_there(paths.CHANGES):
            task = self.action(self.builder.page, paths.CHANGES)
            yield {"name": "changes", **task, "file_dep": [INDEX, *changes], **BOOK_FIRST}
        yield from self.topics(self.builder.markdown, file_dep=_stored, task_dep=_executed)

    def task_tests(self) -> Iterator[Task]:
        """write the pytest modules"""
        yield from self.topics(
            self.builder.tests, file_dep=lambda name: [paths.source(name)], task_dep=_checked
        )

    def task__chapter(self) -> Iterator[Task]:
        """convert topics to typst, with pandoc"""
        yield from self.topics(self.builder.chapter, file_dep=_stored, task_dep=_executed)

    def task_pdf(self) -> Iterator[Task]:
        """set each topic as a PDF"""
        yield from self.topics(
            self.builder.pdf,
            file_dep=lambda name: [paths.chapter(name), paths.solutions(name), *self._bib()],
            task_dep=lambda name: [f"_chapter:{name}"],
        )

    def task_book(self) -> Iterator[Task]:
        """the whole book as one PDF, and as an EPUB"""
        pages = self._if_there(paths.NOTATION, paths.INDEX_OF_TERMS)
        common = [INDEX, paths.CATALOGUE, *pages, *self._bib()]
        forms = {
            "pdf": ("whole:write_pdf", (paths.chapter, paths.solutions)),
            "epub": ("whole:write_epub", (paths.chapter_markdown,)),
        }
        for form, (place, files) in forms.items():
            chapters = [file(name) for name in self.written for file in files]
            yield {
                "name": form,
                **self.action(functools.partial(_call, place, self.builder)),
                "file_dep": [*common, *chapters],
                "task_dep": ["_index", "_references", "_chapter"],
            }

    def _bib(self) -> list[str]:
        return self._if_there(paths.REFERENCES)

    def _if_there(self, *names: str) -> list[str]:
        """The optional files among `names` that this book has."""
        return [name for name in names if (self.root / name).is_file()]

    # Commands that look rather than write

    def task_check(self) -> Iterator[Task]:
        """prove without executing that every committed form is sound and in step"""
        for name in self.written:
            yield {"name": name, **self.command("check:check_topic", name)}
        yield {"name": "book", **self.command("check:check_book")}

    def task_verify(self) -> Iterator[Task]:
        """execute everything afresh and compare with the stored outputs by meaning"""
        for name in self.written:
            yield {"name": name, **self.command("verify:verify", name)}

    def task_mutants(self) -> Task:
        """seed bugs into the tested definitions and see how many the tests notice"""
        command = [sys.executable, "tests/mutants.py"]
        return {"actions": [command], "verbosity": 2, "uptodate": [False]}

    def task_readers(self) -> Task:
        """run each document's code and each notebook alone, offline, in an empty folder"""
        command = [sys.executable, "-m", "pytest", "-v", "tests/readers.py"]
        return {"actions": [command], "verbosity": 2, "uptodate": [False]}

    def task_report(self) -> Task:
        """say in figures what each topic holds"""
        return self.command("report:report")

    def task_new(self) -> Task:
        """make a topic from the template: doit new part/topic"""
        command = self.command("new:new", names=[])
        return {**command, "task_dep": [], "pos_arg": "names"}

    def task_watch(self) -> Task:
        """show topics in the browser, rebuilt on save (stop with Ctrl-C)"""
        return self.command("watch:watch")

    def task_bench(self) -> Task:
        """measure the build's speed, here and on a book of ten times the size"""
        return self.command("bench:bench")

    def command(self, place: str, *arguments: str, **named: Any) -> Task:
        """A task that always runs `module:function` and prints what it says."""

        def run(**given: Any) -> Any:
            try:
                text = _call(place, self.builder, *arguments, **given)
            except Trouble as trouble:
                return TaskFailed(str(trouble), report=True)
            if text:
                print(text, file=sys.__stdout__, flush=True)
            return None

        action: Any = (_taking(run), [], {}) if named else run
        return {"actions": [action], "io": UNCAPTURED, "task_dep": ["_index", "_references"]}


def _call(place: str, *arguments: Any, **named: Any) -> Any:
    """Call `module:function`, whose module is imported only now: most builds need none."""
    module, _, function = place.partition(":")
    return getattr(importlib.import_module(f"literate.{module}"), function)(*arguments, **named)


def _taking(run: Callable[..., Any]) -> Callable[..., Any]:
    """`run` as a function with the one parameter that doit fills: the words given."""

    def taking(names: list[str]) -> Any:
        return run(names=names)

    return taking


BOOK_FIRST = {"task_dep": ["_index", "_references"]}


def _checked(name: str) -> list[str]:
    return [f"_source:{name}", "_index", "_references"]


def _executed(name: str) -> list[str]:
    return [f"execute:{name}", "_index", "_references"]


def _stored(name: str) -> list[str]:
    return [paths.source(name), paths.notebook(name), INDEX, CITATIONS]


def _file_digest(path: Path) -> str:
    try:
        return digest(path.read_bytes())
    except OSError:
        return ""
