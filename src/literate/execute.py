"""Runs a topic in a kernel, within limits, and says in one line what went wrong."""

from __future__ import annotations

import asyncio
import re
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import nbformat
from nbclient import NotebookClient
from nbclient.exceptions import CellExecutionError, CellTimeoutError, DeadKernelError

from literate import kernels, plan
from literate.limits import GIGABYTE, Limits
from literate.problem import Problem, Trouble, raise_all
from literate.stored import ANSI, Stored
from literate.topic import Topic

Progress = Callable[[int, int], None]
# "Cell In[27], line 4, in test_softmax()"
IN_TEST = re.compile(r", in (test_\w+)\(")


@dataclass(frozen=True)
class Executed:
    stored: Stored
    seconds: float
    memory: int


class _TooMuchOutput(Exception):
    pass


class _Client(NotebookClient):
    """nbclient, which counts what each cell prints."""

    output_limit = 0
    printed = 0

    def process_message(self, msg: dict[str, Any], cell: Any, cell_index: int) -> Any:
        if msg["msg_type"] == "stream":
            self.printed += len(msg["content"]["text"])
            if self.printed > self.output_limit:
                raise _TooMuchOutput
        return super().process_message(msg, cell, cell_index)


def execute(
    topic: Topic,
    style: str,
    stamp: str,
    warm_parent: kernels.WarmParent | None = None,
    limits: Limits = Limits(),  # noqa: B008 - frozen
    progress: Progress = lambda done, total: None,
) -> Executed:
    """Run all of `topic` in an empty folder. Raises `Trouble` where it fails."""
    steps = plan.steps(topic, style)
    with tempfile.TemporaryDirectory(prefix="literate-") as name:
        folder = Path(name)
        (folder / "empty").mkdir()
        run = _Run(topic, steps, limits, progress)
        results = asyncio.run(run.all_steps(folder, warm_parent))
    raise_all(plan.stub_problems(topic, steps, results))
    seconds, memory = plan.usage(steps, results)
    return Executed(plan.store(topic, steps, results, stamp), seconds, memory)


class _Run:
    """One run of one topic: the state that its error messages need."""

    def __init__(
        self, topic: Topic, steps: tuple[plan.Step, ...], limits: Limits, progress: Progress
    ) -> None:
        self.topic, self.steps, self.limits, self.progress = topic, steps, limits, progress

    async def all_steps(self, folder: Path, warm_parent: kernels.WarmParent | None) -> list[Any]:
        v4: Any = nbformat.v4
        cells = [v4.new_code_cell(step.code) for step in self.steps]
        client = _Client(
            v4.new_notebook(cells=cells),
            timeout=self.limits.patience * self.topic.seconds,
            startup_timeout=self.limits.start,
            record_timing=False,
            coalesce_streams=True,
            resources={"metadata": {"path": str(folder / "empty")}},
        )
        client.output_limit = self.limits.output
        log = folder / "kernel.log"
        client.km = kernels.manager(folder, self.limits.memory, warm_parent, log)
        try:
            await self._start(client, log)
            for number in range(1, len(cells) + 1):
                self.progress(number, len(cells))
                client.printed = 0
                await self._step(client, cells[number - 1], number, log)
            return [cell["outputs"] for cell in cells]
        finally:
            await self._stop(client)

    async def _start(self, client: Any, log: Path) -> None:
        try:
            await client.async_start_new_kernel(cwd=str(client.resources["metadata"]["path"]))
            await client.async_start_new_kernel_client()
        except (RuntimeError, OSError, kernels.KernelDidNotStart) as error:
            said = log.read_text(errors="replace") if log.exists() else str(error)
            todo = "install the packages for executing: pip install -e '.[execute]'"
            what = "the kernel did not start"
            raise Trouble(Problem(self.topic.path, 0, what, todo, said)) from None

    async def _step(self, client: Any, cell: Any, number: int, log: Path) -> None:
        step = self.steps[number - 1]
        try:
            await client.async_execute_cell(cell, number - 1, execution_count=number)
        except CellExecutionError as error:
            raise Trouble(self._raised(number, error, _error_of(cell))) from None
        except CellTimeoutError:
            seconds = self.limits.patience * self.topic.seconds
            what = f"the cell does not end within {seconds} s"
            todo = "make it shorter, or raise `seconds` in the front matter"
            raise Trouble(Problem(self.topic.path, step.lines[0], what, todo)) from None
        except _TooMuchOutput:
            what = f"the cell prints more than {self.limits.output:,} characters"
            raise Trouble(Problem(self.topic.path, step.lines[0], what, "print less")) from None
        except (DeadKernelError, RuntimeError):
            said = log.read_text(errors="replace")[-2000:] if log.exists() else ""
            what = "the cell ended its kernel"
            todo = "find what exits, crashes or exhausts memory there"
            raise Trouble(Problem(self.topic.path, step.lines[0], what, todo, said)) from None

    def _raised(self, number: int, error: CellExecutionError, output: Any) -> Problem:
        """A cell that raised, said for what it is."""
        step = self.steps[number - 1]
        raw = "\n".join(output.get("traceback", [])) if output else str(error)
        line, text = plan.locate(self.steps, number, raw)
        path, name = self.topic.path, error.ename
        value = ANSI.sub("", error.evalue).split("\n")[0]
        if name == "StdinNotImplementedError":
            what, todo = "the cell reads standard input", "a topic runs unattended: use a constant"
            return Problem(path, line, what, todo)
        if name == "MemoryError":
            what = f"the cell exhausts its memory limit of {self.limits.memory / GIGABYTE:.0f} GB"
            return Problem(path, line, what, "use less", text)
        if name == "ModuleNotFoundError":
            todo = "install it: pip install -e '.[execute]', and name it in `packages`"
            return Problem(path, line, value, todo)
        said = f"{name}: {value}" if value else name
        if step.kind == "solution" and self.topic.cells[step.cell].is_test:
            what, todo = f"the solution fails its test, {said}", "mend the solution or the test"
        elif step.kind == "cell" and self.topic.cells[step.cell].is_test:
            test = IN_TEST.search(text)
            what = f"{test[1] if test else 'a test'} fails, {said}"
            todo = "mend the code or the test"
        elif step.kind == "values":
            what, todo = f"the inline value raises {said}", "mend the expression"
        else:
            what, todo = f"the cell raises {said}", "mend the code"
        return Problem(path, line, what, todo, text)

    async def _stop(self, client: Any) -> None:
        if client.kc is not None:
            client.kc.stop_channels()
        if client.km is not None and client.km.has_kernel:
            await client.km.shutdown_kernel(now=True)


def _error_of(cell: Any) -> Any:
    for output in cell["outputs"]:
        if output["output_type"] == "error":
            return output
    return None
