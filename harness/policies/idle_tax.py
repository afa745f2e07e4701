"""`idle-tax`: VMware ESX. While memory is plenty everyone may have all; below a mark idle memory is taxed.

Waldspurger, "Memory Resource Management in VMware ESX Server" (OSDI 2002) §5 and §6. Which guest gives first only
matters on the way: shrinking goes to the equilibrium, where all pay the same price, in one step.
"""

from __future__ import annotations

import math
from typing import ClassVar, Literal

import numpy as np
from pydantic import Field

from harness.policies.base import Allocation, Average, Pace, Params, Reasons, among_known, changes
from harness.policies.waterfill import waterfill
from harness.view import FloatArray, HostView

INTERVAL_S = 15.0
STATES = ("high", "soft", "hard", "low")
MARKS = (0.06, 0.04, 0.02, 0.01)
"""Xen's free memory above its reserve, as a part of the host above it: a state is entered below its mark."""


class IdleTaxParams(Params):
    """Parameters of `idle-tax`."""

    tax: float = Field(default=0.75, ge=0, le=1, description="τ, 0 to 1: the tax on idle memory; 0.75 as in ESX")
    active: Literal["used", "touched"] = Field(
        default="used", description="what A is: used memory, or active_kib, what was touched, which ESX measures"
    )
    slow_half_life_s: float = Field(
        default=30.0, gt=0, le=3600, description="s, above 0 to 3600: half-life of the slow average of A; 30, ours"
    )
    fast_half_life_s: float = Field(
        default=7.5, gt=0, le=3600, description="s, above 0 to 3600: half-life of the fast average of A; 7.5, ours"
    )


class IdleTax:
    """High: T = hi. Soft: T = τ·A + S·λ with Σ T = M. Hard and low: the same, and nobody grows."""

    name: ClassVar[str] = "idle-tax"

    def __init__(self, params: IdleTaxParams) -> None:
        self.params = params
        self.reset()

    def reset(self) -> None:
        """Start in the state high, without averages."""
        self._state = 0
        self._slow, self._fast = Average(), Average()
        self._pace = Pace(INTERVAL_S)

    def decide(self, view: HostView) -> Allocation:
        """Follow A and the state every tick; decide every 15 s, or at once when the state changes."""
        demand = "active_kib" if self.params.active == "touched" else "used_kib"
        host = ["total_kib", "free_kib", "reserve_kib", "promised_kib"]
        return among_known(view, self._tick, needs=[demand], host=host)

    def _tick(self, view: HostView) -> Allocation:
        free = (view.free_kib - view.reserve_kib) / max(view.total_kib - view.reserve_kib, 1.0)
        before, self._state = self._state, _next_state(self._state, free)
        active = self._active(view)
        return self._pace.decide(view, lambda now: self._decide(now, active), at_once=before != self._state)

    def _active(self, view: HostView) -> FloatArray:
        """The largest of a slow average, a fast average and the sample: follows rises at once and falls slowly."""
        sample = view.active_kib if self.params.active == "touched" else view.used_kib
        slow = self._slow.update(view, sample, self.params.slow_half_life_s / math.log(2))
        fast = self._fast.update(view, sample, self.params.fast_half_life_s / math.log(2))
        return np.maximum(np.maximum(slow, fast), sample)

    def _decide(self, view: HostView, active: FloatArray) -> Allocation:
        state = STATES[self._state]
        targets = view.max_kib
        if state != "high":
            taxed = self.params.tax * active
            targets = waterfill(view.pool_kib, taxed, view.shares, view.least_kib, view.max_kib).targets_kib
        if state in ("hard", "low"):
            targets = np.clip(np.minimum(targets, view.current_kib), view.least_kib, view.max_kib)
        reasons = (f"memory {state}: {text}" for text in changes(view, targets))
        return Allocation(targets_kib=targets, reasons=Reasons(reasons, len(view)), state=state)


def _next_state(state: int, free: float) -> int:
    """Fall to a state below its mark; rise out of it only above the mark of the next higher one."""
    while state < len(STATES) - 1 and free < MARKS[state + 1]:
        state += 1
    while state > 0 and free > MARKS[state - 1]:
        state -= 1
    return state
