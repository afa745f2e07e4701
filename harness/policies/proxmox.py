"""`proxmox`: Proxmox VE. Keeps 80 % of the host in use, by shares, at most 100 MiB a guest and round.

After PVE::AutoBalloon. Guests of which much is free are shrunk first, the others are grown first.
"""

from __future__ import annotations

from typing import ClassVar

import numpy as np
from pydantic import Field

from harness.policies.base import MIB, Allocation, Pace, Params, Reasons, among_known, changes
from harness.view import BoolArray, FloatArray, HostView

INTERVAL_S = 10.0
TOLERANCE_KIB = 10 * MIB
STEP_KIB = 100 * MIB
ROOMY = 0.25
"""Of its minimum: a guest with more than this free can give."""


class ProxmoxParams(Params):
    """Parameters of `proxmox`."""

    use: float = Field(
        default=0.8, gt=0, le=1, description="above 0 to 1: the part of the host to have in use; 0.8 there"
    )


class Proxmox:
    """Goal = 0.80·host - used; spread by shares above the minima over the guests that it concerns."""

    name: ClassVar[str] = "proxmox"

    def __init__(self, params: ProxmoxParams) -> None:
        self.params = params
        self.reset()

    def reset(self) -> None:
        """Decide anew at the next view."""
        self._pace = Pace(INTERVAL_S)

    def decide(self, view: HostView) -> Allocation:
        """One round, every 10 s."""
        host = ["total_kib", "free_kib"]
        return among_known(
            view, lambda known: self._pace.decide(known, self._decide), needs=["mem_free_kib"], host=host
        )

    def _decide(self, view: HostView) -> Allocation:
        goal = self.params.use * view.total_kib - (view.total_kib - view.free_kib)
        roomy = (view.mem_free_kib > ROOMY * view.min_kib) & (view.current_kib >= view.min_kib)
        targets = view.current_kib.copy()
        if abs(goal) > TOLERANCE_KIB:
            targets, rest = _round(view, goal, ~roomy if goal > 0 else roomy)
            if rest == goal:
                targets, _ = _round(view, goal, np.ones(len(view), dtype=bool))
        aim = "near its goal" if abs(goal) <= TOLERANCE_KIB else "below its goal" if goal > 0 else "above its goal"
        reasons = (
            f"host {aim}, guest {'has room' if has_room else 'is pressed'}: {text}"
            for has_room, text in zip(roomy, changes(view, targets), strict=True)
        )
        return Allocation(targets_kib=targets, reasons=Reasons(reasons, len(view)))


def _round(view: HostView, goal: float, listed: BoolArray) -> tuple[FloatArray, float]:
    """Move the listed guests towards lo + their share of everything above the minima; returns what of the goal is left.

    Who has more than that share shrinks in a growing round too; in a shrinking one nobody grows.
    """
    targets, rest = view.current_kib.copy(), goal
    low, high = view.current_kib - STEP_KIB, view.current_kib + STEP_KIB
    while listed.any() and abs(rest) >= 1:
        above = (targets - view.min_kib)[listed].sum() + rest
        desired = view.min_kib + np.floor(above / view.shares[listed].sum() * view.shares)
        desired = np.clip(desired, view.min_kib, view.max_kib)
        listed = listed & (desired != view.current_kib) & ((goal > 0) | (desired < view.current_kib))
        moved = np.where(listed, np.clip(desired, low, high), targets)
        if np.array_equal(moved, targets):
            break
        rest -= (moved - targets).sum()
        targets = moved
    return targets, rest
