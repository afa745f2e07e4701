"""`pressure`: stall is the common currency. Ours; the step law of senpai (TMO, ASPLOS 2022) made global.

The kernel tells how much of the time a guest loses to memory (PSI), and the rates at which pages come back from swap
and disk tell how much memory would have prevented it. From that:

- Nobody stalls: nothing moves. The initial split is as good as any, and moving memory costs.
- A stalling guest asks for what came back over the horizon, at once.
- Free pages of a guest that does not stall cost it nothing: they are given at once. Its used pages are probed, at most
  1 % a tick, until stall just appears: that is its working set, measured and not assumed. For a while it is not probed
  again below that.
- A guest that stalls below what it started with is owed the difference; those that stall above theirs pay it back. So
  nobody loses for long against the initial split.
- When asks exceed what can be had, memory goes where a KiB saves the most stall per share.
"""

from __future__ import annotations

from typing import ClassVar

import numpy as np
from pydantic import Field

from harness.policies.base import MIB, Allocation, Average, Params, Reasons, among_known, changes
from harness.policies.waterfill import waterfill
from harness.view import BoolArray, FloatArray, HostView


class PressureParams(Params):
    """Parameters of `pressure`."""

    stall: float = Field(
        default=0.01, gt=0, le=1, description="above 0 to 1: share of time lost from which a guest stalls; 0.01, ours"
    )
    smoothing_s: float = Field(default=4.0, ge=0, le=600, description="s, 0 to 600: average over stall; 4, two ticks")
    horizon_s: float = Field(
        default=4.0,
        gt=0,
        le=600,
        description="s, above 0 to 600: a guest asks for what came back in this time; 4, ours",
    )
    probe: float = Field(
        default=0.01, ge=0, le=1, description="0 to 1: part of its memory by which a guest is probed a tick; 0.01"
    )
    spare_mib: float = Field(
        default=16.0, ge=0, le=65536, description="MiB, 0 to 65536: free memory that a giving guest keeps; 16, ours"
    )
    memory_s: float = Field(
        default=60.0,
        ge=0,
        le=86400,
        description="s, 0 to 86400: how long a measured working set is not probed; 60, ours",
    )


class Pressure:
    """T = C + what stall is worth to it - what costs it nothing."""

    name: ClassVar[str] = "pressure"

    def __init__(self, params: PressureParams) -> None:
        self.params = params
        self.reset()

    def reset(self) -> None:
        """Take the next view as the start; forget stalls and working sets."""
        self._stall = Average()
        self._initial: dict[str, float] = {}
        self._sets: dict[str, tuple[float, float]] = {}

    def decide(self, view: HostView) -> Allocation:
        """Move memory from where nothing is lost to where most is."""
        return among_known(view, self._decide, needs=["stall_some"])

    def _decide(self, view: HostView) -> Allocation:
        current = view.current_kib
        stall = self._stall.update(view, np.minimum(view.stall_some, 1.0), self.params.smoothing_s)
        stalls = np.minimum(stall, view.stall_some) >= self.params.stall  # lasting, and not over yet
        initial = np.array([self._initial.setdefault(g, c) for g, c in zip(view.names, current, strict=True)])
        returned = np.nan_to_num(view.swap_in_kib_s) + np.nan_to_num(view.refault_kib_s)
        asks = np.maximum(returned * self.params.horizon_s, self.params.probe * current)
        asks = np.where(stalls, np.clip(asks, 0, np.maximum(view.max_kib - current, 0)), 0.0)
        owed = np.minimum(asks, np.maximum(initial - current, 0))

        room = np.where(stalls, 0.0, np.maximum(current - view.least_kib, 0))
        idle = np.minimum(room, np.maximum(np.nan_to_num(view.mem_free_kib) - self.params.spare_mib * MIB, 0))
        unknown = np.clip(current - self._working_sets(view, stalls), 0, room - idle)
        probed = np.minimum(unknown, self.params.probe * current)
        above = np.where(owed > 0, 0.0, np.maximum(current - np.maximum(initial, view.least_kib), 0))
        spare = view.pool_kib - current.sum()
        gives = collect(asks.sum() - spare, [idle, probed])
        gives += collect(owed.sum() - spare - gives.sum(), [np.maximum(above - gives, 0)])

        budget = max(0.0, spare + gives.sum())
        grants = owed * min(1.0, budget / owed.sum()) if owed.any() else owed
        worth = view.shares * stall / np.maximum(asks, 1.0)
        grants = grants + serve(asks - owed, worth, budget - grants.sum())
        wanted = current - gives + grants
        total = min(view.pool_kib, float(wanted.sum()))
        targets = waterfill(total, wanted, np.maximum(wanted, 1.0), view.least_kib, view.max_kib).targets_kib
        reasons = (
            f"loses {lost:.1%} of its time{' and asks' if asks_now else ''}: {text}"
            for lost, asks_now, text in zip(stall, stalls, changes(view, targets), strict=True)
        )
        return Allocation(targets_kib=targets, reasons=Reasons(reasons, len(view)))

    def _working_sets(self, view: HostView, stalls: BoolArray) -> FloatArray:
        """Where stall last appeared, for as long as that is remembered; 0 where it did not."""
        for name, current, stalling in zip(view.names, view.current_kib, stalls, strict=True):
            measured_s = self._sets.get(name, (0.0, -np.inf))[1]
            if stalling:
                self._sets[name] = (float(current), view.time_s)
            elif not view.time_s - measured_s <= self.params.memory_s:
                self._sets.pop(name, None)
        return np.array([self._sets.get(name, (0.0, 0.0))[0] for name in view.names])


def collect(need_kib: float, offers: list[FloatArray]) -> FloatArray:
    """Take what is needed from the first offer, what is still needed from the next, pro rata within each."""
    taken = np.zeros_like(offers[0])
    for offer in offers:
        part = offer * np.clip((need_kib - taken.sum()) / max(offer.sum(), 1.0), 0.0, 1.0)
        taken = taken + part
    return taken


def serve(asks: FloatArray, worth: FloatArray, budget_kib: float) -> FloatArray:
    """Serve the asks that are worth most per KiB first, until the budget is used up."""
    order = np.argsort(-worth, kind="stable")
    before = asks[order].cumsum() - asks[order]
    served = np.zeros_like(asks)
    served[order] = np.clip(budget_kib - before, 0, asks[order])
    return served
