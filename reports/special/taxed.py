"""What experiments that vary the tax have in common: the labels that have one, and the estimates over it."""

from __future__ import annotations

from collections.abc import Sequence

import pandas as pd
from matplotlib.axes import Axes

from reports import style, sweep
from reports.findings import Findings
from reports.language import phrase
from reports.special.measure import estimates

AXIS = "tax on idle memory"


def over_tax(found: Findings, column: str) -> pd.DataFrame:
    """Return the estimates of the labels that were set up with a tax, ordered by level and tax."""
    frame = estimates(found, column)
    taxes = {label: found.study.parameter(label, "tax") for label in found.study.contestants}
    frame["tax"] = frame["label"].map(taxes).astype(float)
    return frame[frame["tax"].notna()].sort_values(["level", "tax"], kind="stable").reset_index(drop=True)


def lines(axes: Axes, frame: pd.DataFrame, axis: str) -> None:
    """Draw one line a level over the tax."""
    levels = [float(level) for level in frame["level"].dropna().unique()]
    looks = style.looks(["", *(f"{level:g}" for level in levels)])
    for level in levels or [float("nan")]:
        mine = frame[frame["level"] == level] if levels else frame
        look = looks[f"{level:g}"] if levels else looks[""]
        sweep.line(axes, mine, ("median", "low", "high"), look, x="tax")
    axes.set_xlabel(phrase(AXIS))
    _legend(axes, levels, axis)


def _legend(axes: Axes, levels: Sequence[float], axis: str) -> None:
    if levels:
        axes.legend(title=style.shortened(axis, 34), fontsize=7.5, title_fontsize=7.5)
