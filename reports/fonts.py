"""Fonts of a report: matplotlib's own, which are the same everywhere, and for other scripts one of this machine."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from functools import cache
from pathlib import Path

import matplotlib as mpl
from matplotlib import font_manager
from matplotlib.ft2font import FT2Font

OWN = "DejaVu Sans"
MONO = "DejaVu Sans Mono"
FOLDER = Path(mpl.get_data_path()) / "fonts" / "ttf"
OTHERS = ("DroidSansFallbackFull.ttf", "DroidSansFallback.ttf", "wqy-microhei.ttc", "wqy-zenhei.ttc")
"""Files of fonts with Chinese characters that Debian and Ubuntu have, the first one that is there being used."""
BOLD = 700
PACKAGE = "fonts-droid-fallback"
"""Where scripts/packages.txt has them from."""


@cache
def other() -> Path | None:
    """Return the file of a font with the characters that `OWN` lacks; None where this machine has none that we know."""
    there = {Path(path).name: Path(path) for path in sorted(font_manager.findSystemFonts())}
    return next((there[name] for name in OTHERS if name in there), None)


def families() -> list[str]:
    """Return the families to set text in, matplotlib told of the one that is not its own."""
    path = other()
    if path is None:
        return [OWN]
    name, known = FT2Font(str(path)).family_name, font_manager.fontManager.ttflist
    if not any(entry.name == name and entry.weight == BOLD for entry in known):
        font_manager.fontManager.addfont(path)
        known.append(replace(known[-1], weight=BOLD))  # it has one weight, which stands for both
    return [OWN, name]


def folders() -> list[Path]:
    """Return the folders in which the typesetter finds them."""
    path = other()
    return [FOLDER] if path is None else [FOLDER, path.parent]


def missing(texts: Iterable[str]) -> str:
    """Return the characters of texts that no font of the report has, each once."""
    paths = [FOLDER / "DejaVuSans.ttf", *([found] if (found := other()) else [])]
    known = {code for path in paths for code in FT2Font(str(path)).get_charmap()}
    return "".join(sorted({char for text in texts for char in text if char.isprintable() and ord(char) not in known}))
