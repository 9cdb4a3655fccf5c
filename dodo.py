"""The build's table of contents: `doit list` shows it, `src/literate` does the work."""

from pathlib import Path

from literate.tasks import Tasks

globals().update(Tasks(Path(__file__).parent).table())
