"""`miss-ratio`: the smallest working sets if they fit, else the split with the fewest misses.

Zhao, Wang, "Dynamic memory balancing for virtual machines" (MEB, VEE 2009). The miss curve of a guest comes from the
ages of its pages: one last used a seconds ago is taken to be used once in a seconds, so KiB / a is what losing it would
cost. Swap in use that is read back lies beyond the present size.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np
from pydantic import Field

from harness.policies.base import Allocation, Params, Reasons, among_known, changes, mib
from harness.policies.waterfill import waterfill
from harness.view import Curve, FloatArray, HostView

YOUNGEST_S = 1.0
"""Pages younger than this are alike: the histogram is sampled no more often."""


class MissRatioParams(Params):
    """Parameters of `miss-ratio`."""

    miss_ratio: float = Field(
        default=0.05, gt=0, lt=1, description="above 0 to below 1: misses that a working set may leave; 0.05 as in MEB"
    )


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class MissCurve:
    """Misses over memory on their lower convex hull: pieces of memory, the ones that save most first."""

    fixed_kib: float
    """Memory outside the histogram: what the kernel keeps."""
    sizes_kib: FloatArray
    saves: FloatArray
    """KiB/s of misses that one KiB of the piece saves."""

    def working_set_kib(self, miss_ratio: float) -> float:
        """The smallest memory with at most this miss ratio."""
        saved = (self.sizes_kib * self.saves).cumsum()
        if not saved.size or saved[-1] <= 0:
            return self.fixed_kib
        wanted = (1 - miss_ratio) * saved[-1]
        last = int(np.searchsorted(saved, wanted))
        beyond = (saved[last] - wanted) / self.saves[last]
        return float(self.fixed_kib + self.sizes_kib[: last + 1].sum() - beyond)


class MissRatio:
    """T = wanted + surplus pro rata if Σ wanted ≤ M; else minimise Σ misses(T) with Σ T = M."""

    name: ClassVar[str] = "miss-ratio"

    def __init__(self, params: MissRatioParams) -> None:
        self.params = params

    def reset(self) -> None:
        """Nothing to forget."""

    def decide(self, view: HostView) -> Allocation:
        """Divide the pool by the miss curves."""
        blind = np.array([ages is None for ages in view.page_ages], dtype=bool)
        needs = ["swap_used_kib", "swap_in_kib_s"]
        return among_known(view, self._decide, needs=needs, without={"its page_ages are not known": blind})

    def _decide(self, view: HostView) -> Allocation:
        swap_in, swapped = view.swap_in_kib_s, view.swap_used_kib
        curves = [
            miss_curve(ages or (), current, swap, rate)
            for ages, current, swap, rate in zip(view.page_ages, view.current_kib, swapped, swap_in, strict=True)
        ]
        sets = np.array([curve.working_set_kib(self.params.miss_ratio) for curve in curves])
        wanted = np.clip(np.where(swap_in > 0, view.current_kib + swapped, sets), view.least_kib, view.max_kib)
        state = "plenty" if wanted.sum() <= view.pool_kib else "scarce"
        chosen = wanted if state == "plenty" else fewest_misses(view, curves)
        weight = np.maximum(chosen, 1.0)
        targets = waterfill(view.pool_kib, chosen, weight, view.least_kib, view.max_kib).targets_kib
        reasons = (
            f"{'swaps, wants' if swaps else 'works in'} {mib(size)}, memory {state}: {text}"
            for swaps, size, text in zip(swap_in > 0, wanted, changes(view, targets), strict=True)
        )
        return Allocation(targets_kib=targets, reasons=Reasons(reasons, len(view)), state=state)


def miss_curve(ages: Curve, current_kib: float, swapped_kib: float, swap_in_kib_s: float) -> MissCurve:
    """The curve of one guest: its pages by age, then its swap in use, on the lower convex hull."""
    pieces = [(kib, 1 / max(age_s, YOUNGEST_S)) for age_s, kib in sorted(ages) if kib > 0]
    resident = sum(size for size, _ in pieces)
    if swapped_kib > 0:
        pieces.append((swapped_kib, swap_in_kib_s / swapped_kib))
    hull: list[tuple[float, float]] = []
    for size, saves in pieces:
        while hull and hull[-1][1] < saves:  # a dent: take both pieces as one, at their mean
            before, saved = hull.pop()
            saves = (before * saved + size * saves) / (before + size)
            size += before
        hull.append((size, saves))
    sizes, slopes = np.array(hull).reshape(-1, 2).T
    return MissCurve(fixed_kib=max(0.0, current_kib - resident), sizes_kib=sizes, saves=slopes)


def fewest_misses(view: HostView, curves: list[MissCurve]) -> FloatArray:
    """Give the pool to the pieces that save most, of whatever guest; exact because every curve is convex."""
    start = np.clip([curve.fixed_kib for curve in curves], view.least_kib, view.max_kib)
    guests, sizes, saves = [], [], []
    for i, curve in enumerate(curves):
        ends = np.clip(curve.fixed_kib + curve.sizes_kib.cumsum(), start[i], view.max_kib[i])
        guests.append(np.full(len(ends), i))
        sizes.append(np.diff(ends, prepend=start[i]))
        saves.append(curve.saves)
    guest, size = np.concatenate(guests), np.concatenate(sizes)
    order = np.argsort(-np.concatenate(saves), kind="stable")
    before = size[order].cumsum() - size[order]
    taken = np.clip(view.pool_kib - start.sum() - before, 0, size[order])
    return start + np.bincount(guest[order], weights=taken, minlength=len(curves))
