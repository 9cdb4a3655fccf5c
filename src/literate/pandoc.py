"""Running pandoc: text in, text and warnings out."""

from __future__ import annotations

import subprocess
from collections.abc import Sequence
from functools import cache

import pypandoc


class PandocError(Exception):
    """pandoc stopped; the message is what it wrote on its standard error."""


def run_pandoc(args: Sequence[str], text: str) -> tuple[str, str]:
    """pandoc's output for `text` on its standard input, and its warnings."""
    command = [_executable(), *args]
    done = subprocess.run(command, input=text.encode(), capture_output=True, check=False)
    warnings = done.stderr.decode(errors="replace").strip()
    if done.returncode:
        raise PandocError(warnings or f"exit code {done.returncode}")
    return done.stdout.decode(), warnings


@cache
def _executable() -> str:
    # pypandoc looks through the whole PATH each time.
    path: str = pypandoc.get_pandoc_path()
    return path
