"""Chapters and books as typst and as PDF; formulas as typst."""

from __future__ import annotations

import re
import shutil
import subprocess
from pathlib import Path

import pytest

from literate import formula, typeset
from literate.problem import Trouble
from literate.typeset import Book, Chapter, Part, to_typst

PATH = "src/topics/transformers/attention.py"
PREFIX = "transformers-attention"
BIB = "src/references.bib"

BIBLIOGRAPHY = """
@article{lin2024a, author={Lin, Ada and Ode, Bo}, title={On rows}, journal={J}, year={2024}}
@book{roe1999, author={Roe, Cy}, title={Columns}, publisher={Press}, year={1999}}
"""
SVG = """<svg xmlns="http://www.w3.org/2000/svg" width="200" height="80">
<rect width="200" height="80" fill="#0072B2"/></svg>
"""

CHAPTER = r"""
# Attention {#attention}

$$
\boxed{A = \text{softmax}\left(\frac{QK^\top}{\sqrt{d_k}}\right) V}
$$

Rows [@lin2024a; @roe1999, chap. 2] matter; see [softmax](#softmax) and
[entropy]{.xref topic="math-foundations/probability" slug="entropy"}.[^1]

[^1]: A footnote with $x^2$.

<!-- dropped -->

::: {.front}
Prerequisites: [Probability]{.xref topic="math-foundations/probability" slug=""}.
:::

## 1. Core {#1-core}

### Softmax {#softmax}

| name | formula | code |
|------|---------|------|
| dot | $q \cdot k$ | `q @ k` |

::: {.meaning}
**What this means:** an average.
:::

```python
def attention(Q, K, V):
    # a comment
    return softmax(Q @ K.T / np.sqrt(K.shape[-1])) @ V
```

```{.output}
[[0.09 0.91]]
```

::: {.figure #fig-weights file=".cache/fig.svg" alt="A blue \"box\"."}
The weights for $d_k = 2$.
:::

As []{.figref target="fig-weights"} shows.

::: {.callout kind="warning"}
A masked row gives `nan`.
:::

> quoted

- a list
  - nested

---

## Exercises {#exercises}

### Exercise 1 (check): rows {#exercise-1-check-rows}

How many rows?

::: {.solution exercise="exercise-1-check-rows"}
As many as queries, see []{.figref target="fig-weights"}.
:::

## Summary {#summary}

All of it.
"""

PROBABILITY = """
# Probability {#probability}

## Entropy {#entropy}

Text.
"""


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """A repository with two chapters, converted, and a bibliography."""
    (tmp_path / "src").mkdir()
    (tmp_path / ".cache").mkdir()
    (tmp_path / BIB).write_text(BIBLIOGRAPHY)
    (tmp_path / ".cache/fig.svg").write_text(SVG)
    write(tmp_path, "attention", CHAPTER, PREFIX)
    write(tmp_path, "probability", PROBABILITY, "math-foundations-probability")
    return tmp_path


def write(root: Path, stem: str, markdown: str, prefix: str = PREFIX) -> None:
    made = to_typst(markdown, path=PATH, prefix=prefix)
    (root / f".cache/{stem}.typ").write_text(made.main)
    (root / f".cache/{stem}-solutions.typ").write_text(made.solutions)


def chapter(stem: str, part: str = "transformers") -> Chapter:
    files = f".cache/{stem}.typ", f".cache/{stem}-solutions.typ"
    return Chapter(f"{part}/{stem}", stem.title(), *files)


def topic(root: Path, stem: str = "attention", keywords: str = "") -> bytes:
    return typeset.topic_pdf(chapter(stem), root=root, bibliography=BIB, keywords=keywords)


def book(root: Path) -> bytes:
    parts = (
        Part("Foundations", "What comes first.", (chapter("probability", "math-foundations"),)),
        Part("Transformers", "What comes then.", (chapter("attention"),)),
    )
    made = Book("Learning", "A subtitle", ("A. Author",), parts)
    return typeset.book_pdf(made, root=root, bibliography=BIB, keywords="digest:0123")


def body(markdown: str, prefix: str = PREFIX) -> str:
    main = to_typst(markdown, path=PATH, prefix=prefix).main
    return re.sub(r"\n+", "\n", main.removeprefix(typeset.IMPORT)).strip()


def text_of(pdf: bytes, tmp_path: Path) -> str:
    if not shutil.which("pdftotext"):
        pytest.skip("pdftotext is not installed")
    (tmp_path / "made.pdf").write_bytes(pdf)
    command = ["pdftotext", "-layout", str(tmp_path / "made.pdf"), "-"]
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout


