"""`qmemman`: Qubes OS. Every guest is to have 1.3 times what it uses; what is over is spread in proportion.

After qubes.qmemman (algo.py, systemstate.py). It brings its own reserve and its own idea of a change worth making. A
guest below its minimum is left to the governor: qmemman knows only its own 200 MiB.
"""

from __future__ import annotations

from typing import ClassVar

import numpy as np

from harness.policies.base import MIB, Allocation, NoParams, Reasons, among_known, changes, mib
from harness.view import BoolArray, FloatArray, HostView

CACHE_FACTOR = 1.3
LEAST_KIB = 200 * MIB
KEPT_FREE_KIB = 50 * MIB
OVERHEAD = 1.00781
"""Memory that Xen spends per memory given."""
ROUNDING = 0.999
LEAST_GIFT_KIB = 10 * MIB
NEEDED_KIB = 15 * MIB
SIGNIFICANT_KIB = 150 * MIB


class Qmemman:
    """Preferred = clamp(1.3·used, 200 MiB, hi); plenty is spread by preference, scarcity taken from those above it."""

    name: ClassVar[str] = "qmemman"

    def __init__(self, params: NoParams) -> None:
        self.params = params

    def reset(self) -> None:
        """Nothing to forget."""

    def decide(self, view: HostView) -> Allocation:
        """Balance if it is worth it, else leave everything as it is."""
        needs = ["plain_used_kib", "swap_used_kib"]
        return among_known(view, self._decide, needs=needs, host=["free_kib", "promised_kib"])

    def _decide(self, view: HostView) -> Allocation:
        preferred = np.clip(CACHE_FACTOR * (view.plain_used_kib + view.swap_used_kib), LEAST_KIB, None)
        preferred = np.minimum(preferred, view.max_kib)
        free = view.free_kib / OVERHEAD - view.promised_kib - KEPT_FREE_KIB
        over = free - (preferred - view.current_kib).sum()
        targets = _spread(view, preferred, over) if over > 0 else _collect(view, preferred, free)
        state = "plenty" if over > 0 else "scarce"
        if not _significant(view, preferred, targets):
            targets, state = view.current_kib.copy(), f"{state}, no change worth making"
        reasons = (
            f"{state}, prefers {mib(size)}: {text}"
            for size, text in zip(preferred, changes(view, targets), strict=True)
        )
        return Allocation(targets_kib=targets, reasons=Reasons(reasons, len(view)), state=state)


def _spread(view: HostView, preferred: FloatArray, over: float) -> FloatArray:
    """T = 0.999·preferred·(1 + over/Σ preferred); what a maximum cuts off is dealt in equal parts to the others."""
    targets: FloatArray = ROUNDING * preferred * (1 + over / max(preferred.sum(), 1.0))
    while True:
        left = np.maximum(targets - view.max_kib, 0).sum()
        targets = np.minimum(targets, view.max_kib)
        takes = targets < view.max_kib
        if left < 1 or not takes.any():
            return targets
        targets = np.where(takes, targets + ROUNDING * left / takes.sum(), targets)


def _collect(view: HostView, preferred: FloatArray, free: float) -> FloatArray:
    """Those above their preference go down to it; if that leaves anything, the others share it by preference.

    What the donors give is first taken off what is free, and comes back once it is really there: as in the original.
    """
    need = preferred - view.current_kib
    donates: BoolArray = (need < 0) | (view.current_kib >= view.max_kib)
    gives = donates & (-need >= LEAST_GIFT_KIB)
    pool = free + need[gives].sum()
    targets = np.where(gives, preferred, view.current_kib)
    if pool >= 0 and not donates.all():
        part = preferred / max(preferred[~donates].sum(), 1.0)
        grown = np.minimum(ROUNDING * (view.current_kib + pool * part), view.max_kib)
        targets = np.where(donates, targets, grown)
    return targets


def _significant(view: HostView, preferred: FloatArray, targets: FloatArray) -> bool:
    """Xen runs short, a guest below its preference gains, or much moves."""
    gains = targets - view.current_kib
    helped = (view.current_kib < preferred) & (gains > NEEDED_KIB)
    moved = np.abs(gains).sum() + abs(view.free_kib - KEPT_FREE_KIB)
    return bool(view.free_kib < KEPT_FREE_KIB - NEEDED_KIB or helped.any() or moved > SIGNIFICANT_KIB)
