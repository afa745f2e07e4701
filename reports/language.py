"""In which language a report speaks: English in the sources, any other from a catalogue beside the templates.

A phrase is looked up where it is said, in the language of the report that is being made, and only then are the data
put into it. So no function hands a language on, and no name that somebody gave is ever translated. What the experiments
claim and vary that come with Ballast has a catalogue of its own; that of anybody's own experiment stays as it is.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from functools import cache
from pathlib import Path

import yaml

ENGLISH = "en"
STOP = "\N{IDEOGRAPHIC FULL STOP}"
_START, _END = "\N{START OF TEXT}", "\N{END OF TEXT}"
_SEAM = re.compile(f"{_END} {_START}?| {_START}")
"""Where data that were put into a phrase are parted from it by a blank."""
_current: ContextVar[str] = ContextVar("language", default=ENGLISH)


class LanguageError(ValueError):
    """No such language, or a phrase that its catalogue lacks."""


@contextmanager
def applied(language: str) -> Iterator[None]:
    """Speak a language within the block.

    Raises:
        LanguageError: there is no catalogue of it.

    """
    if language not in languages():
        raise LanguageError(f"no report in {language!r}; choose one of: {', '.join(languages())}")
    token = _current.set(language)
    try:
        yield
    finally:
        _current.reset(token)


def current() -> str:
    """Return the language that is spoken."""
    return _current.get()


def languages() -> tuple[str, ...]:
    """Return every language that a report can be in."""
    found = sorted(path.name.split(".")[1] for path in Path(__file__).parent.glob("phrases.*.yml"))
    return (ENGLISH, *found)


def phrase(english: str, *data: object) -> str:
    """Return an English phrase in the language that is spoken, with data in place of its braces.

    The blank at the edge of a phrase parts it from its neighbour, which only English wants.

    Raises:
        LanguageError: the catalogue lacks it.

    """
    if current() == ENGLISH:
        return english.format(*data)
    try:
        text = catalogue(current())[english.strip()]
    except KeyError:
        raise LanguageError(f"phrases.{current()}.yml lacks: {english.strip()}") from None
    put = text.format(*(f"{_START}{one}{_END}" if isinstance(one, str) else one for one in data))
    return _SEAM.sub(_between, put).replace(_START, "").replace(_END, "")


def given(text: str) -> str:
    """Return what an experiment says, in the language that is spoken where that is known of it, else as it is."""
    return text if current() == ENGLISH else catalogue(current(), "experiments").get(text, text)


def sentence(text: str) -> str:
    """Return a text with one full stop at its end, of its own script."""
    return text.rstrip(".") + (STOP if any(unicodedata.east_asian_width(char) in "WF" for char in text) else ".")


def phrases(*english: str) -> list[str]:
    """Return several phrases, such as the head of a table."""
    return [phrase(one) for one in english]


def joined(sentences: Sequence[str]) -> str:
    """Return sentences one after the other; those of Chinese need no blank between them."""
    return (" " if current() == ENGLISH else "").join(sentences)


@cache
def catalogue(language: str, of: str = "phrases") -> Mapping[str, str]:
    """Return the phrases of a language by the English ones; `of` what, in the name of the file.

    YAML folds what is broken over lines with a blank, which does not belong between two Chinese characters.

    Raises:
        LanguageError: a phrase is there twice.

    """
    name = f"{of}.{language}.yml"
    found: dict[str, str] = {}
    for entry in yaml.safe_load(Path(__file__).with_name(name).read_text(encoding="utf-8")):
        if entry["en"] in found:  # the later would silently stand for both
            raise LanguageError(f"{name} has twice: {entry['en']}; two meanings need two phrases")
        found[entry["en"]] = unfolded(entry[language])
    return found


def unfolded(text: str) -> str:
    """Return a text without the blanks next to a wide character, but for those before Latin letters and digits."""
    return "".join(
        char
        for place, char in enumerate(text)
        if char != " " or not _wide(text[place - 1 : place] + text[place + 1 :][:1])
    )


def _between(seam: re.Match[str]) -> str:
    """A blank between two wide characters, of which one came with the data, does not belong there either."""
    return "" if _wide(seam.string[seam.start() - 1 : seam.start()] + seam.string[seam.end() :][:1]) else " "


def _wide(neighbours: str) -> bool:
    """Whether a blank between these does not belong there: both are wide, or one is a full stop, comma and the like."""
    wide = [char for char in neighbours if unicodedata.east_asian_width(char) in "WF"]
    return len(wide) == 2 or any(unicodedata.category(char).startswith("P") for char in wide)
