"""`squeezed`: XenServer and XCP-ng. Every guest gets the same part of the way from its minimum to its maximum.

After the daemon of xen-api (squeezed). It does not look at demand, and brings its own reserve.
"""

from __future__ import annotations

from typing import ClassVar

import numpy as np

from harness.policies.base import MIB, Allocation, NoParams, Pace, Reasons, among_known, changes
from harness.view import HostView

INTERVAL_S = 10.0
KEPT_FREE_KIB = 72 * MIB
"""9 MiB that Xen keeps, and what building a domain takes for itself, as in the original."""
INACCURACY_KIB = 8.0
"""As near to its minimum as a balloon is expected to come."""


class Squeezed:
    """T = lo + part·(hi - lo), part = clamp01(S / Σ(hi - lo)), S = what can be had: free + Σ(C - lo) - 72 MiB."""

    name: ClassVar[str] = "squeezed"

    def __init__(self, params: NoParams) -> None:
        self.params = params
        self.reset()

    def reset(self) -> None:
        """Decide anew at the next view."""
        self._pace = Pace(INTERVAL_S)

    def decide(self, view: HostView) -> Allocation:
        """Spread what is free and what can be squeezed out, every 10 s."""
        return among_known(view, lambda known: self._pace.decide(known, self._decide), host=["free_kib"])

    def _decide(self, view: HostView) -> Allocation:
        room = view.max_kib - view.min_kib
        squeezable = np.maximum(0.0, view.current_kib - view.min_kib - INACCURACY_KIB)
        spare = max(0.0, view.free_kib + squeezable.sum() - KEPT_FREE_KIB)
        part = min(1.0, spare / room.sum()) if room.sum() > 0 else 0.0
        targets = view.min_kib + part * room
        reasons = (f"{part:.0%} of the way from its minimum: {text}" for text in changes(view, targets))
        return Allocation(targets_kib=targets, reasons=Reasons(reasons, len(view)))
