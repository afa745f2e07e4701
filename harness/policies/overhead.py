"""What a guest needs beside its committed memory, which knows neither its kernel nor what that keeps for files.

The proposal, after Magenheimer, leaves it out or lets somebody guess it. A guest shows it: what it has outside MemTotal
and, at the moments when programs have touched what they committed, what is in use beside that.
"""

from __future__ import annotations

import math
from typing import Literal

import numpy as np
from pydantic import Field

from harness.policies.base import MIB, Params
from harness.view import FloatArray, HostView


class OverheadParams(Params):
    """Parameters of `Overhead`."""

    reserve_mib: float = Field(
        default=0.0,
        ge=0,
        le=65536,
        description="MiB, 0 to 65536: added to committed memory, for what a kernel keeps outside MemTotal; 0 in 2008",
    )
    overhead: Literal["reserve", "measured"] = Field(
        default="reserve",
        description="reserve: reserve_mib is all that a guest needs beside committed memory, as in the proposal; "
        "measured: as each guest shows it, and reserve_mib on top, our repair",
    )


AHEAD = 2.0
"""Steps of committed memory, as large as the last, until what is asked for now is there: one to the next decision, one
while the balloon moves."""


class Overhead:
    """C - MemTotal + max over time of (MemTotal - MemAvailable - K) + 2 max(0, K - K before), and the reserve."""

    def __init__(self, params: OverheadParams) -> None:
        self._params = params
        self.reset()

    @property
    def needs(self) -> tuple[str, ...]:
        """Columns of the view that must be known."""
        return ("mem_total_kib", "mem_available_kib") if self._params.overhead == "measured" else ()

    def reset(self) -> None:
        """Forget what guests have shown."""
        self._shown: dict[str, float] = {}
        self._time_s = math.nan
        self._committed: dict[str, tuple[float, float]] = {}

    def kib(self, view: HostView) -> FloatArray:
        """KiB of each guest."""
        reserve = np.full(len(view), self._params.reserve_mib * MIB)
        if self._params.overhead == "reserve":
            return reserve
        beside = view.mem_total_kib - view.available_kib - view.committed_kib
        shown = [max(self._shown.get(name, 0.0), now) for name, now in zip(view.names, beside, strict=True)]
        self._shown |= dict(zip(view.names, shown, strict=True))
        outside = np.maximum(view.current_kib - view.mem_total_kib, 0.0)
        needed: FloatArray = reserve + outside + np.array(shown) + AHEAD * self._grown(view)
        return needed

    def _grown(self, view: HostView) -> FloatArray:
        """By how much committed memory has grown since the view before this one; asked twice in one, the same."""
        committed = dict(zip(view.names, view.committed_kib, strict=True))
        if view.time_s != self._time_s:
            self._time_s = view.time_s
            self._committed = {
                name: (self._committed.get(name, (now, now))[1], float(now)) for name, now in committed.items()
            }
        before = [self._committed.get(name, (now, now))[0] for name, now in committed.items()]
        grown: FloatArray = np.maximum(view.committed_kib - np.array(before), 0.0)
        return grown
