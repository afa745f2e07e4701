"""`self-balloon`: every guest toward its own committed memory; nobody looks at the host.

Magenheimer, "Memory Overcommit… without the Commitment" (Xen Summit 2008): the userspace daemon. The variant `kernel`
is the driver that Linux had from 2011 to 2019 (drivers/xen/xen-selfballoon.c).
"""

from __future__ import annotations

from typing import ClassVar, Literal

import numpy as np
from pydantic import Field

from harness.policies.base import MIB, Allocation, Pace, Reasons, among_known, changes, mib
from harness.policies.overhead import Overhead, OverheadParams
from harness.view import FloatArray, HostView

KERNEL_INTERVAL_S = 5.0
KERNEL_RESERVE = 0.10


class SelfBalloonParams(OverheadParams):
    """Parameters of `self-balloon`."""

    variant: Literal["userspace", "kernel"] = Field(
        default="userspace",
        description="userspace: the daemon of 2008, down by a tenth of the way every tick; "
        "kernel: the Linux driver of 2011-2019, down by an eighth every 5 s, 10 % of max_kib added to the goal",
    )


class SelfBalloon:
    """Goal = max(K + reserve, floor(hi)); down C - (C - goal)/10, up to the goal at once."""

    name: ClassVar[str] = "self-balloon"

    def __init__(self, params: SelfBalloonParams) -> None:
        self.params = params
        self._overhead = Overhead(params)
        self.needs = ("committed_kib", *self._overhead.needs)
        self.reset()

    def reset(self) -> None:
        """Decide anew at the next view."""
        self._overhead.reset()
        self._pace = Pace(KERNEL_INTERVAL_S if self.params.variant == "kernel" else 0.0)

    def decide(self, view: HostView) -> Allocation:
        """Move every guest towards its goal, whatever the host has."""
        return among_known(view, lambda known: self._pace.decide(known, self._decide), needs=self.needs, host=())

    def wants_kib(self, view: HostView) -> FloatArray:
        """Committed memory and what a guest needs beside it."""
        return view.committed_kib + self._overhead.kib(view)

    def _decide(self, view: HostView) -> Allocation:
        goal = self.wants_kib(view)
        if self.params.variant == "kernel":
            goal += KERNEL_RESERVE * view.max_kib
            targets = np.maximum(_towards(goal, view.current_kib, down=8), kernel_floor_kib(view.max_kib))
        else:
            goal = np.maximum(goal, userspace_floor_kib(view.max_kib))
            targets = _towards(goal, view.current_kib, down=10)
        targets = np.clip(targets, view.least_kib, view.max_kib)
        reasons = (
            f"{mib(committed)} committed, goal {mib(aim)}: {text}"
            for committed, aim, text in zip(view.committed_kib, goal, changes(view, targets), strict=True)
        )
        return Allocation(targets_kib=targets, reasons=Reasons(reasons, len(view)))


def _towards(goal: FloatArray, current: FloatArray, *, down: int) -> FloatArray:
    """All the way up, a part of the way down."""
    return np.where(goal < current, current - (current - goal) / down, goal)


def userspace_floor_kib(max_kib: FloatArray) -> FloatArray:
    """What the daemon never goes below, for a guest of `max_kib`: 512 MiB → 168, 1024 → 232, 2048 → 360."""
    size = max_kib / MIB
    pages = max_kib / 4
    return MIB * np.select(
        [size < 125, size < 500, size < 2000],
        [8 + pages / 512, 40 + pages / 1024, 104 + pages / 2048],
        default=296 + pages / 8192,
    )


def kernel_floor_kib(max_kib: FloatArray) -> FloatArray:
    """What the driver never goes below: a half, an eighth, then a thirty-second of the usable memory."""
    size = max_kib / MIB
    return MIB * np.select(
        [size < 64, size < 512], [16 + (size - 16) / 2, 40 + (size - 40) / 8], default=99 + (size - 99) / 32
    )
