"""The statistics of the report: paired ratios, medians with intervals, fairness, tests. SciPy does the arithmetic."""

from __future__ import annotations

import math
import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
import numpy.typing as npt
from scipy import stats

FloatArray = npt.NDArray[np.float64]

ENOUGH = 5
"""Pairs needed for a result; with fewer, the report speaks of an observation."""
CONFIDENCE = 0.95
RESAMPLES = 9999
SEED = 20260301
"""Seed of the bootstrap: the same data give the same interval."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Estimate:
    """A median with its 95 % interval; NaN where the data do not allow one."""

    median: float
    low: float
    high: float
    n: int
    method: str
    """How the interval was made: `BCa`, `percentile` where BCa does not exist, `constant`, or `none`."""

    @property
    def enough(self) -> bool:
        """Whether this is a result; otherwise it is an observation."""
        return self.n >= ENOUGH


def speedups(value: npt.ArrayLike, base: npt.ArrayLike, better: str) -> FloatArray:
    """Return how many times better each value is than its baseline: value / base, or base / value when lower is better.

    Unknown stays unknown (NaN), as does 0 / 0; work that came to a stop is 0, a baseline that did is infinity.
    """
    first, second = np.asarray(value, dtype=float), np.asarray(base, dtype=float)
    over, under = (second, first) if better == "lower" else (first, second)
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.asarray(over / under, dtype=float)


def median_interval(values: npt.ArrayLike) -> Estimate:
    """Return the median and its bias-corrected, accelerated bootstrap interval (Efron 1987), NaN left out."""
    return _interval(tuple(_known(values).tolist()))


@lru_cache(maxsize=10_000)
def _interval(values: tuple[float, ...]) -> Estimate:
    data = np.asarray(values, dtype=float)
    if data.size == 0:
        return Estimate(median=math.nan, low=math.nan, high=math.nan, n=0, method="none")
    median = float(np.median(data))
    if data.size == 1 or not np.isfinite(data).all():
        return Estimate(median=median, low=math.nan, high=math.nan, n=data.size, method="none")
    if np.ptp(data) == 0:
        return Estimate(median=median, low=median, high=median, n=data.size, method="constant")
    for method in ("BCa", "percentile"):
        with warnings.catch_warnings():
            # Few or repeated values can leave BCa without an acceleration; it then gives NaN, which is looked at below.
            warnings.simplefilter("ignore", stats.DegenerateDataWarning)
            warnings.simplefilter("ignore", RuntimeWarning)
            interval = stats.bootstrap(
                (data,), np.median, confidence_level=CONFIDENCE, n_resamples=RESAMPLES, method=method,
                rng=np.random.default_rng(SEED),
            ).confidence_interval  # fmt: skip
        low, high = float(interval.low), float(interval.high)
        if math.isfinite(low) and math.isfinite(high):
            break
    return Estimate(median=median, low=low, high=high, n=data.size, method=method)


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

    A band that is not known (NaN) is the value alone.
    """
    times = 1.0 if math.isnan(band) else band
    return 1 if low > around * times else -1 if high < around / times else 0


def geometric_mean(values: npt.ArrayLike) -> float:
    """Return the geometric mean; 0 when any value is 0, NaN when there is none or any is unknown."""
    data = np.asarray(values, dtype=float)
    if data.size == 0 or np.isnan(data).any():
        return math.nan
    return 0.0 if (data == 0).any() else float(stats.gmean(data))


def jain(values: npt.ArrayLike) -> float:
    """Return Jain's fairness index (Σp)² / (n Σp²): 1 when all fare alike, 1/n when one has everything."""
    data = np.asarray(values, dtype=float)
    if data.size == 0 or not np.isfinite(data).all() or not data.any():
        return math.nan
    return float(data.sum() ** 2 / (data.size * (data**2).sum()))


@dataclass(frozen=True, slots=True, kw_only=True)
class PairedTest:
    """Wilcoxon's signed-rank test of the ratios against 1."""

    p: float
    effect: float
    """Matched-pairs rank-biserial correlation: 1 when every pair is better, -1 when every pair is worse."""


def wilcoxon(ratios: npt.ArrayLike) -> PairedTest:
    """Test whether paired ratios lie around 1, on their logarithms; NaN with fewer than `ENOUGH` pairs."""
    data = _known(ratios)
    if data.size < ENOUGH:
        return PairedTest(p=math.nan, effect=math.nan)
    with np.errstate(divide="ignore"):
        logs = np.clip(np.log(data), -1e9, 1e9)  # a stop (0) and its opposite take the outermost ranks
    logs = logs[logs != 0]
    if logs.size == 0:
        return PairedTest(p=1.0, effect=0.0)
    above = float(stats.wilcoxon(logs, alternative="greater").statistic)
    pairs = logs.size * (logs.size + 1) / 2
    return PairedTest(p=float(stats.wilcoxon(logs).pvalue), effect=2 * above / pairs - 1)


def holm(p_values: Sequence[float]) -> list[float]:
    """Return p values adjusted for their number (Holm 1979); NaN values are no tests and stay NaN."""
    p = np.asarray(p_values, dtype=float)
    adjusted = np.full(p.size, math.nan)
    order = np.flatnonzero(~np.isnan(p))[np.argsort(p[~np.isnan(p)], kind="stable")]
    steps = p[order] * np.arange(order.size, 0, -1)
    adjusted[order] = np.minimum(np.maximum.accumulate(steps), 1.0) if order.size else steps
    return [float(value) for value in adjusted]


def _known(values: npt.ArrayLike) -> FloatArray:
    data = np.asarray(values, dtype=float)
    return np.asarray(data[~np.isnan(data)], dtype=float)
