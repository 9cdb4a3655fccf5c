"""What executing one topic may use."""

from __future__ import annotations

from dataclasses import dataclass

GIGABYTE = 2**30


@dataclass(frozen=True)
class Limits:
    """`patience` times the topic's budget is the time for one cell."""

    patience: int = 15
    memory: int = 16 * GIGABYTE  # address space: torch alone maps several
    output: int = 2_000_000  # characters of text from one cell
    start: int = 120  # seconds for a kernel to answer
