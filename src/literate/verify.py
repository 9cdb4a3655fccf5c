"""`doit verify`: executes a topic afresh and compares with what is stored."""

from __future__ import annotations

from literate import compare
from literate.build import Builder
from literate.problem import raise_all


def verify(builder: Builder, name: str) -> None:
    """Raise `Trouble` where a fresh execution of `name` says something else."""
    topic = builder.topic(name)
    stored = builder.outputs(topic)
    fresh = builder.run(topic, stored.stamp)
    raise_all(compare.problems(topic, stored, fresh))