def problem(markdown: str) -> str:
    with pytest.raises(Trouble) as trouble:
        to_typst(markdown, path=PATH, prefix=PREFIX)
    return str(trouble.value)


def pages(pdf: bytes) -> int:
    found = re.search(rb"<xmpTPg:NPages>(\d+)", pdf)
    assert found
    return int(found[1])


# ---- markdown → typst


@pytest.mark.parametrize(
    ("markdown", "typst"),
    [
        ("## Softmax {#softmax}", f"== Softmax\n<{PREFIX}--softmax>"),
        (
            "# Attention {#attention}",
            f"= Attention\n<{PREFIX}>\n#metadata(none)<{PREFIX}--attention>",
        ),
        ("# Notation", f"= Notation\n<{PREFIX}>"),
        ("[x](#softmax)", f"#link(<{PREFIX}--softmax>)[x];"),
        ("[x](https://a.b/c)", '#link("https://a.b/c")[x];'),
        ("[x](other.py)", "x"),
        ("[x *y*]{.xref topic='a/b' slug='c'}", "#xref(<a-b--c>)[x #emph[y]];"),
        ("[x]{.xref topic='a/b' slug=''}", "#xref(<a-b>)[x];"),
        ("[]{.figref target='fig-x'}", f"#figref(<{PREFIX}--fig-x>);"),
        ("[@a]", '#cite(label("a"));'),
        ("@a says", '#cite(label("a"), form: "prose"); says'),
        (
            "[see @a, sec. 3; @b]",
            'see #cite(label("a"), supplement: [sec.~3]);#cite(label("b"));',
        ),
        ("a <!-- b --> c", "a c"),
        ("a\n\n---\n\nb", "a\nb"),
        ("a\n- b", "a\n- b"),
        ("```python\nx = 1\n```", "```python\nx = 1\n```"),
        ("```{.output}\n1\n```", "```output\n1\n```"),
        ("::: {.front}\na\n:::", "#front[\na\n]"),
        ("::: {.meaning}\na\n:::", "#meaning(breakable: false)[\na\n]"),
        (
            "::: {.callout kind='tip'}\na\n:::",
            '#callout("tip", breakable: false)[\na\n]',
        ),
        (
            "::: {.figure #fig-x file='f.svg' alt='A \"b\".'}\nCap.\n:::",
            f'#figure(image("/f.svg", alt: "A \\"b\\"."), caption: [\nCap.\n]) <{PREFIX}--fig-x>',
        ),
        ("$x$", '#tex("x", $x$);'),
        ("$\\boxed{x}$", '#tex("\\\\boxed{x}", $#boxed($x$)$);'),
        ("$$\nx\n= y\n$$", '#tex("x = y", $ x = y $);'),
        ("$$\n\\boxed{x}\n$$", '#keyeq("\\\\boxed{x}", $ x $);'),
    ],
)
def test_constructs(markdown: str, typst: str) -> None:
    assert body(markdown) == typst


def test_solutions_leave_the_chapter_and_keep_links_both_ways() -> None:
    made = to_typst(CHAPTER, path=PATH, prefix=PREFIX)
    label = f"{PREFIX}--exercise-1-check-rows"
    assert "As many as queries" not in made.main
    assert f"=== Exercise 1 (check): rows#to-solution(<{label}--solution>);" in made.main
    head = f"#solution-head(<{label}>, <{label}--solution>)[Exercise 1 (check): rows];"
    assert head in made.solutions
    assert "As many as queries" in made.solutions


def test_an_exercise_of_its_own_keeps_a_link_in_place() -> None:
    markdown = "::: {.exercise #e1}\nHow?\n:::\n\n::: {.solution exercise='e1'}\nSo.\n:::"
    label = f"{PREFIX}--e1"
    assert body(markdown) == (
        f"#metadata(none)<{label}>\nHow?\n#align(right, to-solution(<{label}--solution>))"
    )


def test_solutions_of_one_exercise_share_a_heading() -> None:
    one = "::: {.solution exercise='e'}\nSo.\n:::\n\n"
    made = to_typst("### Exercise 1 {#e}\n\n" + one * 2, path=PATH, prefix=PREFIX)
    assert made.solutions.count("#solution-head(") == 1
    assert made.solutions.count("So.") == 2


def test_a_chapter_without_solutions_has_none() -> None:
    assert to_typst(PROBABILITY, path=PATH, prefix="p").solutions == ""


