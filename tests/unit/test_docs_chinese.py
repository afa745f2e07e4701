"""A page in Chinese says what its English one says, as far as a machine can tell.

Section by section they have the same statements, proofs, formulas, numbers, figures, tables and sources.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Mapping
from pathlib import Path

import pytest

DOCS = Path(__file__).parents[2] / "docs"
PAIRS = ("theory", "related-work")
RELATION = re.compile(r"[=≤<≥]")
LABEL = re.compile(r"\([A-Z]\)")


def sections(name: str) -> Mapping[str, str]:
    """The text of a page by the numbers of its sections; what stands before the first is under none, the sources last.

    Only the headings of sections may have no number, and of these there is one, that of the sources.
    """
    text = (DOCS / name).read_text(encoding="utf-8")
    parts = re.split(r"^## (?:(\d+)\. )?.*$", text, flags=re.MULTILINE)
    return {number or "sources": body for number, body in zip(["start", *parts[1::2]], parts[::2], strict=True)}


def statements(text: str) -> list[str]:
    """The numbers of the statements in the order in which they are made."""
    return re.findall(r"\*\*(?:命题 )?(T\d+)\.?\*\*", text)


def formulas(text: str) -> list[str]:
    """The formulas that stand on lines of their own, with their labels; words beside them are left out."""
    lines = re.findall(r"^ {4,}(\S.*)$", text, re.MULTILINE)
    pieces = [piece.rstrip(".,:; ") for line in lines for piece in re.split(r" {3,}", line)]
    return [piece for piece in pieces if RELATION.search(piece) or LABEL.fullmatch(piece)]


def figures(text: str) -> list[str]:
    return re.findall(r"!\[.*?\]\((.*?)\)", text)


def numbers(text: str) -> Counter[str]:
    """How often each number is said that is written in digits."""
    return Counter(re.findall(r"(?<![A-Za-z0-9_.])\d+(?:[.,]\d+)*", text))


def named(text: str) -> Counter[str]:
    """What is said in the words of the code: commands, policies, parameters, files."""
    return Counter(re.findall(r"`([^`\n]+)`", text))


def tables(text: str) -> list[int]:
    """The number of cells of each row of each table."""
    return [line.count("|") for line in text.splitlines() if line.startswith("|")]


def proofs(text: str) -> int:
    return text.count("∎")


@pytest.mark.parametrize("name", PAIRS)
@pytest.mark.parametrize(
    "told", [statements, formulas, figures, numbers, named, tables, proofs], ids=lambda told: told.__name__
)
def test_both_languages_say_the_same_section_by_section(name: str, told: Callable[[str], object]) -> None:
    english, chinese = sections(f"{name}.md"), sections(f"{name}.zh.md")
    assert list(english) == list(chinese)
    for number in english:
        if number not in ("start", "sources"):
            assert told(chinese[number]) == told(english[number]), f"section {number}"


@pytest.mark.parametrize("name", PAIRS)
def test_both_languages_have_the_same_sources(name: str) -> None:
    english, chinese = (sections(page)["sources"] for page in (f"{name}.md", f"{name}.zh.md"))
    for text in (english, chinese):
        count = len(re.findall(r"^\d+\. ", text, re.MULTILINE))
        assert re.findall(r"^(\d+)\. ", text, re.MULTILINE) == [str(number + 1) for number in range(count)]
    years = [re.findall(r"\b(?:19|20)\d\d\b", text) for text in (english, chinese)]
    assert Counter(years[0]) == Counter(years[1])


@pytest.mark.parametrize("name", PAIRS)
def test_the_readme_links_a_chapter_in_both_languages(name: str) -> None:
    readme = (DOCS.parent / "README.md").read_text(encoding="utf-8")
    assert all(f"](docs/{page})" in readme for page in (f"{name}.md", f"{name}.zh.md"))


def test_a_formula_that_differs_is_found() -> None:
    assert formulas("so\n\n    a = b + c,   but not so,   d ≤ e.      (W)\n") == ["a = b + c", "d ≤ e", "(W)"]
    assert formulas("- which\n\n      x < 1,\n") == ["x < 1"]
    assert numbers("0.9ᵏ, 5 % of T16 and 587.5") == Counter(["0.9", "5", "587.5"])
