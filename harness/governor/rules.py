"""The governor's arithmetic: what a guest must keep, what the pool allows, what Xen has free right now."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np

from harness.policies.base import MIB
from harness.policies.waterfill import waterfill
from harness.view import FloatArray, HostView


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
    allow_swap: bool = False
    """Let a policy take memory that the guest needs, so that it swaps. Experiments do."""
    emergency_share: float = 0.10
    """Of what a starving guest had when it fell silent: all it may get before it speaks again; ours."""

    @property
    def stale_s(self) -> float:
        """Age in seconds above which a sample is no longer believed."""
        return self.period_s * self.stale_periods


def or_0(figures: FloatArray) -> FloatArray:
    """The figures with 0 for what is not known: for sums to which the unknown adds nothing."""
    return np.where(np.isnan(figures), 0.0, figures)


def dead_band_kib(current: FloatArray, limits: Limits) -> FloatArray:
    """The smallest step worth a balloon's work, per guest."""
    return np.maximum(limits.dead_band_kib, limits.dead_band_share * current)


def bounds_kib(view: HostView, limits: Limits) -> tuple[FloatArray, FloatArray]:
    """Per guest, the least and the most that it may have.

    The least is its minimum, and what it needs to live as long as it has that: all but its available memory, plus the
    margin. Where its available memory is not known it does not shrink; where its bounds are not known it stays.
    """
    current = np.round(view.current_kib)
    needed = np.maximum(current, or_0(view.mem_total_kib)) - view.mem_available_kib + limits.margin_kib
    needed = np.zeros(len(view)) if limits.allow_swap else np.where(np.isnan(needed), current, needed)
    least = np.maximum(np.ceil(view.min_kib), np.ceil(np.minimum(needed, current)))
    known = view.min_kib <= view.max_kib
    return np.where(known, least, current), np.where(known, np.maximum(np.floor(view.max_kib), least), current)


def fit(wanted: FloatArray, current: FloatArray, least: FloatArray, pool_kib: float) -> FloatArray:
    """Cut what is wanted to the pool: first the growth, pro rata to the ask, then what each has above its least."""
    for keep in (np.minimum(wanted, current), np.minimum(wanted, least)):
        if len(wanted) and wanted.sum() > pool_kib:
            wanted = waterfill(pool_kib, wanted, np.maximum(wanted - keep, 1.0), keep, wanted).targets_kib
    return wanted


def grant(asks: FloatArray, smallest: FloatArray, free_kib: float, order: Iterable[int]) -> FloatArray:
    """Give out what is free, in this order; a part rather than nothing, but nothing smaller than the dead band."""
    grants = np.zeros(len(asks))
    for i in order:
        part = min(asks[i], np.floor(free_kib))
        if part > 0 and part >= min(smallest[i], asks[i]):
            grants[i] = part
            free_kib -= part
    return grants