def test_tables_get_widths_only_if_they_are_wide() -> None:
    small = body("| a | b |\n|---|---|\n| `x` | $y$ |")
    assert small.startswith("#tabular(small: true, wide: false)[")
    assert "columns: 2," in small
    words = "many words that go on " * 6
    wide = body(f"| a | b |\n|---|---|\n| x | {words} |")
    assert wide.startswith("#tabular(small: true, wide: true)[")
    shares = re.search(r"columns: \(([\d.]+)%, ([\d.]+)%\)", wide)
    assert shares
    assert float(shares[1]) < 15
    assert body("| a |\n|---|\n" + "| x |\n" * 20).startswith("#tabular(small: false")


def test_formulas_that_cannot_be_set_are_all_named() -> None:
    assert problem("$\\foo{x}$ and $|x|$") == (
        f"{PATH}: a bare | has no side in the formula |x| — write \\lvert … \\rvert for a"
        " size, \\mid for “given”\n"
        f"{PATH}: the command \\foo cannot be set in the formula \\foo{{x}} — write it in"
        " another way"
    )


def test_pandoc_warnings_are_problems() -> None:
    assert problem("::: {.meaning}\ntext").startswith(
        f"{PATH}: pandoc warns — correct the text it names\n[WARNING]"
    )


# ---- typst → PDF


def test_topic_pdf(root: Path, tmp_path: Path) -> None:
    pdf = topic(root, keywords="digest:0123")
    assert b"<pdf:Keywords>digest:0123</pdf:Keywords>" in pdf
    assert b"/Title(1. Core)" in pdf
    assert b"pdfuaid" in pdf
    text = text_of(pdf, tmp_path)
    assert "(Lin and Ode 2024; Roe 1999, chap. 2)" in text
    assert "Figure 1" in text
    assert re.search(r"and\s+entropy\.", text)  # no link: the topic is not in this PDF
    order = ["Summary", "Solutions", "As many as queries", "References", "Roe, Cy. 1999."]
    places = [text.rindex(words) for words in order]
    assert places == sorted(places)
    assert "dropped" not in text


def test_book_pdf(root: Path, tmp_path: Path) -> None:
    pdf = book(root)
    assert b"<pdf:Keywords>digest:0123</pdf:Keywords>" in pdf
    text = text_of(pdf, tmp_path)
    assert re.search(r"entropy\s+\(p\. 4\)", text)  # a link with its page
    assert "Figure 2.1" in text
    assert "Chapter 2" in text
    contents = text.split("\f")[1]
    rows = ["Foundations", "1 Probability", "Transformers", "2 Attention", "Solutions"]
    places = [contents.index(row) for row in [*rows, "References"]]
    assert places == sorted(places)
    assert pages(pdf) == 9


def test_a_topic_without_citations_has_no_references(root: Path, tmp_path: Path) -> None:
    assert "References" not in text_of(topic(root, "probability"), tmp_path)


def test_the_same_bytes_twice(root: Path) -> None:
    assert topic(root) == topic(root)
    assert book(root) == book(root)


def test_long_lines_stay_on_the_page(root: Path, tmp_path: Path) -> None:
    lines = "x" * 88 + "\n" + "y" * 200 + "\n" + "z z " * 40
    write(root, "long", f"# Long\n\n```python\n{lines}\n```\n\n```{{.output}}\n{lines}\n```")
    text = text_of(topic(root, "long"), tmp_path)
    assert max(len(line.strip()) for line in text.split("\n")) <= 92
    assert "x" * 88 + "\n" in text.replace("\u200b", "")


@pytest.mark.parametrize(
    ("markdown", "message"),
    [
        ("A smile 😀.", "no font of the PDF has a glyph for 😀 — write it in another way"),
        (
            "[x](#nowhere)",
            "there is no heading or figure #nowhere — correct the link or the reference",
        ),
        (
            "[]{.figref target='fig-no'}",
            "there is no heading or figure #fig-no — correct the link or the reference",
        ),
        (
            "[@nobody2020]",
            "unknown citation key 'nobody2020' — correct the key or add the entry to"
            " src/references.bib",
        ),
        (
            "### Too deep",
            "skipped from heading level 1 to 3 — use the level between them",
        ),
    ],
)
def test_errors_name_the_topic(root: Path, markdown: str, message: str) -> None:
    write(root, "attention", f"# A\n\n{markdown}")
    for compile_ in (topic, book):
        with pytest.raises(Trouble) as trouble:
            compile_(root)
        first = str(trouble.value).split("\n")[0]
        shift = {"1 to 3": "2 to 4"} if compile_ is book else {}
        for before, after in shift.items():
            message = message.replace(before, after)
        assert first == f"{PATH}: {message}"


# ---- formulas


