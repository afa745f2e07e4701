"""How a guest last was. The guest in the worst trouble is the one whose samples stop: it swaps too hard to answer."""

from __future__ import annotations

import math
from dataclasses import dataclass

STALLING = 0.01
"""Share of time lost to memory from which rising stall is a sign of trouble; ours."""
SWAPPING_KIB_S = 1024.0
"""Swap traffic, in and out, that is a sign of trouble; ours."""


@dataclass(slots=True)
class Health:
    """What one guest last said about itself, and what it had when it fell silent."""

    stall: float = 0.0
    in_trouble: bool = False
    silent_at_kib: float = math.nan

    def speaks(self, stall: float, traffic_kib_s: float) -> None:
        """Take in a fresh sample; NaN where the guest does not say."""
        self.in_trouble = stall > max(self.stall, STALLING) or traffic_kib_s >= SWAPPING_KIB_S
        self.stall = 0.0 if math.isnan(stall) else stall
        self.silent_at_kib = math.nan

    def emergency_kib(self, current_kib: float, traffic_kib_s: float, share: float) -> float:
        """The most that a silent guest may have: more than it had by `share` if it starves, NaN if nothing says so.

        Traffic is then what dom0 sees on the guest's swap disk. The bound does not grow while the guest stays silent.
        """
        if math.isnan(self.silent_at_kib):
            self.silent_at_kib = current_kib
        self.in_trouble = self.in_trouble or traffic_kib_s >= SWAPPING_KIB_S
        return self.silent_at_kib * (1 + share) if self.in_trouble else math.nan
