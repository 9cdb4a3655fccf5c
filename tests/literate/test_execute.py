"""What a topic may do to its kernel, each with the whole text of what is said."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from literate import execute, kernels, notebook, source
from literate.limits import GIGABYTE, Limits
from literate.problem import Trouble

STYLE = (Path(__file__).parents[2] / "src/literate/book.mplstyle").read_text()
HEAD = "# ---\n# title: First\n# summary: x\n# seconds: 1\n# ---\n\n# %% [markdown]\n# # First\n\n"
PATH = "src/topics/basics/first.py"
LIMITS = Limits(patience=3, memory=4 * GIGABYTE, output=100_000, start=60)


@pytest.fixture(scope="module")
def warm() -> Iterator[kernels.WarmParent]:
    parent = kernels.WarmParent(["numpy", "matplotlib"])
    yield parent
    parent.close()


def run(body: str, warm: kernels.WarmParent | None, limits: Limits = LIMITS) -> execute.Executed:
    topic = source.parse(HEAD + body, "basics/first", PATH)
    return execute.execute(topic, STYLE, "stamp", warm, limits)


def complaint(body: str, warm: kernels.WarmParent | None) -> str:
    """The first line of what is said, which is the part a person acts on."""
    with pytest.raises(Trouble) as caught:
        run(body, warm)
    return str(caught.value).split("\n")[0]


def test_outputs_and_values(warm: kernels.WarmParent) -> None:
    body = "# %%\nx = 6\nprint(x)\n\n# %% [markdown]\n# It is `{python} x * 7` and `{python} x`.\n"
    stored = run(body, warm).stored
    assert [output["text"] for output in stored.outputs[0]] == ["6\n"]
    assert stored.values == ((), ("42", "6"))


def test_forked_and_new_kernels_agree(warm: kernels.WarmParent) -> None:
    body = """# %%
#| label: fig-a
#| fig-cap: A.
#| fig-alt: B.
import matplotlib.pyplot as plt
import numpy as np

rng = np.random.default_rng(0)
fig, ax = plt.subplots()
ax.plot(rng.normal(size=5))

# %%
import warnings

print(np.random.rand(), {"a", "b"})
warnings.warn("watch out")
"""
    assert run(body, warm).stored == run(body, None).stored


def test_runs_in_an_empty_folder(warm: kernels.WarmParent) -> None:
    stored = run('# %%\nimport os\n\nprint(os.listdir("."))\n', warm).stored
    assert stored.outputs[0][0]["text"] == "[]\n"


def test_cell_that_raises(warm: kernels.WarmParent) -> None:
    body = "# %%\ndef f(x):\n    y = x\n    return 1 / y\n\n# %%\nf(0)\n"
    expected = f"{PATH}:13: the cell raises ZeroDivisionError: division by zero — mend the code"
    assert complaint(body, warm) == expected


def test_traceback_follows_without_library_frames(warm: kernels.WarmParent) -> None:
    with pytest.raises(Trouble) as caught:
        run("# %%\nimport numpy as np\n\nnp.ones(2) @ np.ones(3)\n", warm)
    text = str(caught.value)
    assert "np.ones(2) @ np.ones(3)" in text and "site-packages" not in text


def test_inline_value_that_raises(warm: kernels.WarmParent) -> None:
    body = "# %% [markdown]\n# Fine.\n# It is `{python} nothing`.\n"
    assert complaint(body, warm) == (
        f"{PATH}:12: the inline value raises NameError: name 'nothing' is not defined"
        " — mend the expression"
    )


def test_cell_that_never_ends(warm: kernels.WarmParent) -> None:
    assert complaint("# %%\nwhile True:\n    pass\n", warm) == (
        f"{PATH}:11: the cell does not end within 3 s"
        " — make it shorter, or raise `seconds` in the front matter"
    )


def test_cell_that_kills_its_kernel(warm: kernels.WarmParent) -> None:
    body = "# %%\nimport os\n\nos.kill(os.getpid(), 9)\n"
    expected = (
        f"{PATH}:11: the cell ended its kernel — find what exits, crashes or exhausts memory there"
    )
    assert complaint(body, warm) == expected
    assert complaint(body, None) == expected


def test_cell_that_exhausts_memory(warm: kernels.WarmParent) -> None:
    body = "# %%\nx = bytearray(10 * 2**30)\n"
    expected = f"{PATH}:11: the cell exhausts its memory limit of 4 GB — use less"
    assert complaint(body, warm) == expected


def test_cell_that_prints_too_much(warm: kernels.WarmParent) -> None:
    body = '# %%\nfor _ in range(100):\n    print("x" * 10**6)\n'
    expected = f"{PATH}:11: the cell prints more than 100,000 characters — print less"
    assert complaint(body, warm) == expected


def test_cell_that_reads_standard_input(warm: kernels.WarmParent) -> None:
    expected = f"{PATH}:11: the cell reads standard input — a topic runs unattended: use a constant"
    assert complaint('# %%\nname = input("Name? ")\n', warm) == expected


def test_missing_package(warm: kernels.WarmParent) -> None:
    assert complaint("# %%\nimport no_such_package\n", warm) == (
        f"{PATH}:11: No module named 'no_such_package'"
        " — install it: pip install -e '.[execute]', and name it in `packages`"
    )


def test_kernel_that_does_not_start(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(kernels.sys, "executable", "/bin/false")
    expected = (
        f"{PATH}: the kernel did not start"
        " — install the packages for executing: pip install -e '.[execute]'"
    )
    assert complaint("# %%\nx = 1\n", kernels.WarmParent()) == expected
    assert complaint("# %%\nx = 1\n", None) == expected


EXERCISE = """# %%
def halve(x):
    ### BEGIN SOLUTION
    return x / {divisor}
    ### END SOLUTION

