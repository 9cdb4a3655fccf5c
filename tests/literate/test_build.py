"""A small book, built end to end in a temporary folder by the real command."""

from __future__ import annotations

import errno
import fcntl
import json
import os
import random
import signal
import subprocess
import time
from pathlib import Path

import pytest
from helpers import FIRST, SmallBook

from literate import disk
from literate.disk import BLANK_SEAL, Disk, is_intact
from literate.problem import Trouble

FORMS = [
    "build/basics/first.md",
    "build/basics/first_files/fig-line.svg",
    "build/basics/second.md",
    "build/changes.md",
    "build/index.md",
    "build/machine-learning.epub",
    "build/machine-learning.pdf",
    "build/pdf/basics/first.pdf",
    "build/pdf/basics/second.pdf",
    "notebooks/basics/first.ipynb",
    "notebooks/basics/second.ipynb",
    "tests/topics/basics/test_first.py",
    "tests/topics/basics/test_second.py",
    "README.md",
]


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> dict[str, bytes]:
    """The outputs of an undisturbed build."""
    book = SmallBook(tmp_path_factory.mktemp("built"))
    done = book.doit()
    assert done.returncode == 0, done.stdout + done.stderr
    return book.outputs()


@pytest.fixture
def book(tmp_path: Path, built: dict[str, bytes]) -> SmallBook:
    """A fresh clone of the built book: all committed files, no cache."""
    clone = SmallBook(tmp_path / "book")
    for name, data in built.items():
        clone.write(name, data)
    return clone


def executed(output: str) -> list[str]:
    """The topics that a build's log says were executed rather than rendered."""
    return [line.split()[1] for line in output.splitlines() if line.startswith("execute ")]


def test_all_forms_are_there(built: dict[str, bytes]) -> None:
    assert sorted(built) == sorted(FORMS)
    for name, data in built.items():
        if name.endswith((".md", ".py", ".ipynb", ".svg")) and name != "README.md":
            assert is_intact(data.decode()), name


def test_fresh_clone_executes_nothing(book: SmallBook, built: dict[str, bytes]) -> None:
    before = {name: data for name, data in built.items() if not name.endswith(".pdf")}
    done = book.doit()
    assert done.returncode == 0, done.stdout
    assert not (book.root / ".cache/costs").exists()
    after = {name: data for name, data in book.outputs().items() if name in before}
    assert after == before


def test_building_twice_changes_nothing(book: SmallBook) -> None:
    book.doit()
    first = book.outputs()
    done = book.doit()
    assert done.stdout.splitlines()[-1].startswith("nothing to do")
    assert book.outputs() == first


@pytest.mark.parametrize("suffix", [".pdf", ".epub"])
def test_books_are_the_same_when_built_anew(
    book: SmallBook, built: dict[str, bytes], suffix: str
) -> None:
    for file in sorted((book.root / "build").rglob(f"*{suffix}")):
        file.unlink()
    assert book.doit().returncode == 0
    assert {n: d for n, d in book.outputs().items() if n.endswith(suffix)} == {
        n: d for n, d in built.items() if n.endswith(suffix)
    }


def test_prose_edit_executes_nothing(book: SmallBook) -> None:
    book.doit()
    book.edit("src/topics/basics/first.py", "# See @fig-line.", "# Look at @fig-line.")
    done = book.doit()
    assert done.returncode == 0, done.stdout
    assert "Look at [Figure 1]" in book.read("build/basics/first.md")
    assert "Look at Figure 1" in book.read("notebooks/basics/first.ipynb")
    assert not (book.root / ".cache/costs").exists()


def test_comment_edit_executes_nothing(book: SmallBook) -> None:
    book.doit()
    book.edit("src/topics/basics/first.py", "print(double(4))", "print(double(4))  # eight")
    assert book.doit().returncode == 0
    assert "# eight" in book.read("build/basics/first.md")
    assert not (book.root / ".cache/costs").exists()


def test_code_edit_executes_that_topic_alone(book: SmallBook) -> None:
    book.doit()
    book.edit("src/topics/basics/first.py", "print(double(4))", "print(double(5))")
    assert book.doit().returncode == 0
    assert "```text\n10\n```" in book.read("build/basics/first.md")
    costs = [file.name for file in (book.root / ".cache/costs").rglob("*.json")]
    assert costs == ["first.json"]


def test_execute_always(book: SmallBook, built: dict[str, bytes]) -> None:
    assert book.doit("execute=always", "execute").returncode == 0
    costs = sorted(file.name for file in (book.root / ".cache/costs").rglob("*.json"))
    assert costs == ["first.json", "second.json"]
    assert book.outputs()["notebooks/basics/first.ipynb"] == built["notebooks/basics/first.ipynb"]


