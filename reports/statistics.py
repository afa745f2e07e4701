"""The statistics of the report: paired ratios, exact intervals, fairness, tests. SciPy does the arithmetic.

Two kinds of interval, both exact at any number of values and both without a distribution assumed:

- of a median: from one order statistic to another, by the binomial law of the sign test (`median_interval`);
- of paired values, ratios or differences: what Wilcoxon's signed-rank test does not refuse, from one Walsh average to
  another (`ratio_interval`, `difference_interval`; Hollander, Wolfe, Chicken 2014, section 3.3). The order within a
  block is drawn by chance, so where two policies do not differ a pair is as likely the one way round as the other,
  which is all that this test supposes.

With five values the widest such interval, from the smallest to the largest, holds the middle in 1 - 2·2⁻⁵ = 93.75 % of
all cases; with six in 96.9 %. So there is none of 95 % below six.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache, reduce
from typing import Any

import numpy as np
import numpy.typing as npt
from scipy import stats

FloatArray = npt.NDArray[np.float64]

ENOUGH = 6
"""Observations needed for a result; with fewer no interval of 95 % exists, and the report speaks of an observation."""
CONFIDENCE = 0.95
ALPHA = 1 - CONFIDENCE
TIE = 1e-9
"""Relative difference up to which two numbers are the same: far above what rounding makes of one (1e-16 an operation),
far below what any clock or counter here resolves."""
STOPPED = 1e9
"""Stands for the logarithm of what stopped (0) and of its opposite: beyond that of every other ratio."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Estimate:
    """A median with its 95 % interval; NaN where the data do not allow one."""

    median: float
    low: float
    high: float
    n: int
    """Values that are known."""
    observations: int
    """Of these, the ones that count: the same block simulated twice is one (`distinct`)."""
    method: str
    """How the interval was made: `order statistics`, `signed rank`, or `none`."""

    @property
    def enough(self) -> bool:
        """Whether this is a result; otherwise it is an observation."""
        return self.observations >= ENOUGH


def speedups(value: npt.ArrayLike, base: npt.ArrayLike, better: str) -> FloatArray:
    """Return how many times better each value is than its baseline: value / base, or base / value when lower is better.

    Unknown stays unknown (NaN), as does 0 / 0; work that came to a stop is 0, a baseline that did is infinity. What
    lies within `TIE` of 1 is 1: a tie, and no gain for how it was rounded.
    """
    first, second = np.asarray(value, dtype=float), np.asarray(base, dtype=float)
    over, under = (second, first) if better == "lower" else (first, second)
    with np.errstate(divide="ignore", invalid="ignore"):
        return tied(over / under)


def tied(ratios: npt.ArrayLike) -> FloatArray:
    """Return ratios, those within `TIE` of 1 as 1."""
    data = np.asarray(ratios, dtype=float)
    return np.where(np.abs(data - 1) <= TIE, 1.0, data)


def distinct(values: npt.ArrayLike) -> FloatArray:
    """Return the values, ascending, without those that repeat another within `TIE`; NaN left out.

    Work that stopped (0) and its opposite are kept each time: that both stopped does not say that they were the same.
    """
    data = np.sort(_known(values))
    new = np.ones(data.size, dtype=bool)
    with np.errstate(invalid="ignore"):
        new[1:] = ~(np.diff(data) <= TIE * np.abs(data[1:])) | (data[1:] == 0) | np.isinf(data[1:])
    return data[new]


def median_interval(values: npt.ArrayLike) -> Estimate:
    """Return the median and its exact interval from one order statistic to another, NaN left out."""
    data = _known(values)
    if data.size < ENOUGH:
        return _without(data)
    test: Any = stats.quantile_test(data, q=0, p=0.5)  # which the stubs take for plain numbers
    found = test.confidence_interval(CONFIDENCE)
    return _estimate(data, float(found.low), float(found.high), data.size, "order statistics")


