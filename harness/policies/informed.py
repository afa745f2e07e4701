"""`informed`: knows what every guest would lose at any size in its present phase, and nothing of the future.

A causal bound, beside the one of `oracle`, which knows what is to come: the true loss curve of every guest and how its
demand moves at this moment, both of which no host can see, and what each has got done so far. Memory goes where it
saves most work, each guest's work counting the more the less of it was done: maximising Σ S·ln(work done) by its
gradient (F. P. Kelly, A. K. Maulloo, D. K. H. Tan, "Rate control for communication networks", JORS 49(3), 1998), which
is what the geometric mean over guests asks for. What nobody needs stays where it is, since moving it costs.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import ClassVar, Protocol

import numpy as np
from pydantic import Field
from scipy.optimize import isotonic_regression

from harness.policies.base import Allocation, Params, Policy, PolicyError, Reasons, among_known, changes, mib
from harness.policies.oracle import POINTS, best
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


class Informed:
    """Maximise Σ S·(work done soon)/(share done so far), subject to Σ T = M and the bounds."""

    name: ClassVar[str] = "informed"
    knowledge: Knowledge | None = None
    """Set by the simulator, as the others here."""
    follows: Policy | None = None
    """What gets most done in this trial, as trying showed: another policy, or its own plan with another horizon."""
    called: str | None = None

    def __init__(self, params: InformedParams) -> None:
        self.params = params

    def reset(self) -> None:
        """Whom it follows begins anew."""
        if self.follows is not None:
            self.follows.reset()

    def decide(self, view: HostView) -> Allocation:
        """Divide the pool by what each guest loses in its present phase.

        Raises:
            PolicyError: there is nobody to tell what that is.

        """
        if self.knowledge is None:
            raise PolicyError("informed knows the guests' curves, which only the simulator can tell it")
        if self.follows is not None:
            return replace(self.follows.decide(view), state=self.called)
        knowledge = self.knowledge
        return among_known(view, lambda known: self._decide(known, knowledge))

    def _decide(self, view: HostView, knowledge: Knowledge) -> Allocation:
        sizes = np.linspace(view.min_kib, view.max_kib, POINTS)
        lost = knowledge.lost_now(view.names, sizes, self.params.horizon_s)
        weights = view.shares / view.shares.mean() / np.maximum(knowledge.done(view.names), 0.02)
        steps = np.diff(sizes, axis=0)
        saves = np.divide(-np.diff(lost, axis=0), steps, out=np.zeros_like(steps), where=steps > 0)
        hulls = np.array([isotonic_regression(slopes, increasing=False).x for slopes in saves.T]).T
        wanted = best(view.min_kib, steps, hulls * weights, view.pool_kib)
        targets = settle(view.pool_kib, np.minimum(wanted, view.max_kib), view.current_kib, view.max_kib)
        texts = zip(wanted, changes(view, targets), strict=True)
        reasons = (f"gains by {mib(size)} now: {text}" for size, text in texts)
        return Allocation(targets_kib=targets, reasons=Reasons(reasons, len(view)))
