"""`informed`: knows what every guest would lose at any size in its present phase, and nothing of the future.

A causal bound, beside the one of `oracle`, which knows what is to come: the true loss curve of every guest and how its
demand moves at this moment, both of which no host can see, and what each has got done so far. Memory goes where it
saves most work, each guest's work counting the more the less of it was done: maximising Σ S·ln(work done) by its
gradient (F. P. Kelly, A. K. Maulloo, D. K. H. Tan, "Rate control for communication networks", JORS 49(3), 1998), which
is what the geometric mean over guests asks for. What nobody needs stays where it is, since moving it costs.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar, Protocol

import numpy as np
from pydantic import Field

from harness.policies.base import Allocation, Params, Reasons, changes, mib
from harness.policies.bound import POINTS, Bound, best, gains
from harness.policies.settle import settle
from harness.view import FloatArray, HostView


class Knowledge(Protocol):
    """What the policy is told."""

    def lost_now(self, names: Sequence[str], sizes_kib: FloatArray, ahead_s: float) -> FloatArray:
        """Share of its work that each guest would lose at each size, as its demand moves now; (points, guests)."""
        ...

    def done(self, names: Sequence[str]) -> FloatArray:
        """Share of its work that each guest has got done so far."""
        ...


class InformedParams(Params):
    """Parameters of `informed`."""

    horizon_s: float = Field(
        default=6.0,
        gt=0,
        le=3600,
        description="s, above 0 to 3600: how far the present phase is drawn on; 6, three ticks of 2 s; ours",
    )


class Informed(Bound[Knowledge]):
    """Maximise Σ S·(work done soon)/(share done so far), subject to Σ T = M and the bounds."""

    name: ClassVar[str] = "informed"
    lacks: ClassVar[str] = "informed knows the guests' curves, which only the simulator can tell it"

    def __init__(self, params: InformedParams) -> None:
        self.params = params

    def _decide(self, view: HostView, knowledge: Knowledge) -> Allocation:
        sizes = np.linspace(view.min_kib, view.max_kib, POINTS)
        lost = knowledge.lost_now(view.names, sizes, self.params.horizon_s)
        weights = view.shares / view.shares.mean() / np.maximum(knowledge.done(view.names), 0.02)
        steps, hulls = gains(sizes, lost)
        wanted = best(view.min_kib, steps, hulls * weights, view.pool_kib)
        targets = settle(view.pool_kib, np.minimum(wanted, view.max_kib), view.current_kib, view.max_kib)
        texts = zip(wanted, changes(view, targets), strict=True)
        reasons = (f"gains by {mib(size)} now: {text}" for size, text in texts)
        return Allocation(targets_kib=targets, reasons=Reasons(reasons, len(view)))
