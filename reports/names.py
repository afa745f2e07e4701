"""Names that TeX allows, of letters only, for what has names of any kind."""

from __future__ import annotations

import hashlib
import re
import unicodedata
from string import ascii_lowercase

LETTERS = 4
"""Enough: of ten setups of one experiment two have the same in one of 10,000 cases."""
NAME = 28
"""Letters of a macro's name that a label, a guest or an experiment takes."""
_DIGITS = ("Zero", "One", "Two", "Three", "Four", "Five", "Six", "Seven", "Eight", "Nine")


def letters(text: str) -> str:
    """Return four letters that stand for a text, the same ever and everywhere: `Kqpd`."""
    number, found = int.from_bytes(hashlib.sha256(text.encode()).digest()), ""
    for _ in range(LETTERS):
        number, place = divmod(number, 26)
        found += ascii_lowercase[place]
    return found.capitalize()


def camel(name: str) -> str:
    """Return a name as TeX allows it, letters only: `two-state` → `TwoState`, `tax 0.5` → `TaxZeroPointFive`.

    A letter that is not one of TeX's loses its accent. What has other letters, or more than `NAME`, ends in four that
    stand for all of it.
    """
    plain = "".join(_plain(char) for char in name)
    spelled = re.sub(r"(?<=\d)[.,](?=\d)", " point ", plain)
    spelled = re.sub(r"\d", lambda digit: f" {_DIGITS[int(digit.group())]} ", spelled)
    parts = re.findall(r"[A-Za-z]+", spelled)
    whole = "".join(part[0].upper() + part[1:] for part in parts)
    lost = any(char.isalnum() and not _plain(char).strip() for char in name)
    return whole[: NAME - LETTERS] + letters(name) if lost or len(whole) > NAME else whole


def _plain(char: str) -> str:
    if char.isascii():
        return char
    return "".join(part for part in unicodedata.normalize("NFKD", char) if part.isascii() and part.isalnum()) or " "
