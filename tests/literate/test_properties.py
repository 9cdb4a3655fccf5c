"""What holds for any text, and for every real topic."""

from __future__ import annotations

import re
from pathlib import Path

import cmarkgfm
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from literate import common, document, prose, readme, source, stamp
from literate.build import Builder
from literate.catalogue import parse

ROOT = Path(__file__).parents[2]
SOURCES = sorted((ROOT / "src/topics").rglob("*.py"))
# Formulas as authors write them: no dollars inside, no space at the ends.
TEX = st.text(r"abxyQK_^{}\, +=()[]123&|*!;:'<>~", min_size=1, max_size=30).filter(
    lambda tex: tex.strip() == tex and not tex.endswith("\\")
)
PLAIN = st.text(st.characters(exclude_characters="$\r\x0b\x0c\x1c\x1d\x1e\x85\u2028\u2029"))


@given(st.text(st.characters(exclude_characters="\r")))
def test_scanning_loses_nothing(text: str) -> None:
    assert prose.unscan(prose.scan(text)) == text


@given(PLAIN)
def test_text_without_mathematics_is_lowered_unchanged(text: str) -> None:
    assert document.lower(text) == text


@given(TEX, st.booleans())
def test_any_formula_survives(tex: str, display: bool) -> None:
    text = f"Before\n\n$$\n{tex}\n$$\n\nafter" if display else f"Before (${tex}$) after"
    found = [s for s in prose.scan(text) if isinstance(s, prose.Math)]
    assert [math.tex for math in found] == [tex]
    lowered = document.lower(text)
    body = f"```math\n{tex}\n```" if display else f"$`{' '.join(tex.split())}`$"
    assert lowered == text.replace(f"$$\n{tex}\n$$" if display else f"${tex}$", body)
    assert document.lower(lowered) == lowered


@given(TEX.filter(lambda tex: "`" not in tex and "<" not in tex))
@settings(max_examples=50)
def test_github_keeps_a_lowered_formula(tex: str) -> None:
    """GitHub's own Markdown pass hands the formula on as it is."""
    lowered = document.lower(f"Before (${tex}$) after")
    shown = cmarkgfm.github_flavored_markdown_to_html(lowered)
    escaped = " ".join(tex.split()).replace("&", "&amp;").replace(">", "&gt;")
    assert f"$<code>{escaped}</code>$" in shown


@given(st.lists(st.sampled_from(["Same", "same", "Other!", "a b", "A-b"]), max_size=8))
def test_anchors_are_unique_but_for_collisions_github_has_too(titles: list[str]) -> None:
    slugs = prose.Slugs()
    assert len([slugs(title) for title in titles]) == len(titles)


@given(st.lists(st.sampled_from(["x = 1", "# remark", "", "y = 'a # b'", "z = f'{x}'"])))
def test_remarks_and_blank_lines_do_not_count(lines: list[str]) -> None:
    code = [line for line in lines if line and not line.startswith("#")]
    assert stamp.without_comments("\n".join(lines)) == "\n".join(code)


def test_blank_lines_within_strings_count() -> None:
    code = 'x = """a\n\n# b\n"""  # remark\n\ny = 1'
    assert stamp.without_comments(code) == 'x = """a\n\n# b\n"""\ny = 1'


@pytest.mark.parametrize("file", SOURCES, ids=lambda file: f"{file.parent.name}/{file.stem}")
def test_every_topic_round_trips(file: Path) -> None:
    """Each cell stands in the file where it says, and scans without loss."""
    path = file.relative_to(ROOT).as_posix()
    name = f"{file.parent.name}/{file.stem}"
    text = source.decode(file.read_bytes(), path)
    lines = text.split("\n")
    for cell in source.parse(text, name, path).cells:
        for offset, expected in enumerate(cell.text.split("\n")):
            line = lines[cell.line - 1 + offset]
            shown = line.removeprefix("#").removeprefix(" ") if cell.kind == "markdown" else line
            assert shown.rstrip() == expected.rstrip(), f"{path}:{cell.line + offset}"
        if cell.kind == "markdown":
            assert prose.unscan(prose.scan(cell.text)) == cell.text
        elif cell.is_exercise:
            assert "raise NotImplementedError" in common.stub(cell.text)
            assert "SOLUTION" not in common.solved(cell.text)


# Every arrow of the design's dependency graph, as (what comes first, what needs it).
DESIGNED = """
math-foundations/linear-algebra neural-networks/perceptron
neural-networks/perceptron neural-networks/multilayer-networks
neural-networks/perceptron neural-networks/backpropagation
neural-networks/multilayer-networks neural-networks/backpropagation
math-foundations/calculus neural-networks/backpropagation
math-foundations/probability training/loss-functions
math-foundations/optimization training/optimizers
neural-networks/backpropagation training/optimizers
training/loss-functions training/optimizers
training/optimizers neural-networks/activation-functions
math-foundations/information-theory neural-networks/activation-functions
neural-networks/activation-functions architectures/cnns
neural-networks/activation-functions neural-networks/regularization
architectures/cnns architectures/rnns
architectures/rnns architectures/lstms
architectures/lstms architectures/sequence-to-sequence
architectures/lstms transformers/attention
neural-networks/regularization transformers/attention
architectures/sequence-to-sequence transformers/attention
transformers/attention transformers/self-attention
transformers/self-attention transformers/multi-head-attention
transformers/multi-head-attention transformers/transformer-architecture
transformers/transformer-architecture transformers/bert
transformers/transformer-architecture transformers/gpt
transformers/bert modern-llms/pretraining
transformers/gpt modern-llms/pretraining
modern-llms/pretraining modern-llms/fine-tuning
modern-llms/pretraining modern-llms/rlhf
modern-llms/pretraining modern-llms/instruction-tuning
modern-llms/fine-tuning modern-llms/efficient-adaptation
modern-llms/rlhf modern-llms/efficient-adaptation
modern-llms/instruction-tuning modern-llms/efficient-adaptation
modern-llms/efficient-adaptation modern-llms/inference
"""


def test_graph_has_every_edge_of_the_design() -> None:
    catalogue = parse((ROOT / "src/catalogue.yaml").read_text())
    builder = Builder(ROOT)
    needs = {
        (prerequisite.topic, name)
        for name in catalogue.topics
        for prerequisite in builder.topic(name).front.prerequisites
    }
    missing = {tuple(line.split()) for line in DESIGNED.split("\n") if line} - needs
    assert not missing
    drawn = (ROOT / "README.md").read_text()
    for line in DESIGNED.split("\n"):
        if line:
            start, end = line.split()
            assert f"{readme._node(start)} --> {readme._node(end)}" in drawn
    arrows = re.findall(r"^  (\w+) --> (\w+)$", drawn, re.M)
    for start, end in sorted(needs):
        if "notebooks/" not in end:  # by one arrow or by a longer way
            reached = {readme._node(start)}
            while more := {b for a, b in arrows if a in reached} - reached:
                reached |= more
            assert readme._node(end) in reached, (start, end)
