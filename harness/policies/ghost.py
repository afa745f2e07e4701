"""`ghost`: demand beyond the present size, from evicted pages that come back.

Jones, Arpaci-Dusseau, "Geiger: monitoring the buffer cache in a virtual machine environment" (ASPLOS 2006). An evicted
page enters a list; one that is read back at depth d would not have been missed with d more memory. The policy knows who
wants and nothing about who can give: a guest gives only as its own unused demand decays, never below where it started.
"""

from __future__ import annotations

import math
from typing import ClassVar

import numpy as np
from pydantic import Field

from harness.policies.base import Allocation, Params, Reasons, among_known, changes, mib
from harness.view import Curve, FloatArray, HostView


class GhostParams(Params):
    """Parameters of `ghost`."""

    captured: float = Field(
        default=0.95, gt=0, le=1, description="above 0 to 1: part of the returning pages to make room for; 0.95"
    )
    horizon_s: float = Field(
        default=10.0,
        gt=0,
        le=3600,
        description="s, above 0 to 3600: without a swap trace, make room for what returns within this time; 10, ours",
    )
    decay_s: float = Field(
        default=60.0,
        gt=0,
        le=86400,
        description="s, above 0 to 86400: time in which unused demand falls to 1/e; 60, ours",
    )


class Ghost:
    """T = C + the smallest x that captures 95 % of the returns; without returns the extra decays."""

    name: ClassVar[str] = "ghost"

    def __init__(self, params: GhostParams) -> None:
        self.params = params
        self.reset()

    def reset(self) -> None:
        """Take the next view as the start."""
        self._initial: dict[str, float] = {}
        self._extra: dict[str, float] = {}
        self._time_s = math.nan

    def decide(self, view: HostView) -> Allocation:
        """Ask for every guest on its own, whatever the pool."""
        traced = np.array([curve is not None for curve in view.ghost_returns], dtype=bool)
        blind = ~traced & np.isnan(view.refault_kib_s)
        return among_known(
            view, self._decide, host=(), without={"neither its ghost_returns nor its refault_kib_s is known": blind}
        )

    def _decide(self, view: HostView) -> Allocation:
        missing = self._missing(view)
        for name, current in zip(view.names, view.current_kib, strict=True):
            self._initial.setdefault(name, current)
        initial = np.array([self._initial[name] for name in view.names])
        decayed = np.array([self._extra.get(name, 0.0) for name in view.names]) * self._kept(view.time_s)
        extra = np.where(missing > 0, np.maximum(view.current_kib + missing - initial, 0.0), decayed)
        self._extra |= dict(zip(view.names, extra.tolist(), strict=True))
        self._time_s = view.time_s
        targets = np.clip(initial + extra, view.least_kib, view.max_kib)
        reasons = (
            f"{f'would not miss {mib(x)} of what returns' if x > 0 else 'nothing returns'}: {text}"
            for x, text in zip(missing, changes(view, targets), strict=True)
        )
        return Allocation(targets_kib=targets, reasons=Reasons(reasons, len(view)))

    def _missing(self, view: HostView) -> FloatArray:
        """How much more memory would keep most of what returns: exact from the trace, else a rate times the horizon."""
        coarse = np.nan_to_num(view.refault_kib_s) * self.params.horizon_s
        return np.array(
            [
                rough if curve is None else capturing_depth_kib(curve, self.params.captured)
                for curve, rough in zip(view.ghost_returns, coarse, strict=True)
            ]
        )

    def _kept(self, time_s: float) -> float:
        elapsed_s = time_s - self._time_s
        return math.exp(-elapsed_s / self.params.decay_s) if elapsed_s >= 0 else 1.0


def capturing_depth_kib(returns: Curve, part: float) -> float:
    """The smallest depth above which this part of the returns happens; 0 when nothing returns."""
    depths, rates = np.array(sorted(returns)).reshape(-1, 2).T
    captured = rates.cumsum()
    if not captured.size or captured[-1] <= 0:
        return 0.0
    return float(depths[np.searchsorted(captured, part * captured[-1] * (1 - 1e-12))])