# %% tags=["test"]
def test_halve():
    {test}

# %%
print("after")
"""


def test_exercise_is_proven_and_shown_unsolved(warm: kernels.WarmParent) -> None:
    stored = run(EXERCISE.format(divisor=2, test="assert halve(4) == 2"), warm).stored
    assert [[o["text"] for o in outputs] for outputs in stored.outputs] == [
        [],
        ["test_halve: not yet\n"],
        ["after\n"],
    ]


def test_solution_that_fails_its_test(warm: kernels.WarmParent) -> None:
    body = EXERCISE.format(divisor=3, test="assert halve(4) == 2")
    expected = (
        f"{PATH}:18: the solution fails its test, AssertionError — mend the solution or the test"
    )
    assert complaint(body, warm) == expected


def test_a_test_that_fails_is_named(warm: kernels.WarmParent) -> None:
    body = (
        '# %% tags=["test"]\ndef test_one():\n    assert True\n\n\n'
        "def test_two():\n    assert 1 == 2\n"
    )
    assert complaint(body, warm) == (
        f"{PATH}:16: test_two fails, AssertionError — mend the code or the test"
    )


def test_stub_that_already_passes(warm: kernels.WarmParent) -> None:
    body = EXERCISE.format(divisor=2, test="assert callable(halve)")
    assert complaint(body, warm) == (
        f"{PATH}:11: the exercise's stub already passes its test"
        " — make a test that needs the solution"
    )


def test_no_kernel_is_left_behind(warm: kernels.WarmParent) -> None:
    stored = run("# %%\nimport os\n\nprint(os.getpid())\n", warm).stored
    pid = re.findall(r"\d+", stored.outputs[0][0]["text"])[0]
    assert not Path(f"/proc/{pid}").exists()


@pytest.mark.parametrize(
    ("answer", "said"),
    [
        ("return x / 2", "test_halve: correct\n"),
        ("raise NotImplementedError", "test_halve: not yet\n"),
        ("return x", "test_halve: wrong, AssertionError at\n    assert halve(3) == 1.5\n"),
        ("return 1 / 0", "test_halve: wrong, ZeroDivisionError: division by zero at\n"),
    ],
)
def test_the_checker_says_how_far_an_answer_is(
    answer: str, said: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    code = f"def halve(x):\n    {answer}\n\n\ndef test_halve():\n    assert halve(3) == 1.5\n"
    file = tmp_path / "cell.py"
    file.write_text(code)
    names: dict[str, object] = {}
    exec(compile(notebook.CHECKER + "\n", "checker", "exec"), names)
    exec(compile(code, str(file), "exec"), names)
    exec("check_answer(test_halve)", names)
    assert capsys.readouterr().out.startswith(said)
