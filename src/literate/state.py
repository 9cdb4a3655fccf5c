"""What doit remembers between runs: kept after each task, and by content alone."""

from __future__ import annotations

import hashlib
import os
from pathlib import Path
from typing import Any

from doit.dependency import FileChangedChecker, SqliteDB


class CommittingDB(SqliteDB):  # type: ignore[misc]
    """doit's sqlite file, committed after each task: a killed build loses nothing."""

    desc = "sqlite3, committed after each task"
    _dirty: set[str]

    def _sqlite3(self, name: str) -> Any:
        connection = super()._sqlite3(name)
        connection.execute("pragma journal_mode = wal")
        connection.execute("pragma synchronous = off")  # a lost file is only built again
        return connection

    def set(self, task_id: str, dependency: str, value: Any) -> None:
        super().set(task_id, dependency, value)
        if dependency == "deps:":  # the last that doit sets for a task
            self.commit()

    def commit(self) -> None:
        """Write all that is not written yet."""
        for task_id in sorted(self._dirty):
            row = (task_id, self.codec.encode(self._cache[task_id]))
            self._conn.execute("insert or replace into doit values (?,?)", row)
        self._conn.commit()
        self._dirty = set()


class ContentChecker(FileChangedChecker):  # type: ignore[misc]
    """A file has changed if its content has. Modification times do not survive a clone."""

    def check_modified(self, file_path: str, file_stat: os.stat_result, state: str) -> bool:
        return _digest(file_path) != state

    def get_state(self, dep: str, current_state: str | None) -> str | None:
        found = _digest(dep)
        return None if found == current_state else found


def _digest(path: str) -> str:
    with Path(path).open("rb") as file:
        return hashlib.file_digest(file, "blake2b").hexdigest()[:32]
