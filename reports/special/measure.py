"""What special figures measure a policy by: normalised performance where there is an unconstrained trial."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pandas as pd
from matplotlib.axes import Axes

from reports import bounds, noise, statistics, strip, summary
from reports.findings import Findings
from reports.language import phrase
from reports.study import UNCONSTRAINED, Study

NORMALISED = "share of the unconstrained performance"


def is_share(found: Findings) -> bool:
    """Whether the numbers of `blocks_of` are shares of what unconstrained memory gives."""
    return found.study.bound(UNCONSTRAINED) is not None


def measure_of(found: Findings) -> str:
    """Say what the numbers of `blocks_of` are."""
    return phrase(NORMALISED) if is_share(found) else phrase("speed-up over {}", found.study.baseline)


def blocks_of(part: Study) -> pd.DataFrame:
    """Return a row a block and label: geometric mean, worst guest and Jain's index of p, or else of the speed-ups."""
    against = bounds.normalised(part) or part
    frame = summary.per_block(against)
    return frame[frame["label"] != against.baseline] if against is not part else frame


def estimates(found: Findings, column: str) -> pd.DataFrame:
    """Return one row a label and level: the median over blocks of a column of `blocks_of`, with its interval."""
    rows = []
    for part in found.study.parts:
        frame = blocks_of(part)
        for label in found.study.labels:
            estimate = statistics.median_interval(frame.loc[frame["label"] == label, column])
            rows.append((part.level, label, estimate.median, estimate.low, estimate.high, estimate.n))
    frame = pd.DataFrame(rows, columns=["level", "label", "median", "low", "high", "n"])
    return frame.assign(experiment=found.study.name, backend=found.study.backend)


def noise_at(study: Study, level: float, *, worst: bool = False) -> float:
    """Return how many times the baseline's geometric mean, or any guest, differed from itself at a level.

    1 where that is not known, as in the simulator: then nothing but the numbers themselves tells a difference.
    """
    if study.again.empty:
        return 1.0
    bands = noise.bands(study if math.isnan(level) else study.at(level))
    found = bands.widest if worst else bands.mean
    return 1.0 if math.isnan(found) else found


def draw_noise(axes: Axes, found: Findings) -> None:
    """Draw the band of the A/A test, the widest of any level, where the y axis has ratios over the baseline."""
    if is_share(found):
        return
    bands = [noise.bands(part).mean for part in found.study.parts]
    strip.across(axes, max([band for band in bands if not math.isnan(band)], default=math.nan), "y", axes.get_ylim())


def noise_told(found: Findings) -> str:
    """Return what a caption says of the strip that `draw_noise` draws."""
    return "" if is_share(found) else strip.explained(found.study)


@dataclass(frozen=True, slots=True, kw_only=True)
class Crossing:
    """Where a line first falls below a value; `at` is NaN where it never does."""

    at: float
    first: float
    """The least place on the axis that is known."""
    last: float


def falls_below(x: Sequence[float], y: npt.ArrayLike, value: float, *, logarithmic: bool = False) -> Crossing:
    """Find where a line through points first goes below a value, between the points along a straight line."""
    places, heights = np.asarray(x, dtype=float), np.asarray(y, dtype=float)
    known = ~np.isnan(heights)
    places, heights = places[known], heights[known]
    if not len(places):
        return Crossing(at=np.nan, first=np.nan, last=np.nan)
    first, last = float(places[0]), float(places[-1])
    below = np.flatnonzero(heights < value)
    if not len(below):
        return Crossing(at=np.nan, first=first, last=last)
    if below[0] == 0:
        return Crossing(at=first, first=first, last=last)
    scale = np.log(places) if logarithmic else places
    i = int(below[0])
    at = np.interp(value, [heights[i], heights[i - 1]], [scale[i], scale[i - 1]])
    return Crossing(at=float(np.exp(at) if logarithmic else at), first=first, last=last)
