"""Water-filling, the one solver under most policies: exact, O(n log n), without a tolerance.

Its two steps are written twice, for arrays and for a few plain numbers: of four guests, a call of numpy for each line
of arithmetic takes ten times as long as the arithmetic.
"""

from __future__ import annotations

import math
from bisect import bisect_left
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from harness.view import FloatArray

FEW = 16
"""Up to so many guests, plain numbers are quicker than arrays."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Filling:
    """A division of a total."""

    targets_kib: FloatArray
    """Whole KiB, one per guest; their sum is the total exactly."""
    level: float
    """λ: what every guest strictly inside its bounds has in common, (T - base) / weight."""


def waterfill(total_kib: float, base: FloatArray, weight: FloatArray, lo: FloatArray, hi: FloatArray) -> Filling:
    """T = clamp(base + weight·λ, lo, hi) with Σ T = clamp(total, Σ lo, Σ hi), in whole KiB.

    Σ T grows with λ in straight pieces whose 2n ends are known, so a binary search over the sorted ends finds the
    piece that holds the total, and on it λ is a division. λ is negative where the bases alone exceed the total.

    All sizes in KiB, all arrays of one length n ≥ 1 and finite; weights above 0, lo ≤ hi. Bounds that are not whole
    are rounded inwards; a guest whose bounds leave no whole number keeps `lo` rounded up.
    """
    lo = np.ceil(lo)
    hi = np.maximum(np.floor(hi), lo)
    total = min(max(float(np.floor(total_kib)), float(lo.sum())), float(hi.sum()))
    level = level_of(total, base, weight, lo, hi)
    return Filling(targets_kib=whole(_fill(level, base, weight, lo, hi), total, lo, hi), level=level)


def level_of(total_kib: float, base: FloatArray, weight: FloatArray, lo: FloatArray, hi: FloatArray) -> float:
    """The λ of `waterfill`, for a total between Σ lo and Σ hi."""
    if len(base) <= FEW:
        return _level_of_few(total_kib, base.tolist(), weight.tolist(), lo.tolist(), hi.tolist())
    enters, leaves = (lo - base) / weight, (hi - base) / weight
    ends = np.sort(np.concatenate([enters, leaves]))

    def total_at(level: float) -> float:
        return float(_fill(level, base, weight, lo, hi).sum())

    above = min(bisect_left(ends, total_kib, key=total_at), len(ends) - 1)
    upper, lower = float(ends[above]), float(ends[max(above - 1, 0)])
    inside = (enters <= lower) & (leaves >= upper) & (lo < hi)
    if lower < upper and inside.any():
        bounded = _fill((lower + upper) / 2, base, weight, lo, hi)[~inside].sum()
        return float((total_kib - bounded - base[inside].sum()) / weight[inside].sum())
    return upper


def _level_of_few(
    total_kib: float, base: Sequence[float], weight: Sequence[float], lo: Sequence[float], hi: Sequence[float]
) -> float:
    """`level_of` in plain numbers."""
    guests = tuple(zip(base, weight, lo, hi, strict=True))
    ends = sorted([(low - at) / w for at, w, low, _ in guests] + [(high - at) / w for at, w, _, high in guests])

    def total_at(level: float) -> float:
        total = 0.0
        for at, w, low, high in guests:
            wanted = at + w * level
            total += low if wanted < low else high if wanted > high else wanted
        return total

    above = min(bisect_left(ends, total_kib, key=total_at), len(ends) - 1)
    upper, lower = ends[above], ends[max(above - 1, 0)]
    left, slope = total_kib, 0.0
    for at, w, low, high in guests:
        if (low - at) / w <= lower and (high - at) / w >= upper and low < high:
            left, slope = left - at, slope + w
        else:
            left -= min(max(at + w * (lower + upper) / 2, low), high)
    return left / slope if lower < upper and slope > 0 else upper


def _fill(level: float, base: FloatArray, weight: FloatArray, lo: FloatArray, hi: FloatArray) -> FloatArray:
    """T = clamp(base + weight·λ, lo, hi)."""
    return np.minimum(np.maximum(base + weight * level, lo), hi)


def whole(targets: FloatArray, total: float, lo: FloatArray, hi: FloatArray) -> FloatArray:
    """Round to whole KiB by largest remainder, inside whole bounds, so that the sum is `total` exactly.

    The loop body runs once, and again only where a bound stops a guest or where figures of very different size met.
    """
    if len(targets) <= FEW:
        return np.array(_whole_of_few(targets.tolist(), total, lo.tolist(), hi.tolist()))
    floor = np.minimum(np.maximum(np.floor(targets), lo), hi)
    remainder = targets - floor
    while (missing := round(total - floor.sum())) != 0:
        sign = np.sign(missing)
        room = np.flatnonzero(floor < hi if sign > 0 else floor > lo)
        neediest = room[np.argsort(-sign * remainder[room], kind="stable")][: abs(missing)]
        step = sign * max(1, abs(missing) // len(room))
        floor[neediest] = np.clip(floor[neediest] + step, lo[neediest], hi[neediest])
    return floor


def _whole_of_few(targets: Sequence[float], total: float, lo: Sequence[float], hi: Sequence[float]) -> list[float]:
    """`whole` in plain numbers."""
    floor = [float(min(max(math.floor(t), low), high)) for t, low, high in zip(targets, lo, hi, strict=True)]
    remainder = [t - size for t, size in zip(targets, floor, strict=True)]
    while (missing := round(total - sum(floor))) != 0:
        sign = 1 if missing > 0 else -1
        room = [i for i, size in enumerate(floor) if (size < hi[i] if sign > 0 else size > lo[i])]
        room.sort(key=lambda i: -sign * remainder[i])
        step = sign * max(1, abs(missing) // len(room))
        for i in room[: abs(missing)]:
            floor[i] = min(max(floor[i] + step, lo[i]), hi[i])
    return floor
