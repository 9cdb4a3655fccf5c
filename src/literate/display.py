"""What a build says while it runs, and how it ends. One writer on the terminal."""

from __future__ import annotations

import fcntl
import os
import signal
import sys
import threading
import time
from pathlib import Path
from typing import IO, Any

from literate import paths

TITLES = {"_source": "read", "_chapter": "convert", "_index": "index", "_references": "cite"}
_cells: dict[str, tuple[int, int]] = {}  # topic → (cell, cells), from the executing threads


def progress(name: str, done: int, total: int) -> None:
    """A topic has started cell `done` of `total`."""
    _cells[name] = (done, total)


class Reporter:
    """doit's reporter: a live line on a terminal, a plain log elsewhere."""

    desc = "the book's own: live on a terminal, a plain log elsewhere"

    def __init__(self, outstream: IO[str], options: dict[str, Any]) -> None:
        self.out = sys.__stdout__ or outstream
        self.live = self.out.isatty()
        self.failed: list[tuple[str, str]] = []
        self.total = self.done = self.worked = 0
        self.running: dict[str, float] = {}
        self.started = time.monotonic()
        self._stop = threading.Event()
        self._ticker: threading.Thread | None = None
        self._lock: IO[str] | None = None

    # doit calls these, all from its main thread

    def initialize(self, tasks: dict[str, Any], selected_tasks: list[str]) -> None:
        self._lock = wait_for_turn(Path(paths.CACHE) / "lock", self.out)
        self.total = len(needed(tasks, selected_tasks))
        signal.signal(signal.SIGINT, self._interrupted)
        if self.live:
            self._ticker = threading.Thread(target=self._tick, daemon=True)
            self._ticker.start()

    def get_status(self, task: Any) -> None:
        pass

    def execute_task(self, task: Any) -> None:
        if task.actions:
            self.running[task.name] = time.monotonic()

    def add_failure(self, task: Any, fail: Any) -> None:
        self._ended(task, worked=True)
        if fail.report and not _is_consequence(fail):
            text = (fail.message if not fail.traceback else fail.get_msg()).rstrip()
            self.failed.append((task.name, text))
            self._line(text, error=True)

    def add_success(self, task: Any) -> None:
        seconds = time.monotonic() - self.running.get(task.name, time.monotonic())
        self._ended(task, worked=bool(task.actions))
        if task.actions and not self.live:
            self._line(f"{title(task.name):<44} {seconds:6.1f} s")

    def skip_uptodate(self, task: Any) -> None:
        self._ended(task, worked=False)

    def skip_ignore(self, task: Any) -> None:
        self._ended(task, worked=False)

    def cleanup_error(self, exception: Any) -> None:
        self._line(exception.get_msg(), error=True)

    def runtime_error(self, msg: str) -> None:
        self.failed.append(("", msg))
        self._line(msg.rstrip(), error=True)

    def teardown_task(self, task: Any) -> None:
        pass

    def complete_run(self) -> None:
        self._stop.set()
        if self._ticker:
            self._ticker.join()
            self.out.write("\r\x1b[K")
        seconds = time.monotonic() - self.started
        if self.failed:
            count = len(self.failed)
            self._line(f"{count} failed, {self.worked} done, {seconds:.1f} s", error=True)
            if count > 1:  # together once more, at the end of the log
                for _, text in self.failed:
                    self._line(text.split("\n")[0], error=True)
        else:
            what = f"{self.worked} done" if self.worked else "nothing to do"
            self._line(f"{what}, {seconds:.1f} s")
        if self._lock:
            self._lock.close()

    def _interrupted(self, *_: object) -> None:
        """Ctrl-C: end at once. Every finished task is kept, every file is whole."""
        self._line("interrupted; what is done is kept")
        os._exit(130)

    # Drawing

    def _ended(self, task: Any, worked: bool) -> None:
        self.done += 1
        self.worked += worked
        self.running.pop(task.name, None)
        _cells.pop(task.name.partition(":")[2], None)

    def _line(self, text: str, error: bool = False) -> None:
        clear = "\r\x1b[K" if self.live else ""
        colour = ("\x1b[31m", "\x1b[0m") if error and self.live else ("", "")
        self.out.write(f"{clear}{colour[0]}{text}{colour[1]}\n")
        self.out.flush()

    def _tick(self) -> None:
        while not self._stop.wait(0.15):
            width = os.get_terminal_size(self.out.fileno()).columns
            self.out.write(f"\r\x1b[K{self.status()[: width - 1]}")
            self.out.flush()

    def status(self) -> str:
        """done/total, time left, and what runs with its cell."""
        elapsed = time.monotonic() - self.started
        parts = [f"{self.done}/{self.total}"]
        if self.done and self.done < self.total:
            parts.append(f"{elapsed / self.done * (self.total - self.done):.0f} s left")
        for name in sorted(self.running):
            cell = _cells.get(name.partition(":")[2])
            at = f" cell {cell[0]} of {cell[1]}" if cell and name.startswith("execute") else ""
            parts.append(f"{title(name)}{at}")
        return " · ".join(parts)


def title(name: str) -> str:
    kind, _, topic = name.partition(":")
    return f"{TITLES.get(kind, kind)} {topic}".rstrip()


def needed(tasks: dict[str, Any], selected: list[str]) -> set[str]:
    """The selected tasks and all that they depend on."""
    found: set[str] = set()
    queue = list(selected)
    while queue:
        name = queue.pop()
        if name in tasks and name not in found:
            found.add(name)
            queue += tasks[name].task_dep
    return found


def _is_consequence(fail: Any) -> bool:
    """Whether a task only failed because one that it needs did."""
    return type(fail).__name__ == "UnmetDependency"


def wait_for_turn(path: Path, out: IO[str]) -> IO[str]:
    """One build at a time: the second says so, and waits."""
    path.parent.mkdir(exist_ok=True)
    lock = path.open("a+", encoding="utf-8")
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        lock.seek(0)
        who = lock.read().strip() or "another process"
        out.write(f"another build (process {who}) is at work here; waiting for it to end\n")
        out.flush()
        fcntl.flock(lock, fcntl.LOCK_EX)
    lock.seek(0)
    lock.truncate()
    lock.write(str(os.getpid()))
    lock.flush()
    return lock
