"""`doit readers`: documents and notebooks run alone, offline, in an empty folder.

All Python blocks of each document are pasted into one empty interpreter; each notebook is
run by Jupyter's own command. Both execute every topic once more, so the name keeps the
module out of a plain `pytest`.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
DOCUMENTS = sorted(p for p in (ROOT / "build").rglob("*.md") if p.name != "notation.md")
NOTEBOOKS = sorted((ROOT / "notebooks").rglob("*.ipynb"))
BLOCK = re.compile(r"^```python\n(.*?)^```$", re.S | re.M)
# A namespace without a network, where the system gives one to us.
# Jupyter talks to its kernel over the loopback address, so that one is brought up.
LOOPBACK = 'ip link set lo up && exec "$@"'
UNSHARE = ["unshare", "--net", "--map-root-user", "sh", "-c", LOOPBACK, "sh"]


def named(paths: list[Path]) -> dict[str, object]:
    return {"argvalues": paths, "ids": [p.relative_to(ROOT).as_posix() for p in paths]}


@pytest.mark.parametrize("path", **named(DOCUMENTS))
def test_blocks_run_in_an_empty_interpreter(path: Path, tmp_path: Path) -> None:
    blocks = BLOCK.findall(path.read_text(encoding="utf-8"))
    alone(["-c", "\n".join(blocks)], tmp_path)


@pytest.mark.parametrize("path", **named(NOTEBOOKS))
def test_notebook_runs_alone(path: Path, tmp_path: Path) -> None:
    (tmp_path / path.name).write_bytes(path.read_bytes())
    command = ["-m", "jupyter", "execute", "--kernel_name=python3", path.name]
    alone(command, tmp_path)
    assert [file.name for file in tmp_path.iterdir()] == [path.name]


def alone(arguments: list[str], folder: Path) -> None:
    """Run Python in `folder`, cut off from the network where the system allows it."""
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "HF_HUB_OFFLINE": "1"}
    if arguments[0] == "-c":
        environment["MPLBACKEND"] = "agg"
    cut_off = subprocess.run([*UNSHARE, "true"], capture_output=True, check=False)
    prefix = UNSHARE if cut_off.returncode == 0 else []
    done = subprocess.run(
        [*prefix, sys.executable, *arguments],
        cwd=folder,
        env=environment,
        capture_output=True,
        text=True,
        timeout=900,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-3000:]
