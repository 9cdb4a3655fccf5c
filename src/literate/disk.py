"""The one place that writes: atomically, only what changed, never over a hand edit."""

from __future__ import annotations

import hashlib
import os
import re
import tempfile
from pathlib import Path

from literate.problem import Problem, Trouble

DIGEST_LENGTH = 16
# "digest:0123456789abcdef" in a generated file's first lines or metadata; not "digest:xyz"
SEAL = re.compile(rf"digest:([0-9a-f]{{{DIGEST_LENGTH}}})")
BLANK_SEAL = "digest:" + "0" * DIGEST_LENGTH


def digest(*parts: str | bytes) -> str:
    """A short digest of `parts`, the same on every machine."""
    hasher = hashlib.sha256()
    for part in parts:
        data = part.encode() if isinstance(part, str) else part
        hasher.update(len(data).to_bytes(8, "little") + data)
    return hasher.hexdigest()[:DIGEST_LENGTH]


def seal(text: str) -> str:
    """`text` with its blank seal replaced by the digest of the whole."""
    assert text.count(BLANK_SEAL) == 1, "a generated text carries exactly one blank seal"
    return text.replace(BLANK_SEAL, f"digest:{digest(text)}")


def is_intact(text: str) -> bool:
    """Whether a sealed text is as the build wrote it."""
    match = SEAL.search(text)
    if not match:
        return False
    blank = text[: match.start()] + BLANK_SEAL + text[match.end() :]
    return match[1] == digest(blank)


class Disk:
    """Reads and writes below one root. Paths are relative to it, with `/`."""

    def __init__(self, root: Path) -> None:
        self.root = root

    def path(self, name: str) -> Path:
        path = self.root / name
        if not path.resolve().is_relative_to(self.root.resolve()):
            todo = "keep names inside the book"
            raise Trouble(Problem(name, 0, "the path leaves the book's root", todo))
        return path

    def exists(self, name: str) -> bool:
        return self.path(name).is_file()

    def read(self, name: str) -> str:
        return self.path(name).read_text(encoding="utf-8")

    def read_bytes(self, name: str) -> bytes:
        return self.path(name).read_bytes()

    def write_sealed(self, name: str, text: str, source: str) -> None:
        """Write a generated text, unless somebody has edited the file since."""
        sealed = seal(text)
        if self.exists(name):
            old = self.read_bytes(name).decode("utf-8", "replace")
            if old == sealed:
                return
            if not is_intact(old):
                raise Trouble(hand_edited(name, source))
        self.write(name, sealed)

    def write(self, name: str, content: str | bytes) -> None:
        """Replace a file as a whole, or leave it alone if it is equal already."""
        data = content.encode() if isinstance(content, str) else content
        path = self.path(name)
        if path.is_file() and path.read_bytes() == data:
            return
        handle, temporary = -1, ""
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            handle, temporary = tempfile.mkstemp(dir=path.parent, prefix=".", suffix=".tmp")
            with os.fdopen(handle, "wb") as file:
                file.write(data)
                file.flush()
                os.fsync(file.fileno())
            Path(temporary).chmod(0o644)
            os.replace(temporary, path)  # noqa: PTH105 - the one call that makes it atomic
        except OSError as error:
            if temporary:
                Path(temporary).unlink(missing_ok=True)
            what = f"cannot be written, {(error.strerror or str(error)).lower()}"
            todo = "free space or mend permissions, then build again; the old file is whole"
            raise Trouble(Problem(name, 0, what, todo)) from None

    def remove(self, name: str) -> None:
        self.path(name).unlink(missing_ok=True)


def hand_edited(name: str, source: str) -> Problem:
    back = f"`git checkout HEAD -- {name}` (a new file: delete it)"
    todo = f"make the change in {source}, {back}, build again"
    return Problem(name, 1, "the generated file was edited by hand, or merged", todo)
