"""Exact intervals of paired ratios: what the report says, and by what a run that may go on sees that it has enough.

The interval of paired values is what Wilcoxon's signed-rank test does not refuse, from one Walsh average to another
(Hollander, Wolfe, Chicken 2014, section 3.3). The order within a block is drawn by chance, so where two policies do not
differ a pair is as likely the one way round as the other, which is all that this test supposes.

With five values the widest such interval, from the smallest to the largest, holds the middle in 1 - 2·2⁻⁵ = 93.75 % of
all cases; with six in 96.9 %. So there is none of 95 % below six.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import lru_cache, reduce

import numpy as np
import numpy.typing as npt

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
    data = np.sort(known(values))
    new = np.ones(data.size, dtype=bool)
    with np.errstate(invalid="ignore"):
        new[1:] = ~(np.diff(data) <= TIE * np.abs(data[1:])) | (data[1:] == 0) | np.isinf(data[1:])
    return data[new]


def ratio_interval(ratios: npt.ArrayLike, *, once: bool = False) -> Estimate:
    """Return the median of paired ratios and the interval of Wilcoxon's signed-rank test on their logarithms.

    With `once`, ratios that repeat another count once: simulated blocks that are the same are one observation.
    """
    data = known(ratios)
    counted = distinct(data) if once else data
    if counted.size < ENOUGH:
        return without(data, counted.size)
    ends = walsh_interval(logarithms(counted))
    with np.errstate(over="ignore"):
        low, high = np.exp(ends)
    return estimate(data, float(tied(low)), float(tied(high)), counted.size, "signed rank")


def logarithms(ratios: npt.ArrayLike) -> FloatArray:
    """Return the logarithms of ratios; those of 0 and infinity are the outermost finite ones."""
    with np.errstate(divide="ignore"):
        return np.clip(np.log(known(ratios)), -STOPPED, STOPPED)


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


def walsh_interval(data: FloatArray) -> tuple[float, float]:
    """Return the ends of the interval of paired differences, of which there are enough."""
    averages = walsh_averages(data)
    left_out = int(np.searchsorted(signed_rank_cdf(data.size), ALPHA / 2, side="right"))
    return float(averages[left_out - 1]), float(averages[averages.size - left_out])


def without(data: FloatArray, observations: int | None = None) -> Estimate:
    """Return the estimate of values that allow no interval."""
    median = float(np.median(data)) if data.size else math.nan
    counted = data.size if observations is None else observations
    return Estimate(median=median, low=math.nan, high=math.nan, n=data.size, observations=counted, method="none")


def estimate(data: FloatArray, low: float, high: float, observations: int, method: str) -> Estimate:
    """Return the estimate of values with these ends of its interval."""
    median = float(np.median(data))
    # Of very uneven values the median can lie outside what the signed ranks hold: no interval leaves out its estimate.
    ends = min(low, median), max(high, median)
    return Estimate(median=median, low=ends[0], high=ends[1], n=data.size, observations=observations, method=method)


def geometric_mean(values: npt.ArrayLike) -> float:
    """Return the geometric mean; 0 when any value is 0, NaN when there is none or any is unknown."""
    data = np.asarray(values, dtype=float)
    if data.size == 0 or np.isnan(data).any():
        return math.nan
    return 0.0 if (data == 0).any() else float(tied(np.exp(np.log(data).mean())))


def known(values: npt.ArrayLike) -> FloatArray:
    """Return the values without those that are not known (NaN)."""
    data = np.asarray(values, dtype=float)
    return np.asarray(data[~np.isnan(data)], dtype=float)
