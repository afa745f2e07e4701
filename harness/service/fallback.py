"""A policy that raises does not end the service: another decides in its place until it is tried again."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace
from typing import ClassVar

from harness.policies import Allocation, Policy
from harness.policies.base import NoParams
from harness.policies.guarded import PolicyFailedError, guarded
from harness.progress.plain import one_line
from harness.view import HostView

FIRST_PAUSE_S, LONGEST_PAUSE_S = 10.0, 600.0
"""Until a policy that raised is tried again: twice as long each time. What it raised at may be a guest that is gone
since; but whoever raises for ever costs an event every ten minutes, and a tick, no more. Ours."""

Events = Callable[[str, str, str], None]
"""Called with event, guest and detail."""


class Hold:
    """Everybody keeps what he has: what decides where nobody else can. It cannot raise."""

    name: ClassVar[str] = "hold"

    def __init__(self) -> None:
        self.params = NoParams()

    def decide(self, view: HostView) -> Allocation:
        """T = C."""
        return Allocation(targets_kib=view.current_kib.copy(), reasons=("keeps what it has",) * len(view))

    def reset(self) -> None:
        """It remembers nothing."""


class Steadfast:
    """A policy that always decides: as the one that acts, or while that is out, as its fallback, or as `hold`.

    Events: `policy_failed`, `policy_resumed`, `fallback_failed`.
    """

    name: ClassVar[str] = "steadfast"

    def __init__(self, acting: Policy, fallback: Policy, events: Events) -> None:
        self._acting, self._fallback, self._hold = guarded(acting), guarded(fallback), Hold()
        self._events = events
        self.decided: Policy = self._acting
        """Who decided last."""
        self._again_s, self._since_s = -math.inf, math.nan
        self._pause_s = FIRST_PAUSE_S
        self._out = self._fallback_out = False

    @property
    def params(self) -> NoParams:
        """Whoever decided has its own."""
        return NoParams()

    def reset(self) -> None:
        """Nothing to do: each begins anew before it decides for the first time."""
        self._since_s = math.nan

    def decide(self, view: HostView) -> Allocation:
        """Decide as the first of them that can."""
        if not view.time_s < self._again_s:
            try:
                return self._by_acting(view)
            except PolicyFailedError as error:
                self._fails(view.time_s, error)
        try:
            allocation = _worded(self._fallback.decide(view))
        except PolicyFailedError as error:
            if not self._fallback_out:
                self._events("fallback_failed", "", f"{one_line(str(error))}; everybody keeps what he has")
            self._fallback_out, self.decided = True, self._hold
            return self._hold.decide(view)
        self._fallback_out, self.decided = False, self._fallback
        return allocation

    def _by_acting(self, view: HostView) -> Allocation:
        """The acting policy's decision; from its beginning, when it has not decided before this one."""
        if math.isnan(self._since_s):
            self._acting.reset()
        allocation = _worded(self._acting.decide(view))
        if math.isnan(self._since_s):
            self._since_s = view.time_s
        if self._out:
            self._out = False
            self._events("policy_resumed", "", f"{self._acting.name} decides again")
        if view.time_s - self._since_s >= self._pause_s:
            self._pause_s = FIRST_PAUSE_S
        self.decided = self._acting
        return allocation

    def _fails(self, now_s: float, error: PolicyFailedError) -> None:
        detail = f"{self._fallback.name} decides; tried again in {self._pause_s:.0f} s"
        self._events("policy_failed", "", f"{one_line(str(error))}; {detail}")
        if not self._out:
            self._reset_fallback()
        self._out, self._since_s = True, math.nan
        self._again_s = now_s + self._pause_s
        self._pause_s = min(2 * self._pause_s, LONGEST_PAUSE_S)

    def _reset_fallback(self) -> None:
        """The fallback begins with what the guests have now."""
        try:
            self._fallback.reset()
        except PolicyFailedError as error:
            self._events("fallback_failed", "", one_line(str(error)))


def _worded(allocation: Allocation) -> Allocation:
    """An allocation whose reasons have been put into words, in case that is what fails."""
    return replace(allocation, reasons=tuple(allocation.reasons))
