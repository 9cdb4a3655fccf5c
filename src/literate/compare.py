"""Whether two executions say the same: numbers within tolerance, times left out."""

from __future__ import annotations

import base64
import io
import math
import re
from collections.abc import Iterator, Sequence

from literate.problem import Problem
from literate.stored import OUTPUT, Stored, joined, text_of
from literate.topic import Topic

RELATIVE = 2e-3
ABSOLUTE = 1e-6
# "-1.5e-05", "3,492", "42"; not the 2 of "W2"
NUMBER = re.compile(r"(?<![\w.])[-+−]?(?:\d[\d,]*\.?\d*|\.\d+)(?:[eE][-+]?\d+)?")
# "12.3 s", "5 ms", "1.2e+03 it/s", "0x7f3a"; not "3 sets"
VOLATILE = re.compile(
    r"[\d.,eE+-]+\s*(?:ns|µs|us|ms|s|sec|seconds|minutes|it/s|tok/s|GB/s|MB/s)\b|0x[0-9a-f]+"
)
PIXELS = 0.02  # mean difference of two figures, of the whole range
SPACES = re.compile(r"\s+")


def problems(topic: Topic, old: Stored, new: Stored) -> Iterator[Problem]:
    """Where the fresh execution `new` disagrees with the stored outputs `old`."""
    todo = f"run `doit execute:{topic.name}` if the new is right, else mend the code"
    codes = [cell for cell in topic.cells if cell.kind == "code"]
    for cell, before, after in zip(codes, old.outputs, new.outputs, strict=False):
        if "NBVAL_IGNORE_OUTPUT" in cell.tags:
            continue
        if difference := text_difference(text_of(before), text_of(after)):
            yield Problem(topic.path, cell.line, f"the output differs, {difference}", todo)
        if difference := figure_difference(before, after):
            yield Problem(topic.path, cell.line, f"the figure differs, {difference}", todo)
    texts = [cell for cell in topic.cells if cell.kind == "markdown"]
    for cell, olds, news in zip(texts, old.values, new.values, strict=False):
        if "NBVAL_IGNORE_OUTPUT" in cell.tags:
            continue
        for one, other in zip(olds, news, strict=False):
            if difference := text_difference(one, other):
                yield Problem(topic.path, cell.line, f"an inline value differs, {difference}", todo)
    if (len(old.outputs), len(old.values)) != (len(new.outputs), len(new.values)):
        yield Problem(topic.path, 0, "the stored outputs are of another source", todo)


def text_difference(old: str, new: str) -> str:
    """How two texts differ in meaning, or nothing."""
    old_lines, new_lines = old.split("\n"), new.split("\n")
    for one, other in zip(old_lines, new_lines, strict=False):
        a, b = VOLATILE.sub("…", one), VOLATILE.sub("…", other)
        if _words(a) != _words(b):
            return f"stored {one.strip()!r}, now {other.strip()!r}"
        if not all(map(_close, NUMBER.findall(a), NUMBER.findall(b))):
            return f"stored {one.strip()!r}, now {other.strip()!r}"
    if len(old_lines) != len(new_lines):
        return f"stored {len(old_lines)} lines, now {len(new_lines)}"
    return ""


def _words(text: str) -> str:
    return SPACES.sub(" ", NUMBER.sub("#", text)).strip()


def _close(one: str, other: str) -> bool:
    """Equal within tolerance; the last printed digit may differ by one."""
    a, b = (float(text.replace(",", "").replace("−", "-")) for text in (one, other))
    decimals = len(one.partition(".")[2].split("e")[0].split("E")[0])
    exponent = re.search(r"[eE]([-+]?\d+)", one)
    last = 10.0 ** (-decimals + (int(exponent[1]) if exponent else 0))
    slack = 1.01 * last if "." in one or exponent else 0.0
    return math.isclose(a, b, rel_tol=RELATIVE, abs_tol=max(ABSOLUTE, slack))


def figure_difference(old: Sequence[OUTPUT], new: Sequence[OUTPUT]) -> str:
    """How two cells' figures differ, or nothing."""
    before, after = _pngs(old), _pngs(new)
    if len(before) != len(after):
        return f"stored {len(before)} figures, now {len(after)}"
    for one, other in zip(before, after, strict=True):
        if one == other:
            continue
        import numpy as np
        from PIL import Image

        a, b = (
            np.asarray(Image.open(io.BytesIO(data)).convert("RGB"), float) for data in (one, other)
        )
        if abs(a.shape[0] - b.shape[0]) > 4 or abs(a.shape[1] - b.shape[1]) > 4:
            return f"stored {a.shape[1]} by {a.shape[0]} pixels, now {b.shape[1]} by {b.shape[0]}"
        height, width = min(a.shape[0], b.shape[0]), min(a.shape[1], b.shape[1])
        mean = float(np.abs(a[:height, :width] - b[:height, :width]).mean()) / 255
        if mean > PIXELS:
            return f"by {mean:.1%} of its range"
    return ""


def _pngs(outputs: Sequence[OUTPUT]) -> list[bytes]:
    return [
        base64.b64decode(joined(output["data"]["image/png"]))
        for output in outputs
        if "image/png" in output.get("data", {})
    ]
