"""What visitors touch first: the graph, links to Colab, the index, changes and errata."""

from __future__ import annotations

import dataclasses

import pytest
from helpers import CHANGES, FIRST, INDEX, SECOND, book_of

from literate import changes, document, notebook, paths, readme, source, terms
from literate.book import Book
from literate.problem import Trouble
from literate.stored import NOTHING

COLAB = "https://colab.research.google.com/github/owner/book/blob/main/"
TOPICS = [
    source.parse(text, f"basics/{stem}", f"src/topics/basics/{stem}.py")
    for stem, text in (("first", FIRST), ("second", SECOND))
]


def book(repository: str = "") -> Book:
    made = book_of(*TOPICS)
    catalogue = dataclasses.replace(made.catalogue, repository=repository)
    return dataclasses.replace(made, catalogue=catalogue, versions={"matplotlib": "3.1"})


# ---- the graph


@pytest.mark.parametrize(
    ("arrows", "left"),
    [
        (["ab", "bc", "ac"], ["ab", "bc"]),
        (["ab", "ac", "bd", "cd", "ad"], ["ab", "ac", "bd", "cd"]),
        (["ad", "ab", "bc", "cd"], ["ab", "bc", "cd"]),
        (["ab", "cd"], ["ab", "cd"]),
        ([], []),
    ],
)
def test_arrows_that_a_longer_way_says_are_left_out(arrows: list[str], left: list[str]) -> None:
    assert readme.direct([(a, b) for a, b in arrows]) == [(a, b) for a, b in left]


# ---- Colab


@pytest.mark.parametrize(
    ("repository", "address"),
    [
        ("https://github.com/owner/book", f"{COLAB}notebooks/basics/first.ipynb"),
        ("https://github.com/owner/book.git", f"{COLAB}notebooks/basics/first.ipynb"),
        ("https://example.org/owner/book", ""),
        ("", ""),
    ],
)
def test_where_colab_opens_a_notebook(repository: str, address: str) -> None:
    assert paths.colab(repository, "basics/first") == address
    assert paths.colab(repository, "notebooks/lab").endswith("/notebooks/lab.ipynb" * bool(address))


def forms(made: Book) -> list[str]:
    second = TOPICS[1]
    return [
        "\n".join(readme.documents(made)),
        notebook.render(second, NOTHING, made, "axes.prop_cycle: cycler('color', ['0072B2'])"),
    ]


def test_links_to_colab_only_with_an_address() -> None:
    for text in forms(book("https://github.com/owner/book")):
        assert f"[{'O' if 'cells' in text else 'o'}pen in Colab]({COLAB}notebooks/" in text
    for text in [*forms(book()), document.render(TOPICS[1], NOTHING, book()).text]:
        assert "Colab" not in text and "github.com" not in text


def test_a_notebook_says_what_to_install() -> None:
    topic = dataclasses.replace(
        TOPICS[1], front=dataclasses.replace(TOPICS[1].front, packages=("matplotlib", "other"))
    )
    text = notebook.render(topic, NOTHING, book(), "")
    assert (
        "`pip install matplotlib other` (the outputs below were made with matplotlib 3.1)" in text
    )


# ---- the index of terms


def test_terms_are_sorted_as_a_reader_looks() -> None:
    text = "b-c: x/y#z\nÄpfel: x/y#z\nB a: x/y#z\n6ND: {see: b-c}\n"
    found = terms.parse(text)
    assert [term.words for term in found] == ["6ND", "Äpfel", "B a", "b-c"]
    assert [(letter, len(group)) for letter, group in terms.letters(found)] == [
        ("Signs", 1),
        ("A", 1),
        ("B", 2),
    ]


@pytest.mark.parametrize("value", ["nowhere", "x/y", "[x/y#z, 3]", "{see: 3}", "{go: b, see: c}"])
def test_a_term_without_a_place(value: str) -> None:
    with pytest.raises(Trouble) as trouble:
        terms.parse(f"a: x/y#z\nword: {value}\n")
    assert str(trouble.value) == (
        "src/index.yaml:2: the term 'word' has no place"
        " — write part/topic#heading, a list of them, or {see: other term}"
    )


def test_sections_hold_their_subsections() -> None:
    topic = source.parse(
        FIRST.replace("# See @fig-line.", "# ### Below\n#\n# Deep.\n#\n# ## After\n#\n# Late."),
        "basics/first",
        "first.py",
    )
    found = terms.sections(topic)
    assert "Deep." in found["doubling"] and "Deep." in found["below"]
    assert "Late." not in found["doubling"] and "Late." in found["first"]
    assert "return 2 * x" in found["doubling"]  # code speaks of terms too


def test_the_index_page() -> None:
    text = terms.page(terms.load(INDEX, book()), book())
    assert "- **doubling**: [First](basics/first.md#doubling)" in text
    assert "- times two: see *doubling*" in text
    assert "[D](#d) · [F](#f) · [T](#t)" in text


def test_two_places_in_one_topic_say_which() -> None:
    found = terms.load("a: [basics/first#doubling, basics/first#first]\n", book())
    assert "[First (Doubling)](basics/first.md#doubling), [First (First)](" in terms.page(
        found, book()
    )


def test_the_index_as_typst() -> None:
    made = terms.typst(terms.load(INDEX, book()), book())
    assert '("D", (("doubling", (<basics-first--doubling>, ), ""),))' in made
    assert '("times two", (), "doubling")' in made


# ---- changes and errata


def test_changes_newest_first_and_corrections_before_the_rest() -> None:
    text = changes.page(changes.load(CHANGES, book()), book())
    lines = [line for line in text.split("\n") if line.startswith(("## ", "- "))]
    assert lines == [
        "## 2026-02-01",
        "- **Corrected** in [First](basics/first.md): Twice three is six.",
        "- **Changed** in [Second](basics/second.md): A shorter proof.",
        "## 2026-01-01",
        "- **Added**: The first two topics.",
    ]


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("soon:\n  - {added: book, what: x}\n", "'soon' is not a day with entries"),
        ("2026-01-01: later\n", "'2026-01-01' is not a day with entries"),
        ("2026-01-01:\n  - {added: book}\n", "an entry of 2026-01-01 is incomplete"),
        (
            "2026-01-01:\n  - {added: book, changed: book, what: x}\n",
            "an entry of 2026-01-01 is incomplete",
        ),
    ],
)
def test_changes_that_are_none(text: str, said: str) -> None:
    with pytest.raises(Trouble) as trouble:
        changes.parse(text)
    assert str(trouble.value).startswith(f"src/changes.yaml:1: {said} — write ")


def test_a_day_that_is_none_is_named_by_its_own_line() -> None:
    with pytest.raises(Trouble) as trouble:
        changes.parse(CHANGES + "2026-13-45:\n  - {added: book, what: x}\n")
    line = CHANGES.count("\n") + 1
    assert str(trouble.value).startswith(f"src/changes.yaml:{line}: malformed YAML, month must be")
