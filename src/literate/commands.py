"""What looks rather than writes: `check`, `verify`, `report`."""

from __future__ import annotations

from literate.build import Builder


def check_topic(builder: Builder, name: str) -> None:
    """To be written."""


def check_book(builder: Builder) -> None:
    """To be written."""
