"""Water-filling, the one solver under most policies: exact, O(n log n), without a tolerance."""

from __future__ import annotations

from bisect import bisect_left
from dataclasses import dataclass

import numpy as np

from harness.view import FloatArray

FEW = 32
"""Of so many guests it is quicker to fill to all the ends at once than to search among them."""


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
    enters, leaves = (lo - base) / weight, (hi - base) / weight
    ends = np.sort(np.concatenate([enters, leaves]))

    def total_at(level: float) -> float:
        return float(_fill(level, base, weight, lo, hi).sum())

    if len(base) <= FEW:
        reached = int(_fill(ends[:, None], base, weight, lo, hi).sum(axis=1).searchsorted(total_kib))
    else:
        reached = bisect_left(ends, total_kib, key=total_at)
    above = min(reached, len(ends) - 1)
    upper, lower = float(ends[above]), float(ends[max(above - 1, 0)])
    inside = (enters <= lower) & (leaves >= upper) & (lo < hi)
    if lower < upper and inside.any():
        bounded = _fill((lower + upper) / 2, base, weight, lo, hi)[~inside].sum()
        return float((total_kib - bounded - base[inside].sum()) / weight[inside].sum())
    return upper


def _fill(
    level: float | FloatArray, base: FloatArray, weight: FloatArray, lo: FloatArray, hi: FloatArray
) -> FloatArray:
    """T = clamp(base + weight·λ, lo, hi)."""
    return np.minimum(np.maximum(base + weight * level, lo), hi)


def whole(targets: FloatArray, total: float, lo: FloatArray, hi: FloatArray) -> FloatArray:
    """Round to whole KiB by largest remainder, inside whole bounds, so that the sum is `total` exactly.

    The loop body runs once, and again only where a bound stops a guest or where figures of very different size met.
    """
    floor = np.minimum(np.maximum(np.floor(targets), lo), hi)
    remainder = targets - floor
    while (missing := round(total - floor.sum())) != 0:
        sign = np.sign(missing)
        room = np.flatnonzero(floor < hi if sign > 0 else floor > lo)
        neediest = room[np.argsort(-sign * remainder[room], kind="stable")][: abs(missing)]
        step = sign * max(1, abs(missing) // len(room))
        floor[neediest] = np.clip(floor[neediest] + step, lo[neediest], hi[neediest])
    return floor
