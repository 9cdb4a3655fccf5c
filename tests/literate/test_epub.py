"""The book as an EPUB: what a reading system opens."""

from __future__ import annotations

import posixpath
import re
import zipfile
from io import BytesIO
from pathlib import Path
from xml.etree import ElementTree

import pytest
from test_typeset import BIB, BIBLIOGRAPHY, CHAPTER, PROBABILITY, SVG

from literate import epub, paths
from literate.problem import Trouble
from literate.typeset import Book, Chapter, Part

INDEX = "# Index\n\n## E\n\n- **entropy**: [Probability](#math-foundations-probability--entropy)\n"
HTML = "{http://www.w3.org/1999/xhtml}"
MATH = "{http://www.w3.org/1998/Math/MathML}"


def made(root: Path, chapter: str = CHAPTER) -> bytes:
    texts = {"transformers/attention": chapter, "math-foundations/probability": PROBABILITY}
    for name, text in texts.items():
        file = root / paths.chapter_markdown(name)
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text)
    (root / "src").mkdir(exist_ok=True)
    (root / BIB).write_text(BIBLIOGRAPHY)
    (root / ".cache/fig.svg").write_text(SVG)
    parts = (
        Part(
            "Foundations", "What comes first.", (Chapter("math-foundations/probability", "", ""),)
        ),
        Part("Transformers", "What comes then.", (Chapter("transformers/attention", "", ""),)),
    )
    book = Book("Learning", "A subtitle", ("A. Author",), parts)
    return epub.epub(book, root=root, bibliography=BIB, index=INDEX, keywords="digest:0123")


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> dict[str, bytes]:
    with zipfile.ZipFile(BytesIO(made(tmp_path_factory.mktemp("book")))) as file:
        return {name: file.read(name) for name in file.namelist()}


@pytest.fixture(scope="module")
def pages(files: dict[str, bytes]) -> dict[str, ElementTree.Element]:
    names = [name for name in files if name.endswith(".xhtml")]
    return {name: ElementTree.fromstring(files[name]) for name in names}


def page_of(pages: dict[str, ElementTree.Element], id_: str) -> ElementTree.Element:
    return next(page for page in pages.values() if page.find(f".//*[@id='{id_}']") is not None)


def test_every_link_leads_to_something(pages: dict[str, ElementTree.Element]) -> None:
    ids = {
        f"{name}#{element.get('id')}"
        for name, page in pages.items()
        for element in page.iter()
        if element.get("id")
    }
    links = {
        posixpath.normpath(posixpath.join(posixpath.dirname(name), link.get("href", "")))
        if not link.get("href", "").startswith("#")
        else f"{name}{link.get('href')}"
        for name, page in pages.items()
        for link in page.iter(f"{HTML}a")
        if not link.get("href", "").startswith("http")
    }
    assert {link for link in links if "#" in link} <= ids
    assert {link for link in links if "#" not in link} <= set(pages)
    assert any("math-foundations-probability--entropy" in link for link in links)


def test_ids_are_unique_in_a_page(pages: dict[str, ElementTree.Element]) -> None:
    for name, page in pages.items():
        ids = [element.get("id") for element in page.iter() if element.get("id")]
        assert len(ids) == len(set(ids)), name


def test_all_files_are_listed(files: dict[str, bytes]) -> None:
    package = files["EPUB/content.opf"].decode()
    listed = {f"EPUB/{href}" for href in re.findall(r'<item [^>]*href="([^"]+)"', package)}
    assert listed == {name for name in files if name.startswith("EPUB/")} - {"EPUB/content.opf"}
    assert "<dc:language>en</dc:language>" in package
    assert "1970" in package and "digest:0123" in package


def test_mathematics_is_mathml(pages: dict[str, ElementTree.Element]) -> None:
    page = page_of(pages, "transformers-attention")
    formulas = list(page.iter(f"{MATH}math"))
    assert len(formulas) == 4
    assert all(formula.find(f".//{MATH}annotation") is not None for formula in formulas)


def test_the_key_equation_has_a_box(pages: dict[str, ElementTree.Element]) -> None:
    page = page_of(pages, "transformers-attention")
    boxes = page.findall(f".//{HTML}span[@class='keyeq']")
    assert len(boxes) == 1
    formula = boxes[0].find(f"{MATH}math")
    assert formula is not None and formula.find(f".//{MATH}menclose") is None
    assert formula.find(f".//{MATH}mfrac") is not None


def test_a_figure_has_its_number_and_words(pages: dict[str, ElementTree.Element]) -> None:
    page = page_of(pages, "transformers-attention")
    figure = page.find(f".//{HTML}figure")
    assert figure is not None and figure.get("id") == "transformers-attention--fig-weights"
    image, caption = figure.find(f".//{HTML}img"), figure.find(f".//{HTML}figcaption")
    assert image is not None and image.get("alt") == 'A blue "box".'
    assert caption is not None and "".join(caption.itertext()).startswith("Figure\u00a02.1. The")
    link = page.find(f".//{HTML}a[@href='#transformers-attention--fig-weights']")
    assert link is not None and link.text == "Figure\u00a02.1"


def test_solutions_stand_at_the_end_with_links_both_ways(
    pages: dict[str, ElementTree.Element],
) -> None:
    page = page_of(pages, "transformers-attention")
    exercise = "transformers-attention--exercise-1-check-rows"
    links = [link.get("href", "").partition("#")[2] for link in page.iter(f"{HTML}a")]
    assert f"{exercise}--solution" in links and exercise in links
    text = "".join(page.itertext())
    assert text.index("All of it.") < text.index("Solutions") < text.index("As many as queries")


def test_citations_lead_to_one_bibliography(pages: dict[str, ElementTree.Element]) -> None:
    text = "".join(page_of(pages, "transformers-attention").itertext())
    assert "(Lin and Ode 2024; Roe 1999, chap.\u00a02)" in text
    assert "Roe, Cy. 1999." in "".join(page_of(pages, "ref-roe1999").itertext())


def test_the_same_bytes_twice(tmp_path: Path) -> None:
    first = made(tmp_path)
    assert made(tmp_path) == first
    assert epub.keywords_of(first) == "digest:0123"


def test_keywords_of_something_else() -> None:
    assert epub.keywords_of(b"no zip") == ""


def test_a_formula_without_mathml(tmp_path: Path) -> None:
    with pytest.raises(Trouble) as trouble:
        made(tmp_path, CHAPTER + "\n$\\nosuchcommand{x}$\n")
    assert str(trouble.value) == (
        "build/machine-learning.epub: no MathML for the formula \\nosuchcommand{x}"
        " — write it with other commands"
    )