def test_touching_a_file_does_nothing(book: SmallBook) -> None:
    book.doit()
    for file in (book.root / "src").rglob("*.py"):
        os.utime(file, (1, 1))
    assert "nothing to do" in book.doit().stdout


def test_verify_agrees_and_notices(book: SmallBook) -> None:
    assert book.doit("verify").returncode == 0
    text = book.read("notebooks/basics/first.ipynb").replace('"8\\n"', '"9\\n"')
    match = disk.SEAL.search(text)
    assert match
    book.write("notebooks/basics/first.ipynb", disk.seal(text.replace(match[0], BLANK_SEAL)))
    done = book.doit("verify")
    assert done.returncode != 0
    assert (
        "src/topics/basics/first.py:16: the output differs, stored '9', now '8'"
        " — run `doit execute:basics/first` if the new is right, else mend the code"
    ) in done.stdout


def test_check_is_clean(book: SmallBook) -> None:
    done = book.doit("check")
    assert done.returncode == 0, done.stdout


@pytest.mark.parametrize(
    ("file", "old", "new", "said"),
    [
        (
            "build/basics/first.md",
            "Doubling",
            "Doubting",
            "build/basics/first.md:1: the generated file was edited by hand, or merged — make the"
            " change in src/topics/basics/first.py, `git checkout HEAD -- build/basics/first.md`",
        ),
        (
            "notebooks/basics/first.ipynb",
            "Doubling",
            "Doubting",
            "notebooks/basics/first.ipynb:1: the generated file was edited by hand, or merged —"
            " make the change in src/topics/basics/first.py, `git checkout HEAD -- notebooks/",
        ),
        (
            "README.md",
            "The first topic.",
            "My topic.",
            "README.md:3: the generated block 'documents' was edited by hand — make the change in"
            " the topic's front matter or the catalogue, empty this block",
        ),
    ],
)
def test_hand_edits_are_named_and_kept(
    book: SmallBook, file: str, old: str, new: str, said: str
) -> None:
    book.doit()
    text = book.read(file)
    assert old in text
    edited = text.replace(old, new)
    book.write(file, edited)
    for task in ("check", "default"):
        done = book.doit(*([] if task == "default" else [task]))
        assert done.returncode != 0
        assert said in done.stdout
        assert book.read(file) == edited


def test_deleted_figure_comes_back(book: SmallBook) -> None:
    book.doit()
    before = book.outputs()
    (book.root / "build/basics/first_files/fig-line.svg").unlink()
    assert book.doit().returncode == 0
    assert book.outputs() == before


def test_broken_topic_stops_alone(book: SmallBook) -> None:
    book.edit("src/topics/basics/first.py", "[@ada1843notes]", "[@nobody2000]")
    book.edit("src/topics/basics/second.py", "It builds on", "It stands on")
    done = book.doit("markdown")
    assert done.returncode != 0
    assert [line for line in done.stdout.splitlines() if line.startswith("src/")] == [
        "src/topics/basics/first.py:11: the citation @nobody2000 is unknown"
        " — add it to src/references.bib, or mend the key"
    ]
    assert "It stands on" in book.read("build/basics/second.md")


def test_all_problems_of_a_run_are_collected(book: SmallBook) -> None:
    book.edit("src/topics/basics/first.py", "@fig-line", "@fig-lines")
    book.edit("src/topics/basics/second.py", "first.py#doubling", "first.py#tripling")
    said = book.doit("markdown").stdout
    assert "src/topics/basics/first.py:40: no figure is labelled fig-lines" in said
    assert "src/topics/basics/second.py:12: basics/first has no heading #tripling" in said


def test_cycle_of_prerequisites(book: SmallBook) -> None:
    book.edit("src/topics/basics/first.py", "notebooks: []", "prerequisites: [basics/second]")
    said = book.doit("check").stdout
    assert (
        "src/topics/basics/first.py:4: the prerequisites form a cycle,"
        " basics/first → basics/second → basics/first — take one of these prerequisites out"
    ) in said


