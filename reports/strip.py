"""The band of the A/A test in a figure of ratios: a strip around 1 within which nothing is a difference."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes

from reports import noise, style, words
from reports.language import phrase
from reports.study import Study

LOOK: Any = {"color": style.BAND, "linewidth": 0, "zorder": 0.5}
"""Above the shade of what is worse, below everything else."""


def across(axes: Axes, band: float, which: str, limits: tuple[float, float]) -> None:
    """Draw one band over a whole axis of ratios, `x` or `y`, within its limits; nothing where it is not known."""
    if math.isnan(band):
        return
    low, high = np.clip([1 / band, band], *limits)
    (axes.axvspan if which == "x" else axes.axhspan)(low, high, **LOOK)


def along(
    axes: Axes,
    rows: pd.DataFrame,
    column: str,
    limits: tuple[float, float],
    *,
    gain: bool = False,
    width: float | None = None,
) -> None:
    """Draw the band of every level of a sweep; as a gain in percent, or each level's for itself so wide, on request."""
    mine = rows.drop_duplicates("level").sort_values("level")
    band = mine[column].to_numpy(dtype=float)
    if np.isnan(band).all():
        return
    low, high = (100 * (1 / band - 1), 100 * (band - 1)) if gain else (1 / band, band)
    low, high = np.clip(low, *limits), np.clip(high, *limits)
    if len(mine) == 1:
        axes.axhspan(float(low[0]), float(high[0]), **LOOK)
    elif width is not None:
        axes.bar(mine["level"], high - low, width, low, **LOOK)
    else:
        axes.fill_between(mine["level"].to_numpy(dtype=float), low, high, **LOOK)


def explained(study: Study, whose: str = "", around: str = f"1{words.TIMES}") -> str:
    """Return what a caption says of the strip, and whose band it is; empty where the baseline did not run twice."""
    counts = [noise.bands(part).n for part in study.parts]
    if not any(counts):
        return ""
    at = phrase("{}, {}", around, whose) if whose else around
    return phrase(
        " Grey strip around {}: as far as {} lay from itself at most, in the {} in which it ran "
        "twice; an interval that reaches into it is no difference.",
        at,
        noise.repeated(study),
        _blocks(counts),
    )


def _blocks(counts: Sequence[int]) -> str:
    least, most = min(counts), max(counts)
    each = words.counted(most, "block") if least == most else phrase("{} to {} blocks", least, most)
    return each if len(counts) == 1 else phrase("{} of a level", each)