@pytest.mark.parametrize(
    ("tex", "typst"),
    [
        (r"QK^\top/\sqrt{d_k}", r"Q attach(K, t: ⊤) \/ sqrt(attach(d, b: k))"),
        (r"\text{F}(x)", r'"F"\( x \)'),
        (r"\lvert x \rvert", r'class("opening", \|) x class("closing", \|)'),
        (r"\left\lVert x \right\rVert", "lr(‖ x ‖)"),
        (r"\left. x \right|_{0}", r'attach(lr(""x \|), b: 0)'),
        (r"\bigl( x", r'class("opening", lr(size: #1.2em, \()) x'),
        (r"x_i^2 + x''_j", "attach(x, t: 2, b: i) + attach(x, t: primes(#2), b: j)"),
        (r"\frac12", "frac(1, 2)"),
        (r"1{,}000", r'1 class("normal", \,) 000'),
        (r"a \overset{!}{=} b", r'a class("relation", attach(limits(=), t: \!)) b'),
        (r"\underset{k}{\arg\max}", "attach(limits(op(arg max)), b: k)"),
        (r"\mathrm{KL} + \mathrm{d}x", '"KL"+ upright(d) x'),
        (r"\mathbf{W}\boldsymbol{\theta}", "upright(bold(W)) bold(θ)"),
        (r"1, \dots, n + \dots + m", r"1 \, … \, n + ⋯ + m"),
        (r"\begin{bmatrix} 1 & \\ 3 & 4 \end{bmatrix}", 'display(mat(delim: "[", 1, ""; 3, 4))'),
        (
            r"\begin{cases} a & b \\ c & d \end{cases}",
            'mat(delim: #("{", none), align: #left, a, b; c, d)',
        ),
        (r"\begin{aligned} a &= b \\[4pt] &= c \end{aligned}", "a & = b \\\n & = c"),
        (r"\begin{aligned} a &= b & c &= d \end{aligned}", "a & = b & #h(2em) c & = d"),
    ],
)
def test_formulas(tex: str, typst: str) -> None:
    assert formula.to_typst(tex)[0] == typst


@pytest.mark.parametrize(
    ("tex", "message"),
    [
        (r"|x|", "a bare | has no side — write \\lvert … \\rvert for a size, \\mid for “given”"),
        (r"\|x\|", "the command \\| cannot be set — write \\lVert … \\rVert"),
        (
            r"\operatorname{f}",
            "the command \\operatorname cannot be set — write \\mathrm{…} or"
            " \\text{…}, GitHub refuses it",
        ),
        (r"\bm{x}", "the command \\bm cannot be set — write \\boldsymbol{…}, GitHub refuses it"),
        (
            r"a \\ b",
            "the command \\\\ cannot be set — put the lines into \\begin{aligned} … \\end{aligned}",
        ),
        (r"\phantom{x}", "the command \\phantom cannot be set — write it in another way"),
        (
            r"\begin{align} a \end{align}",
            "the environment align cannot be set — use aligned, gathered, cases, array or a matrix",
        ),
        (
            r"\begin{array}{lr} a & b \end{array}",
            "the columns {lr} cannot be set — give all"
            " columns of the array the same letter: l, c or r",
        ),
        (
            r"\begin{cases} a \end{aligned}",
            "\\begin{cases} is closed by \\end{aligned} — give both the same name",
        ),
        (r"\text{if $x$}", "there is TeX inside \\text — end \\text before the formula goes on"),
        (
            r"x_i_j",
            "one symbol has two subscripts or superscripts — put braces around what the"
            " first one belongs to",
        ),
        (
            r"\left x \right)",
            "a delimiter is missing — put one behind \\left, \\right, \\middle and \\big",
        ),
        (r"\frac{a}", "an argument is missing — add it, in braces"),
        (r"{a", "a brace or an environment is not closed — close it"),
        (r"a & b", "there is a stray & — write \\& or remove it"),
        (r" ", "a formula is empty — write it or remove its dollars"),
    ],
)
def test_refused_formulas(tex: str, message: str) -> None:
    with pytest.raises(formula.Refused) as refused:
        formula.to_typst(tex)
    assert str(refused.value) == message


# Usual formulas of machine learning, one a line, all of which must compile.
FORMULAS = Path(__file__).with_name("formulas.txt")


def test_all_usual_formulas_compile() -> None:
    formulas = FORMULAS.read_text(encoding="utf-8").splitlines()
    assert len(formulas) > 150
    for tex in formulas:
        formula.to_typst(tex)
    assert pages(typeset.formula_sheet([(tex[:9], tex) for tex in formulas])) > 5


def test_the_sheet_shows_what_is_refused(tmp_path: Path) -> None:
    text = text_of(typeset.formula_sheet([("a.py:3", r"\\foo x")]), tmp_path)
    assert "a.py:3" in text
    assert "cannot be set" in text