@pytest.mark.parametrize(
    ("stem", "said"),
    [
        (
            "a topic",
            "src/catalogue.yaml:7: 'basics/a topic' is not a topic name"
            " — use <part>/<topic> in lower-case letters, digits and hyphens",
        ),
        (
            "../../escape",
            "src/catalogue.yaml:7: 'basics/../../escape' is not a topic name"
            " — use <part>/<topic> in lower-case letters, digits and hyphens",
        ),
        (
            "third",
            "src/topics/basics/third.py: src/catalogue.yaml lists basics/third, which has no"
            " source — run `doit new basics/third`, list its new name, or take it out",
        ),
    ],
)
def test_catalogue_names(book: SmallBook, stem: str, said: str) -> None:
    book.edit("src/catalogue.yaml", "[first, second]", f'[first, second, "{stem}"]')
    done = book.doit("check", "_source")
    assert done.returncode != 0
    assert said in done.stdout


def test_two_builds_take_turns(book: SmallBook) -> None:
    (book.root / ".cache").mkdir()
    with (book.root / ".cache/lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        lock.write("4711")
        lock.flush()
        second = subprocess.Popen(book.command(), cwd=book.root, stdout=subprocess.PIPE, text=True)
        assert second.stdout
        assert second.stdout.readline() == (
            "another build (process 4711) is at work here; waiting for it to end\n"
        )
    assert second.wait(timeout=120) == 0
    second.stdout.close()


def test_two_builds_at_once_end_well(book: SmallBook, built: dict[str, bytes]) -> None:
    both = [
        subprocess.Popen(book.command(), cwd=book.root, stdout=subprocess.DEVNULL) for _ in range(2)
    ]
    assert [process.wait(timeout=200) for process in both] == [0, 0]
    assert book.outputs() == built


def test_full_disk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    target = Disk(tmp_path)
    target.write("build/page.md", "old")

    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(disk.os, "replace", full)
    with pytest.raises(Trouble) as caught:
        target.write("build/page.md", "new")
    assert str(caught.value) == (
        "build/page.md: cannot be written, no space left on device"
        " — free space or mend permissions, then build again; the old file is whole"
    )
    assert target.read("build/page.md") == "old"
    assert [file.name for file in (tmp_path / "build").iterdir()] == ["page.md"]


def test_no_file_outside_the_root(tmp_path: Path) -> None:
    with pytest.raises(Trouble):
        Disk(tmp_path).write("../outside.md", "x")


def test_new_topic_builds_at_once(book: SmallBook) -> None:
    done = book.doit("new", "basics/third-thing")
    assert done.returncode == 0, done.stdout
    assert "topics: [first, second, third-thing]" in book.read("src/catalogue.yaml")
    assert book.doit().returncode == 0
    assert "# Third thing" in book.read("build/basics/third-thing.md")
    assert book.doit("check:basics/third-thing").returncode == 0


def test_killed_at_random_moments(tmp_path: Path, built: dict[str, bytes]) -> None:
    """`kill -9`, twenty times: no half-written file, and the same bytes in the end."""
    rng = random.Random(0)
    book = SmallBook(tmp_path)
    # Each process group dies as a whole, as when a machine does.
    for _ in range(20):
        process = subprocess.Popen(
            book.command(), cwd=tmp_path, stdout=subprocess.DEVNULL, start_new_session=True
        )
        time.sleep(rng.uniform(0.2, 4.0))
        os.kill(process.pid, signal.SIGKILL)
        process.wait()
        for name, data in book.outputs().items():
            if name.endswith(".pdf"):
                assert data.startswith(b"%PDF") and b"%%EOF" in data[-64:], name
            elif name.endswith((".md", ".py", ".ipynb", ".svg")) and name != "README.md":
                assert is_intact(data.decode()), name
        if rng.random() < 0.2:  # begin anew, so that early moments are met as well
            for folder in (".cache", "build", "notebooks", "tests"):
                subprocess.run(["rm", "-rf", str(tmp_path / folder)], check=True)
    done = book.doit()
    assert done.returncode == 0, done.stdout
    assert book.outputs() == built


def test_malformed_notebook_is_named(book: SmallBook) -> None:
    book.write("notebooks/basics/first.ipynb", "{")
    said = book.doit("execute").stdout
    assert "notebooks/basics/first.ipynb:1: the generated file was edited by hand" in said
    (book.root / "notebooks/basics/first.ipynb").unlink()
    assert book.doit("execute").returncode == 0
    json.loads(book.read("notebooks/basics/first.ipynb"))


def test_source_runs_as_a_script(book: SmallBook) -> None:
    script = book.write("first.py", FIRST)
    done = subprocess.run(
        [book.command()[0], str(script)],
        capture_output=True,
        text=True,
        env={**os.environ, "MPLBACKEND": "agg"},
        check=True,
    )
    assert done.stdout == "8\n"
