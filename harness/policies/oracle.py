"""`oracle`: knows what every guest would lose at any size, now and soon, and gives memory where it saves most time.

The bound above all other policies, and only the simulator can tell it what it knows. Marginal analysis on the lower
convex hulls of the true loss curves (B. Fox, "Discrete optimization via marginal analysis", Management Science 13(3),
1966), looking as far ahead as balloons need to move. That is greedy in time, so before a trial the simulator tries the
other policies of the experiment too, and the oracle then follows whichever gets most done.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import ClassVar, Protocol

import numpy as np
from pydantic import Field
from scipy.optimize import isotonic_regression

from harness.policies.base import Allocation, Params, Policy, PolicyError, Reasons, among_known, changes
from harness.policies.waterfill import waterfill
from harness.view import FloatArray, HostView

POINTS = 65
"""Sizes at which a loss curve is asked for, from a guest's least to its most."""

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


class Oracle:
    """Minimise Σ lost time over the horizon, subject to Σ T = M and the bounds."""

    name: ClassVar[str] = "oracle"
    knowledge: Knowledge | None = None
    """Set by the simulator, as the others here."""
    follows: Policy | None = None
    """What gets most done in this trial, as trying showed: another policy, or its own plan with another horizon."""
    called: str | None = None

    def __init__(self, params: OracleParams) -> None:
        self.params = params

    def reset(self) -> None:
        """Whom it follows begins anew."""
        if self.follows is not None:
            self.follows.reset()

    def decide(self, view: HostView) -> Allocation:
        """Divide the pool by what each guest is about to lose, or as the policy does that it follows.

        Raises:
            PolicyError: there is nobody to tell what that is.

        """
        if self.knowledge is None:
            raise PolicyError("oracle knows the future, which only the simulator can tell it; use: ballast simulate")
        if self.follows is not None:
            return replace(self.follows.decide(view), state=self.called)
        knowledge = self.knowledge
        return among_known(view, lambda known: self._decide(known, knowledge))

    def _decide(self, view: HostView, knowledge: Knowledge) -> Allocation:
        sizes = np.linspace(view.min_kib, view.max_kib, POINTS)
        lost = knowledge.lost_s(view.names, sizes, view.time_s, view.time_s + self.params.horizon_s)
        steps = np.diff(sizes, axis=0)
        saves = np.divide(-np.diff(lost, axis=0), steps, out=np.zeros_like(steps), where=steps > 0)
        hulls = np.array([isotonic_regression(slopes, increasing=False).x for slopes in saves.T]).T
        wanted = best(view.min_kib, steps, hulls, view.pool_kib)
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


def best(least_kib: FloatArray, steps_kib: FloatArray, saves: FloatArray, pool_kib: float) -> FloatArray:
    """Give the pool out, step by step to whom it saves most, as long as it saves anything.

    `steps_kib` and `saves` (s/KiB, falling) are (points - 1, guests).
    """
    flat, worth = steps_kib.ravel(), saves.ravel()
    order = np.argsort(-worth, kind="stable")
    sizes = np.where(worth[order] > 0, flat[order], 0.0)
    before = sizes.cumsum() - sizes
    taken = np.empty_like(flat)
    taken[order] = np.clip(pool_kib - least_kib.sum() - before, 0.0, sizes)
    targets: FloatArray = least_kib + taken.reshape(steps_kib.shape).sum(axis=0)
    return targets
