"""The governor's arithmetic: what a guest must keep, what the pool allows, what Xen has free right now."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from harness.policies.base import MIB
from harness.policies.waterfill import waterfill
from harness.view import FloatArray


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """What the governor insists on."""

    period_s: float = 2.0
    """Of the arbiter's tick."""
    stale_periods: float = 3.0
    """Without a sample for longer than this a guest takes no part."""
    dead_band_kib: float = 1024.0
    dead_band_share: float = 0.005
    """Of what the guest has; the larger of the two is the smallest step."""
    margin_kib: float = 16 * MIB
    """Available memory that a guest keeps, for what it comes to need between two samples; ours."""
    margin_share: float = 0.0
    """Of what the guest has; the larger of the two is what it keeps. None in trials, whose guests are small."""
    take_kib_s: float = math.inf
    """The most that is taken from a guest in a second. Trials show what policies do, and set none."""
    blind_periods: float = 2.0
    """A look that comes later than this after the one before says nothing about the time between; ours: one look may
    be missed."""
    allow_swap: bool = False
    """Let a policy take memory that the guest needs, so that it swaps. Experiments do."""
    emergency_share: float = 0.10
    """Of what a starving guest had when it fell silent: all it may get before it speaks again; ours."""

    @property
    def stale_s(self) -> float:
        """Age in seconds above which a sample is no longer believed."""
        return self.period_s * self.stale_periods

    @property
    def blind_s(self) -> float:
        """Between two looks longer than this nobody is watched."""
        return self.period_s * self.blind_periods

    @property
    def take_kib(self) -> float:
        """The most that is taken from a guest in a tick."""
        return self.period_s * self.take_kib_s

    def margin_of_kib(self, current: float) -> float:
        """Available memory that a guest of this size keeps."""
        return max(self.margin_kib, self.margin_share * current)


def or_0(figure: float) -> float:
    """The figure, or 0 where it is not known: for sums to which the unknown adds nothing."""
    return 0.0 if math.isnan(figure) else figure


def dead_band_kib(current: float, limits: Limits) -> float:
    """The smallest step worth a balloon's work."""
    return max(limits.dead_band_kib, limits.dead_band_share * current)


def bounds_kib(
    current: float, total: float, available: float, low: float, high: float, limits: Limits
) -> tuple[float, float]:
    """The least and the most that a guest may have, in whole KiB.

    The least is its minimum, and what it needs to live as long as it has that: all but its available memory, plus the
    margin. Where its available memory is not known it does not shrink; where its bounds are not known it stays.
    """
    if math.isnan(current) or not low <= high:
        return current, current
    needed = 0.0 if limits.allow_swap else need_kib(current, total, available, limits)
    least = float(math.ceil(max(low, needed)))
    return least, max(float(math.floor(high)), least)


def need_kib(current: float, total: float, available: float, limits: Limits) -> float:
    """What a guest needs to live, as long as it has that; all it has where its available memory is not known."""
    needed = max(current, or_0(total)) - available + limits.margin_of_kib(current)
    return current if math.isnan(needed) else min(needed, current)


def fit(wanted: FloatArray, current: FloatArray, least: FloatArray, pool_kib: float) -> FloatArray:
    """Cut what is wanted to the pool: first the growth, pro rata to the ask, then what each has above its least."""
    for keep in (np.minimum(wanted, current), np.minimum(wanted, least)):
        if wanted.sum() > pool_kib:
            wanted = waterfill(pool_kib, wanted, np.maximum(wanted - keep, 1.0), keep, wanted).targets_kib
    return wanted
