"""The statistics of the report: paired ratios, exact intervals, fairness, tests. SciPy does the arithmetic.

Two kinds of interval, both exact at any number of values and both without a distribution assumed:

- of a median: from one order statistic to another, by the binomial law of the sign test (`median_interval`);
- of paired values, ratios or differences: what Wilcoxon's signed-rank test does not refuse (`ratio_interval`,
  `difference_interval`). A run looks at these too while it may still go on, so they are in `harness.statistics`.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
from scipy import stats

from harness.statistics import (
    ALPHA,
    CONFIDENCE,
    ENOUGH,
    STOPPED,
    TIE,
    Estimate,
    FloatArray,
    distinct,
    estimate,
    geometric_mean,
    known,
    logarithms,
    ratio_interval,
    signed_rank_cdf,
    speedups,
    tied,
    walsh_averages,
    walsh_interval,
    without,
)

__all__ = [
    "ALPHA",
    "CONFIDENCE",
    "ENOUGH",
    "STOPPED",
    "TIE",
    "Estimate",
    "FloatArray",
    "PairedTest",
    "band",
    "blocks_needed",
    "deviations",
    "difference_interval",
    "distinct",
    "estimate",
    "geometric_mean",
    "holm",
    "jain",
    "known",
    "logarithms",
    "median_interval",
    "ratio_interval",
    "side",
    "signed_rank_cdf",
    "speedups",
    "tied",
    "walsh_averages",
    "walsh_interval",
    "wilcoxon",
    "without",
]


def median_interval(values: npt.ArrayLike) -> Estimate:
    """Return the median and its exact interval from one order statistic to another, NaN left out."""
    data = known(values)
    if data.size < ENOUGH:
        return without(data)
    test: Any = stats.quantile_test(data, q=0, p=0.5)  # which the stubs take for plain numbers
    found = test.confidence_interval(CONFIDENCE)
    return estimate(data, float(found.low), float(found.high), data.size, "order statistics")


def difference_interval(differences: npt.ArrayLike) -> Estimate:
    """Return the median of paired differences and the interval of Wilcoxon's signed-rank test, NaN left out."""
    data = known(differences)
    if data.size < ENOUGH or not np.isfinite(data).all():
        return without(data)
    return estimate(data, *walsh_interval(data), data.size, "signed rank")


def blocks_needed(comparisons: int) -> int:
    """Return the fewest blocks that can show a difference among so many comparisons, 2·2⁻ⁿ each at the least."""
    return max(ENOUGH, math.ceil(math.log2(2 * max(1, comparisons) / ALPHA)))


def deviations(ratios: npt.ArrayLike) -> FloatArray:
    """Return how far ratios lie from 1, the same for a ratio and its inverse: max(r, 1/r) - 1; NaN left out."""
    data = known(ratios)
    with np.errstate(divide="ignore"):
        return np.asarray(np.maximum(data, 1 / data) - 1, dtype=float)


def band(ratios: npt.ArrayLike) -> float:
    """Return how many times ratios lie from 1 at most, exp(max |ln r|); the band is [1/b, b]. NaN where there is none.

    The range of what was seen, not an interval of confidence: of n pairs the largest.
    """
    away = deviations(ratios)
    return 1 + float(away.max()) if away.size else math.nan


def side(low: float, high: float, band: float = math.nan, around: float = 1.0) -> int:
    """Return 1 where an interval lies above the band around a value, -1 where below, 0 where it reaches into it.

    A band that is not known (NaN) is the value alone. What touches the band within `TIE` reaches into it.
    """
    times = (1.0 if math.isnan(band) else band) * (1 + TIE)
    return 1 if low > around * times else -1 if high < around / times else 0


def jain(values: npt.ArrayLike) -> float:
    """Return Jain's fairness index (Σp)² / (n Σp²): 1 when all fare alike, 1/n when one has everything."""
    data = np.asarray(values, dtype=float)
    if data.size == 0 or not np.isfinite(data).all() or not data.any():
        return math.nan
    return float(data.sum() ** 2 / (data.size * (data**2).sum()))


@dataclass(frozen=True, slots=True, kw_only=True)
class PairedTest:
    """Wilcoxon's signed-rank test of the ratios against a value."""

    p: float
    """Two-sided and exact; at most 0.05 just where the 95 % interval leaves out the value."""
    effect: float
    """Matched-pairs rank-biserial correlation: 1 when every pair is better, -1 when every pair is worse."""


def wilcoxon(ratios: npt.ArrayLike, *, around: float = 1.0, once: bool = False) -> PairedTest:
    """Test whether paired ratios lie around a value, on their logarithms; NaN with fewer than `ENOUGH` observations.

    A Walsh average that is no more than a tie counts for neither side, so that ties never make a difference.
    """
    data = distinct(ratios) if once else known(ratios)
    if data.size < ENOUGH:
        return PairedTest(p=math.nan, effect=math.nan)
    averages = walsh_averages(logarithms(data) - math.log(around))
    above, below = int((averages > TIE).sum()), int((averages < -TIE).sum())
    tail = signed_rank_cdf(data.size)[averages.size - max(above, below)]
    return PairedTest(p=min(1.0, 2 * float(tail)), effect=(above - below) / averages.size)


def holm(p_values: Sequence[float], size: int | None = None) -> list[float]:
    """Return p values adjusted for how many were asked for (Holm 1979): all that are known, or `size` if given.

    NaN values stay NaN.
    """
    p = np.asarray(p_values, dtype=float)
    adjusted = np.full(p.size, math.nan)
    order = np.flatnonzero(~np.isnan(p))[np.argsort(p[~np.isnan(p)], kind="stable")]
    steps = p[order] * (max(size or 0, order.size) - np.arange(order.size))
    adjusted[order] = np.minimum(np.maximum.accumulate(steps), 1.0) if order.size else steps
    return [float(value) for value in adjusted]
