"""What the bounds share: each is told what no host can see, and may follow whatever gets most done in a trial.

Marginal analysis on the lower convex hulls of loss curves: B. Fox, "Discrete optimization via marginal analysis",
Management Science 13(3), 1966.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import replace
from typing import ClassVar, Generic, TypeVar

import numpy as np
from scipy.optimize import isotonic_regression

from harness.policies.base import Allocation, Policy, PolicyError, among_known
from harness.view import FloatArray, HostView

POINTS = 65
"""Sizes at which a loss curve is asked for, from a guest's least to its most."""

Told = TypeVar("Told")
"""The kind of what a bound is told."""


class Bound(ABC, Generic[Told]):
    """A policy that nobody can run outside the simulator."""

    lacks: ClassVar[str]
    """What is said where there is nobody to tell it."""
    knowledge: Told | None = None
    """Set by the simulator, as the others here."""
    follows: Policy | None = None
    """What gets most done in this trial, as trying showed: another policy, or its own plan with another horizon."""
    called: str | None = None

    def reset(self) -> None:
        """Whom it follows begins anew."""
        if self.follows is not None:
            self.follows.reset()

    def decide(self, view: HostView) -> Allocation:
        """Divide the pool by what is known, or as the policy does that it follows.

        Raises:
            PolicyError: there is nobody to tell it.

        """
        if self.knowledge is None:
            raise PolicyError(self.lacks)
        if self.follows is not None:
            return replace(self.follows.decide(view), state=self.called)
        knowledge = self.knowledge
        return among_known(view, lambda known: self._decide(known, knowledge))

    @abstractmethod
    def _decide(self, view: HostView, knowledge: Told) -> Allocation:
        """Divide the pool among guests all of which are known."""


def gains(sizes: FloatArray, lost: FloatArray) -> tuple[FloatArray, FloatArray]:
    """Return the steps between sizes, and what a KiB of each saves on the lower convex hull of what is lost.

    `sizes` (KiB) and `lost` are (points, guests); what is returned is (points - 1, guests), the second falling.
    """
    steps = np.diff(sizes, axis=0)
    saves = np.divide(-np.diff(lost, axis=0), steps, out=np.zeros_like(steps), where=steps > 0)
    return steps, np.array([isotonic_regression(slopes, increasing=False).x for slopes in saves.T]).T


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
