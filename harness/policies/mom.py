"""`mom`: oVirt. When the host runs low every guest shrinks by at most 5 %, else every guest grows by at least 5 %.

After the ballooning policy of the Memory Overcommitment Manager (doc/balloon.rules). On Xen nothing of the host's
memory is in its page cache, so its free share is free / total.
"""

from __future__ import annotations

from collections import defaultdict, deque
from typing import ClassVar

import numpy as np
from pydantic import Field

from harness.policies.base import Allocation, Pace, Params, Reasons, among_known, changes
from harness.view import FloatArray, HostView

INTERVAL_S = 10.0
SAMPLES = 10
STEP = 0.05
CRITICAL = 0.05
GUEST_FREE = 0.20
LEAST_CHANGE = 0.0025


class MomParams(Params):
    """Parameters of `mom`."""

    threshold: float = Field(
        default=0.20,
        gt=0.05,
        le=1,
        description="above 0.05 to 1: host free share below which guests shrink; 0.20 there",
    )


class Mom:
    """Shrink: T = max(0.95·C, lo, used + p·C). Grow: T = min(hi, max(1.05·C, lo, used + 0.20·C))."""

    name: ClassVar[str] = "mom"

    def __init__(self, params: MomParams) -> None:
        self.params = params
        self.reset()

    def reset(self) -> None:
        """Forget the samples."""
        self._pace = Pace(INTERVAL_S)
        self._host: deque[float] = deque(maxlen=SAMPLES)
        self._used: defaultdict[str, deque[float]] = defaultdict(lambda: deque(maxlen=SAMPLES))

    def decide(self, view: HostView) -> Allocation:
        """Take in a sample; decide every 10 s."""
        return among_known(view, self._sample, needs=["mem_free_kib"], host=["total_kib", "free_kib"])

    def _sample(self, view: HostView) -> Allocation:
        self._host.append(view.free_kib / max(view.total_kib, 1.0))
        for name, used in zip(view.names, view.current_kib - view.mem_free_kib, strict=True):
            self._used[name].append(used)
        return self._pace.decide(view, self._decide)

    def _decide(self, view: HostView) -> Allocation:
        free = float(np.mean(self._host))
        used = np.array([np.mean(self._used[name]) for name in view.names])
        targets = self._shrink(view, used, free) if free < self.params.threshold else _grow(view, used)
        skipped = np.abs(targets - view.current_kib) <= LEAST_CHANGE * view.current_kib
        targets = np.where(skipped, view.current_kib, targets)
        side = "shrinks" if free < self.params.threshold else "grows"
        reasons = (f"host {free:.0%} free, so everyone {side}: {text}" for text in changes(view, targets))
        return Allocation(targets_kib=targets, reasons=Reasons(reasons, len(view)), state=side)

    def _shrink(self, view: HostView, used: FloatArray, free: float) -> FloatArray:
        """Towards used + p·C; below a free share of 5 % p is negative and the guest has to swap."""
        part = free - CRITICAL if free <= CRITICAL else GUEST_FREE * free / self.params.threshold
        current = view.current_kib
        targets = np.maximum.reduce([(1 - STEP) * current, view.min_kib, used + part * current])
        return np.where(targets <= current, targets, current)


def _grow(view: HostView, used: FloatArray) -> FloatArray:
    current = view.current_kib
    wanted = np.maximum.reduce([(1 + STEP) * current, view.min_kib, used + GUEST_FREE * current])
    return np.minimum(view.max_kib, wanted)