def ratio_interval(ratios: npt.ArrayLike, *, once: bool = False) -> Estimate:
    """Return the median of paired ratios and the interval of Wilcoxon's signed-rank test on their logarithms.

    With `once`, ratios that repeat another count once: simulated blocks that are the same are one observation.
    """
    data = _known(ratios)
    counted = distinct(data) if once else data
    if counted.size < ENOUGH:
        return _without(data, counted.size)
    ends = _walsh_interval(logarithms(counted))
    with np.errstate(over="ignore"):
        low, high = np.exp(ends)
    return _estimate(data, float(tied(low)), float(tied(high)), counted.size, "signed rank")


def difference_interval(differences: npt.ArrayLike) -> Estimate:
    """Return the median of paired differences and the interval of Wilcoxon's signed-rank test, NaN left out."""
    data = _known(differences)
    if data.size < ENOUGH or not np.isfinite(data).all():
        return _without(data)
    return _estimate(data, *_walsh_interval(data), data.size, "signed rank")


def logarithms(ratios: npt.ArrayLike) -> FloatArray:
    """Return the logarithms of ratios; those of 0 and infinity are the outermost finite ones."""
    with np.errstate(divide="ignore"):
        return np.clip(np.log(_known(ratios)), -STOPPED, STOPPED)


def walsh_averages(values: npt.ArrayLike) -> FloatArray:
    """Return the means of all pairs, each value with itself too, ascending; n values give n (n + 1) / 2."""
    data = np.asarray(values, dtype=float)
    first, second = np.triu_indices(data.size)
    return np.sort((data[first] + data[second]) / 2)


@lru_cache
def signed_rank_cdf(n: int) -> FloatArray:
    """Return P(W ≤ w), w = 0 … n (n + 1) / 2, of the signed-rank statistic of n values without an effect.

    Each rank counts or does not, with the same chance: the generating function is the product of (1 + z^r) / 2.
    """
    factors = (np.r_[0.5, np.zeros(rank - 1), 0.5] for rank in range(1, n + 1))
    return np.asarray(np.cumsum(reduce(np.convolve, factors, np.ones(1))), dtype=float)


def blocks_needed(comparisons: int) -> int:
    """Return the fewest blocks that can show a difference among so many comparisons, 2·2⁻ⁿ each at the least."""
    return max(ENOUGH, math.ceil(math.log2(2 * max(1, comparisons) / ALPHA)))


def _walsh_interval(data: FloatArray) -> tuple[float, float]:
    averages = walsh_averages(data)
    left_out = int(np.searchsorted(signed_rank_cdf(data.size), ALPHA / 2, side="right"))
    return float(averages[left_out - 1]), float(averages[averages.size - left_out])


def _without(data: FloatArray, observations: int | None = None) -> Estimate:
    """The estimate of values that allow no interval."""
    median = float(np.median(data)) if data.size else math.nan
    counted = data.size if observations is None else observations
    return Estimate(median=median, low=math.nan, high=math.nan, n=data.size, observations=counted, method="none")


def _estimate(data: FloatArray, low: float, high: float, observations: int, method: str) -> Estimate:
    median = float(np.median(data))
    # Of very uneven values the median can lie outside what the signed ranks hold: no interval leaves out its estimate.
    ends = min(low, median), max(high, median)
    return Estimate(median=median, low=ends[0], high=ends[1], n=data.size, observations=observations, method=method)


def deviations(ratios: npt.ArrayLike) -> FloatArray:
    """Return how far ratios lie from 1, the same for a ratio and its inverse: max(r, 1/r) - 1; NaN left out."""
    data = _known(ratios)
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


def geometric_mean(values: npt.ArrayLike) -> float:
    """Return the geometric mean; 0 when any value is 0, NaN when there is none or any is unknown."""
    data = np.asarray(values, dtype=float)
    if data.size == 0 or np.isnan(data).any():
        return math.nan
    return 0.0 if (data == 0).any() else float(tied(stats.gmean(data)))


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
    data = distinct(ratios) if once else _known(ratios)
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


def _known(values: npt.ArrayLike) -> FloatArray:
    data = np.asarray(values, dtype=float)
    return np.asarray(data[~np.isnan(data)], dtype=float)
