"""The formulas of docs/theory.md written a second time, for what a report draws over what was measured.

They share nothing with the policies, so each checks the other. Sizes are in any one unit; arrays have an entry a guest.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from enum import StrEnum

import numpy as np
import numpy.typing as npt

from reports.special.bruteforce import divided
from reports.special.views import FloatArray

BoolArray = npt.NDArray[np.bool_]
HALVINGS = 200
"""More than a double has bits, so that the interval ends between two neighbouring numbers."""
KEPT = 0.9
"""What a giver keeps of its way to its goal in a tick (T14)."""


class Fate(StrEnum):
    """What becomes of a loop by theory."""

    HOLDS = "holds"
    NEAR = "holds once it is near"
    """Near its fixed point it contracts, which says nothing of the way there (docs/theory.md, Limits)."""
    SWINGS = "swings"


def at_one_price(
    pool: float, used: FloatArray, shares: FloatArray, tax: float, lo: FloatArray, hi: FloatArray
) -> FloatArray:
    """T2 within bounds, (W): T = clamp(τ·A + S·λ, lo, hi) with Σ T = M, clamped to what the bounds allow."""
    return divided(pool, tax * used, shares, lo, hi)


def lie_gain(tax: float, shares: FloatArray, liar: int) -> float:
    """T5: what each unit that a guest claims beyond its use brings it, τ·(1 - S/Σ S), away from bounds."""
    return float(tax * (1 - shares[liar] / shares.sum()))


def left_to_give(ticks: FloatArray) -> FloatArray:
    """T14: the share of a giver's way that is left after so many ticks, 0.9ᵏ."""
    return np.asarray(KEPT**ticks, dtype=float)


def part_of_average(period_s: float, smoothing_s: float) -> float:
    """T18: how much the newest sample counts in an average, a = 1 - e^(-Δ/τ_s); all of it where none is taken."""
    return 1 - math.exp(-period_s / smoothing_s) if smoothing_s > 0 else 1.0


def contracts(part: float, magnitude: float) -> bool:
    """T18: whether the loop with the eigenvalue -m contracts if it is averaged by a: a < 2/(1 + m)."""
    return part < 2 / (1 + magnitude)


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Loop:
    """§4: one price for guests of which each swaps what it lacks, s(T) = clamp((D - T)/Z, 0, 1)."""

    pool: float
    tax: float
    swap_weight: float
    used: FloatArray
    shares: FloatArray
    demand: FloatArray
    """D; 0 for a guest that was never seen to swap."""
    swap: FloatArray
    """Z."""
    lo: FloatArray
    hi: FloatArray

    def answer(self, sizes: FloatArray) -> FloatArray:
        """The map of §4, G(T): what is decided by the swap that these sizes leave in use."""
        return divided(self.pool, self.tax * self.used, self._weights(self._fills(sizes)), self.lo, self.hi)

    def settles(self) -> FloatArray:
        """T17: the one fixed point, found by halving an interval around λ."""
        base, light = self.tax * self.used, self._weights(np.zeros(len(self.used)))
        low, high = float(((self.lo - base) / light).min()), float(((self.hi - base) / light).max())
        low = min(low, 0.0)
        for _ in range(HALVINGS):
            middle = (low + high) / 2
            short = self._sizes_at(middle).sum() < self.pool
            low, high = (middle, high) if short else (low, middle)
        return self._sizes_at(high)

    def magnitude(self) -> float:
        """T16: the largest magnitude m of an eigenvalue at the fixed point; 0 where nobody swaps there."""
        sizes = self.settles()
        return self._magnitude(sizes, self._fills(sizes))

    def steepest(self) -> float:
        """T18: the steepest slope of the map of the one guest that swaps, which it has as its swap ends.

        0 where nobody swaps at the fixed point, and NaN where several do: there no slope speaks for all.
        """
        sizes = self.settles()
        swapping = self._swapping(sizes, self._fills(sizes))
        if swapping.sum() > 1:
            return math.nan
        return self._magnitude(sizes, np.where(swapping, 0.0, self._fills(sizes)), swapping) if swapping.any() else 0.0

    def fate(self, part: float) -> Fate:
        """T16 and T18: what becomes of it, averaged by a."""
        if not contracts(part, self.magnitude()):
            return Fate.SWINGS
        return Fate.HOLDS if contracts(part, self.steepest()) else Fate.NEAR

    def _fills(self, sizes: FloatArray) -> FloatArray:
        lacks = np.divide(self.demand - sizes, self.swap, out=np.zeros(len(sizes)), where=self.swap > 0)
        return np.asarray(np.clip(lacks, 0.0, 1.0), dtype=float)

    def _weights(self, fills: FloatArray) -> FloatArray:
        """Each guest's w, S·(1 - τ + ε·s), and S at τ = 1 (T15)."""
        return self.shares * (1 - self.tax + self.swap_weight * fills) if self.tax < 1 else self.shares

    def _sizes_at(self, level: float) -> FloatArray:
        """What each guest has at a level λ where its swap agrees with its size: T = τA + S·(1 - τ + ε·s(T))·λ."""
        base, none = self.tax * self.used, np.zeros(len(self.used))
        empty, full = (base + self._weights(none + fill) * level for fill in (0.0, 1.0))
        pull = np.divide((full - empty), self.swap, out=none, where=self.swap > 0)
        between = (empty + pull * self.demand) / (1 + pull)
        free = np.clip(between, empty, np.maximum(full, empty))
        return np.asarray(np.clip(free, self.lo, self.hi), dtype=float)

    def _swapping(self, sizes: FloatArray, fills: FloatArray) -> BoolArray:
        """Who swaps, has swap left, and is at no bound."""
        return (fills > 0) & (fills < 1) & (sizes > self.lo) & (sizes < self.hi)

    def _magnitude(self, sizes: FloatArray, fills: FloatArray, swapping: BoolArray | None = None) -> float:
        """The largest eigenvalue of √d·(I - √p·√pᵀ)·√d, with R, W and p of those who are at no bound."""
        if self.tax >= 1:
            return 0.0
        swaps = self._swapping(sizes, fills) if swapping is None else swapping
        inside = (sizes > self.lo) & (sizes < self.hi)
        rest = self.pool - sizes[~inside].sum() - self.tax * self.used[inside].sum()
        weights = np.where(inside, self._weights(fills), 0.0)
        scale = np.where(swaps, self.swap, math.inf) * weights.sum()
        root = np.sqrt(np.maximum(self.swap_weight * self.shares * rest / scale, 0.0))
        part = np.sqrt(weights / weights.sum())
        eigenvalues = np.linalg.eigvalsh(np.diag(root**2) - np.outer(root * part, root * part))
        return float(max(eigenvalues.max(), 0.0))
