"""`doit bench`: the build's speed, measured on copies of the finished topics."""

from __future__ import annotations

from literate.build import Builder


def bench(builder: Builder) -> str:
    return ""
