"""`oracle`: knows what every guest would lose at any size, now and soon, and gives memory where it saves most time.

The bound above all other policies, and only the simulator can tell it what it knows. Marginal analysis on the lower
convex hulls of the true loss curves (B. Fox, "Discrete optimization via marginal analysis", Management Science 13(3),
1966), looking as far ahead as balloons need to move. That is greedy in time, so before a trial the simulator tries the
other policies of the experiment too, and the oracle then follows whichever gets most done.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar, Protocol

import numpy as np
from pydantic import Field

from harness.policies.base import Allocation, Params, Reasons, changes
from harness.policies.bound import POINTS, Bound, best, gains
from harness.policies.waterfill import waterfill
from harness.view import FloatArray, HostView

LONGEST_S = 3600.0
"""Farther ahead it does not look."""


class Knowledge(Protocol):
    """What the oracle is told."""

    def lost_s(self, names: Sequence[str], sizes_kib: FloatArray, from_s: float, to_s: float) -> FloatArray:
        """Seconds that each guest would lose between two moments at each size; both are (points, guests)."""
        ...


class OracleParams(Params):
    """Parameters of `oracle`."""

    horizon_s: float = Field(
        default=6.0,
        gt=0,
        le=LONGEST_S,
        description="s, above 0 to 3600: how far it looks ahead; 6, three ticks of 2 s; ours",
    )


class Oracle(Bound[Knowledge]):
    """Minimise Σ lost time over the horizon, subject to Σ T = M and the bounds."""

    name: ClassVar[str] = "oracle"
    lacks: ClassVar[str] = "oracle knows the future, which only the simulator can tell it; use: ballast simulate"

    def __init__(self, params: OracleParams) -> None:
        self.params = params

    def _decide(self, view: HostView, knowledge: Knowledge) -> Allocation:
        sizes = np.linspace(view.min_kib, view.max_kib, POINTS)
        lost = knowledge.lost_s(view.names, sizes, view.time_s, view.time_s + self.params.horizon_s)
        wanted = best(view.min_kib, *gains(sizes, lost), view.pool_kib)
        targets = waterfill(view.pool_kib, wanted, np.maximum(wanted, 1.0), view.min_kib, view.max_kib).targets_kib
        reasons = (
            f"would lose {share:.1%} of its time at {size / 1024:.0f} MiB: {text}"
            for share, size, text in zip(
                lost[np.abs(sizes - targets).argmin(axis=0), np.arange(len(view))] / self.params.horizon_s,
                targets,
                changes(view, targets),
                strict=True,
            )
        )
        return Allocation(targets_kib=targets, reasons=Reasons(reasons, len(view)))
