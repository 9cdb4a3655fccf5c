"""`doit bench`: the build's speed, on books made of copies of the finished topics."""

from __future__ import annotations

import os
import re
import resource
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

from literate import paths
from literate.build import Builder

# "[softmax](../math-foundations/probability.py#softmax)"
TOPIC_LINK = re.compile(r"\[([^\]]*)\]\([^)\s]*\.py(?:#[^)]*)?\)")
ALL_BUT_THE_BOOK = ("execute", "markdown", "notebook", "tests", "pdf")
GOALS = {
    "fresh, all forms": 40.0,
    "nothing to do": 1.0,
    "prose edit, forms of the topic": 2.0,
    "prose edit, with the book": 8.0,
    "ten times the size: nothing to do": 4.0,
}


@dataclass(frozen=True)
class Run:
    """One `doit` from outside: seconds by the clock, of CPU, and peak memory in bytes."""

    seconds: float
    cpu: float
    memory: int


def run(root: Path, *arguments: str) -> Run:
    """Run doit on the book in `root`, and fail loudly if it fails."""
    started = time.monotonic()
    process = subprocess.Popen(
        [sys.executable, "-m", "doit", *arguments],
        cwd=root,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
    )
    assert process.stdout
    said = process.stdout.read()
    _, status, usage = os.wait4(process.pid, 0)
    if status:
        raise RuntimeError(said.decode(errors="replace")[-2000:])
    cpu = usage.ru_utime + usage.ru_stime
    return Run(time.monotonic() - started, cpu, usage.ru_maxrss * 1024)


def copy_book(builder: Builder, root: Path, count: int) -> list[str]:
    """A book of `count` copies of the written topics below `root`, outputs stored."""
    names = builder.book().written()
    copies = []
    for number in range(count):
        name = names[number % len(names)]
        copy = f"part-{number // 30:02}/topic-{number:03}"
        copies.append(copy)
        text = TOPIC_LINK.sub(r"\1", builder.disk.read(paths.source(name)))
        text = re.sub(r"^# (?:prerequisites|notebooks):.*\n(?:#   .*\n)*", "", text, flags=re.M)
        _write(root / paths.source(copy), text)
        _write(root / paths.notebook(copy), builder.disk.read(paths.notebook(name)))
    parts = sorted({copy.split("/")[0] for copy in copies})
    lines = ["title: A large book", "subtitle: For timing", "parts:"]
    for part in parts:
        stems = [copy.split("/")[1] for copy in copies if copy.startswith(part)]
        lines += [f"  - name: {part}", f"    title: {part}", "    summary: Copies."]
        lines.append(f"    topics: [{', '.join(stems)}]")
    _write(root / paths.CATALOGUE, "\n".join(lines) + "\n")
    for name in (paths.REFERENCES, paths.NOTATION, "pyproject.toml", "dodo.py"):
        _write(root / name, builder.disk.read(name))
    return copies


def _write(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding="utf-8")


def edit(root: Path, name: str, word: str) -> None:
    """A change of prose: a sentence in front of the first section."""
    path = root / paths.source(name)
    text = path.read_text(encoding="utf-8")
    path.write_text(text.replace("\n# ## ", f"\n# {word}\n#\n# ## ", 1), encoding="utf-8")


def forms(name: str) -> list[str]:
    return [f"{task}:{name}" for task in ("markdown", "notebook", "tests", "pdf")]


def bench(builder: Builder, sizes: tuple[int, int] = (42, 420)) -> str:
    """Time the builds that people wait for, and say how they compare with the goals."""
    found: dict[str, Run] = {}
    with tempfile.TemporaryDirectory(prefix="literate-bench-") as folder:
        small, large = Path(folder) / "small", Path(folder) / "large"
        names = copy_book(builder, small, sizes[0])
        found["fresh, all forms"] = run(small)
        found["nothing to do"] = run(small)
        edit(small, names[1], "First change.")
        found["prose edit, forms of the topic"] = run(small, *forms(names[1]))
        edit(small, names[2], "Second change.")
        found["prose edit, with the book"] = run(small)
        copy_book(builder, large, sizes[1])
        # Without the one PDF: a book of 10,000 pages is not what anybody builds.
        found["ten times the size: fresh, all but the book"] = run(large, *ALL_BUT_THE_BOOK)
        found["ten times the size: nothing to do"] = run(large, *ALL_BUT_THE_BOOK)
    executed, plain, tested = execution(builder)
    lines = [f"{'':<40}{'seconds':>9}{'goal':>7}{'CPU':>9}{'MB':>7}"]
    for name, one in found.items():
        goal = f"{GOALS[name]:.0f}" if name in GOALS else ""
        lines.append(
            f"{name:<44}{one.seconds:>9.1f}{goal:>7}{one.cpu:>9.1f}{one.memory / 2**20:>7.0f}"
        )
    lines.append(
        f"executing all topics and their tests: {executed:.1f} s of CPU; as plain scripts"
        f" {plain:.1f} s, with their tests called {tested:.1f} s"
    )
    return "\n".join(lines)


def execution(builder: Builder) -> tuple[float, float, float]:
    """CPU seconds of all written topics: by the build, as scripts, as scripts with tests."""
    with tempfile.TemporaryDirectory(prefix="literate-bench-") as folder:
        root = Path(folder)
        names = copy_book(builder, root, len(builder.book().written()))
        run(root, "_index", "_references")
        executed = run(root, "execute=always", "execute").cpu
        found = [executed]
        for with_tests in (False, True):
            before = _children()
            for name in names:
                _script(root, paths.source(name), with_tests)
            found.append(_children() - before)
        return found[0], found[1], found[2]


def _script(root: Path, name: str, with_tests: bool) -> None:
    """Run a topic's source as `python file` does, with calls of its tests or without."""
    text = (root / name).read_text(encoding="utf-8")
    calls = re.findall(r"^def (test_\w+)\(\)", text, re.M) if with_tests else []
    script = root / "script.py"
    script.write_text(text + "\n" + "".join(f"{call}()\n" for call in calls), encoding="utf-8")
    environment = {**os.environ, "MPLBACKEND": "agg", "OMP_NUM_THREADS": "1"}
    command = [sys.executable, str(script)]
    subprocess.run(command, env=environment, stdout=subprocess.DEVNULL, cwd=root, check=True)


def _children() -> float:
    usage = resource.getrusage(resource.RUSAGE_CHILDREN)
    return usage.ru_utime + usage.ru_stime
