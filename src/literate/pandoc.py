"""Running pandoc: text in, text and warnings out."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Sequence
from functools import cache

import pypandoc


class PandocError(Exception):
    """pandoc stopped; the message is what it wrote on its standard error."""


def run_pandoc(args: Sequence[str], text: str) -> tuple[str, str]:
    """pandoc's output for `text` on its standard input, and its warnings."""
    output, warnings = run_pandoc_bytes(args, text)
    return output.decode(), warnings


def run_pandoc_bytes(args: Sequence[str], text: str) -> tuple[bytes, str]:
    """The same for a form that is not text, an EPUB for one."""
    done = subprocess.run(
        [_executable(), *args],
        input=text.encode(),
        capture_output=True,
        check=False,
        env={**os.environ, "SOURCE_DATE_EPOCH": "0"},  # no output holds a time
    )
    warnings = done.stderr.decode(errors="replace").strip()
    if done.returncode:
        raise PandocError(warnings or f"exit code {done.returncode}")
    return done.stdout, warnings


@cache
def _executable() -> str:
    # pypandoc looks through the whole PATH each time.
    path: str = pypandoc.get_pandoc_path()
    return path
