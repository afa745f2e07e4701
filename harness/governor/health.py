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
    """What one guest last said about itself, what it had when it fell silent, and what it was lent for that."""

    stall: float = 0.0
    in_trouble: bool = False
    silent_at_kib: float = math.nan
    lent: bool = False
    """It was given something in this silence."""
    debt_kib: float = math.nan
    """What it had before it was lent something in an earlier silence; NaN: that is paid back."""

    @property
    def owed_kib(self) -> float:
        """What another governor is to take for its debt: what it had before it was lent something; NaN: nothing."""
        return self.silent_at_kib if self.lent and math.isnan(self.debt_kib) else self.debt_kib

    def speaks(self, stall: float, traffic_kib_s: float) -> None:
        """Take in a fresh sample; NaN where the guest does not say. What it was lent it owes from now on."""
        self.in_trouble = stall > max(self.stall, STALLING) or traffic_kib_s >= SWAPPING_KIB_S
        self.stall = 0.0 if math.isnan(stall) else stall
        self.debt_kib = self.owed_kib
        self.silent_at_kib, self.lent = math.nan, False

    def emergency_kib(self, current_kib: float, traffic_kib_s: float, share: float) -> float:
        """The most that a silent guest may have: more than it had by `share` if it starves, NaN if nothing says so.

        Traffic is then what dom0 sees on the guest's swap disk. The bound does not grow while the guest stays silent,
        and there is none for a guest that has not paid back.
        """
        if math.isnan(self.silent_at_kib):
            self.silent_at_kib = current_kib
        self.in_trouble = self.in_trouble or traffic_kib_s >= SWAPPING_KIB_S
        if not self.in_trouble or not math.isnan(self.debt_kib):
            return math.nan
        return self.silent_at_kib * (1 + share)

    def repay(self, current_kib: float, wanted_kib: float, band_kib: float) -> None:
        """It speaks, takes part, and is wanted to have this much.

        It has paid back when it came down to what it had before, or when it is to have still more for other reasons.
        """
        if current_kib <= self.debt_kib or wanted_kib >= current_kib + band_kib:
            self.debt_kib = math.nan
