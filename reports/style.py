"""How everything in the report looks: one palette, one set of sizes, one way to save a figure."""

from __future__ import annotations

import io
import textwrap
import unicodedata
import warnings
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import matplotlib as mpl
from matplotlib.figure import Figure

from reports import fonts

PAGE_IN = (8.27, 11.69)
"""A4, upright."""
TEXT_WIDTH_IN = 6.9

INK, QUIET, RULE, PAPER = "#1a1a1a", "#5f6368", "#c8ccd0", "#ffffff"
BAND = "#d3d8dc"
"""What the same policy shows against itself."""
PALETTE = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#7F6A00", "#000000")
"""Okabe and Ito 2008, told apart with every common kind of colour blindness; yellow darkened to be seen on white."""
MARKERS = ("o", "s", "^", "D", "v", "P", "X", "*")

ALLOCATED, USED, SWAPPED = "#1a1a1a", "#56B4E9", "#D55E00"
STATES: Mapping[str, tuple[str, str]] = {"ample": ("#9ad7c3", ""), "scarce": ("#f0b27a", "////")}
"""State → fill and hatching; the hatching carries the difference in black and white."""
OTHER_STATES = (("#cfe6f5", ".."), ("#eecbe0", "\\\\\\\\"), ("#f5e6a8", "xx"))
NO_STATE = ("#eeeeee", "")

SETTINGS: Any = {
    "axes.axisbelow": True,
    "axes.edgecolor": QUIET,
    "axes.grid": True,
    "axes.labelcolor": INK,
    "axes.labelsize": 8,
    "axes.linewidth": 0.6,
    "axes.spines.right": False,
    "axes.spines.top": False,
    "axes.titlesize": 8.5,
    "axes.titleweight": "bold",
    "figure.dpi": 100,
    "font.size": 8,
    "grid.color": "#e3e6e8",
    "grid.linewidth": 0.5,
    "hatch.linewidth": 0.4,
    "legend.fontsize": 8,
    "legend.frameon": False,
    "lines.linewidth": 1.2,
    "path.simplify": True,
    "pdf.fonttype": 42,  # text stays text: it can be searched and edited
    "savefig.dpi": 200,
    "svg.hashsalt": "ballast",  # the same figure gives the same bytes
    "text.color": INK,
    "text.parse_math": False,  # names are data: a dollar sign is a dollar sign
    "xtick.color": QUIET,
    "xtick.labelcolor": INK,
    "xtick.labelsize": 7.5,
    "ytick.color": QUIET,
    "ytick.labelcolor": INK,
    "ytick.labelsize": 7.5,
}

# Without these matplotlib writes the time and its own version into every file.
METADATA: Mapping[str, Mapping[str, Any]] = {
    "pdf": {"CreationDate": None, "ModDate": None},
    "png": {"Software": None},
    "svg": {"Date": None, "Creator": None},
}


@contextmanager
def applied() -> Iterator[None]:
    """Use this style, and only it, within the block."""
    with mpl.rc_context(), warnings.catch_warnings():
        mpl.rcdefaults()
        mpl.rcParams.update(SETTINGS | {"font.family": fonts.families()})
        # What no font here has is said once for the whole report (`fonts.missing`), not glyph by glyph.
        warnings.filterwarnings("ignore", message="Glyph .* missing from")
        yield


def colours(labels: Sequence[str]) -> dict[str, str]:
    """Return a colour for every label; the baseline, which comes first, is grey."""
    return {label: QUIET if place == 0 else PALETTE[(place - 1) % len(PALETTE)] for place, label in enumerate(labels)}


def markers(names: Sequence[str]) -> dict[str, str]:
    """Return a marker for every name."""
    return {name: MARKERS[place % len(MARKERS)] for place, name in enumerate(names)}


def looks(labels: Sequence[str]) -> dict[str, dict[str, Any]]:
    """Return colour, marker and line of every label, told apart even where there are more labels than colours."""
    tints = colours(labels)
    return {
        label: {
            "color": tints[label],
            "marker": MARKERS[(place + place // len(MARKERS)) % len(MARKERS)],
            "linestyle": ("-", "--", ":")[place // len(MARKERS) % 3],
            "label": label,
        }
        for place, label in enumerate(labels)
    }


def states(found: Sequence[str]) -> dict[str, tuple[str, str]]:
    """Return fill and hatching of every state."""
    others = [state for state in found if state and state not in STATES]
    chosen = {state: OTHER_STATES[place % len(OTHER_STATES)] for place, state in enumerate(others)}
    return {state: STATES.get(state) or chosen.get(state, NO_STATE) for state in found}


def save(figure: Figure, path: Path, kind: str) -> None:
    """Write a figure as `pdf`, `png` or `svg` without anything that changes from day to day."""
    figure.savefig(path.with_name(f"{path.name}.{kind}"), format=kind, metadata=dict(METADATA[kind]))


def svg(figure: Figure) -> str:
    """Return a figure as SVG without anything that changes from day to day."""
    image = io.StringIO()
    figure.savefig(image, format="svg", metadata=dict(METADATA["svg"]))
    return image.getvalue()


def shortened(text: str, most: int) -> str:
    """Return text of at most so many Latin characters' width, the middle left out."""
    if width(text) <= most:
        return text
    head, tail = "", ""
    for first, last in zip(text, reversed(text), strict=True):
        if width(head + first + tail) >= most:
            break
        head += first
        if width(head + last + tail) >= most:
            break
        tail = last + tail
    return f"{head}…{tail}"


def wrapped(text: str, most: int) -> str:
    """Return text in two lines at most, each of so many Latin characters' width; what is more is left out."""
    head, *rest = textwrap.wrap(text, most) if width(text) == len(text) else [text]
    return "\n".join(shortened(part, most) for part in (head, " ".join(rest)) if part)


def width(text: str) -> int:
    """Return how wide a text is about, in Latin characters: a Chinese one is as wide as two."""
    return sum(2 if unicodedata.east_asian_width(char) in "WF" else 1 for char in text)
