"""The columns of a run's files with their types and units, and what one row is made of."""

from __future__ import annotations

import math
import time
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

TRIAL_COLUMNS: Mapping[str, str] = {
    "run": "str", "experiment": "str", "backend": "str", "block": "int", "order": "int", "policy": "str",
    "label": "str", "guest": "str", "workload": "str", "metric": "str", "unit": "str", "better": "str",
    "value": "float", "status": "str", "reason": "str", "started_utc": "str", "started_mono_s": "float",
    "duration_s": "float", "major_faults": "float", "swapped_in_kib": "float", "swapped_out_kib": "float",
    "stall_some_s": "float", "stall_full_s": "float", "oom_kills": "float", "balloon_moved_mib": "float",
    "level": "float",
}  # fmt: skip
"""`trials.csv`: one row a trial, guest and metric; a failed trial is a row without a value but with a reason.

`level` is where a trial stands on the axis of the experiment's sweep, and empty where nothing is varied.
The first metric row of a guest is its headline; counters belong to the guest and are the same in all of its rows.
"""

SAMPLE_COLUMNS: Mapping[str, str] = {
    "run": "str", "block": "int", "order": "int", "policy": "str", "label": "str", "tick": "int", "utc": "str",
    "mono_s": "float", "trial_s": "float", "guest": "str", "age_s": "float", "current_kib": "float",
    "asked_kib": "float", "target_kib": "float", "mem_total_kib": "float", "mem_free_kib": "float",
    "mem_available_kib": "float", "buffers_kib": "float", "cached_kib": "float", "committed_kib": "float",
    "swap_total_kib": "float", "swap_free_kib": "float", "swap_in_kib_s": "float", "swap_out_kib_s": "float",
    "refault_kib_s": "float", "major_faults_s": "float", "stall_some": "float", "stall_full": "float",
    "active_kib": "float", "shmem_kib": "float", "state": "str", "reclaimable_slab_kib": "float",
    "huge_pages_kib": "float", "arc_kib": "float", "arc_min_kib": "float", "zram_kib": "float",
    "zram_swapped_kib": "float",
}  # fmt: skip
"""`samples.csv`: one row a tick and guest: what the arbiter knew, what Xen had given, and the state it was in.

`asked_kib` is what the policy wanted; `target_kib` is what the governor sent in this tick, empty when it sent nothing.
"""
YOUNGER = ("shmem_kib", *tuple(SAMPLE_COLUMNS)[tuple(SAMPLE_COLUMNS).index("state") + 1 :])
"""Columns of samples that older runs lack."""

EVENT_COLUMNS: Mapping[str, str] = {
    "run": "str", "block": "int", "order": "int", "label": "str", "utc": "str", "mono_s": "float", "event": "str",
    "guest": "str", "detail": "str",
}  # fmt: skip
"""`events.jsonl`: one object a line; `guest` is null (empty in the frame) when the event is about no single guest."""

REPLAY_COLUMNS: Mapping[str, str] = {
    "run": "str", "block": "int", "order": "int", "policy": "str", "label": "str", "replayed": "str", "tick": "int",
    "trial_s": "float", "time_s": "float", "guest": "str", "current_kib": "float", "recorded_asked_kib": "float",
    "replayed_asked_kib": "float", "difference_kib": "float", "recorded_target_kib": "float",
    "replayed_target_kib": "float", "recorded_state": "str", "replayed_state": "str", "recorded_reason": "str",
    "replayed_reason": "str",
}  # fmt: skip
"""`replay.csv`: one row a tick and guest: what the policy of the run decided, and what another one would have."""

STATUSES = ("ok", "failed", "timeout", "oom", "lost")
BETTER = ("higher", "lower", "")
SMALLEST, LARGEST = 1e-15, 1e15
"""Of a result that is not 0: up to the larger whole numbers are exact, and ratios, products and squares of any two, and
sums of many, stay far from what a float can hold."""
BEYOND = f"and no result is negative, above {LARGEST:g}, or between 0 and {SMALLEST:g}"
"""Why a number is none."""


class RecordsError(ValueError):
    """A run folder is not what it should be; the message names the file and the remedy."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Stamp:
    """One moment: the controller's UTC for people, and monotonic seconds of the trial's clock for arithmetic."""

    utc: str
    mono_s: float

    @classmethod
    def now(cls) -> Stamp:
        """Return the present moment on the controller's clock, to the millisecond."""
        return cls.at(time.monotonic())

    @classmethod
    def at(cls, mono_s: float) -> Stamp:
        """Return the present moment, which is this one on the clock that the trial goes by."""
        return cls(utc=datetime.now(UTC).isoformat(timespec="milliseconds"), mono_s=round(mono_s, 3))


@dataclass(frozen=True, slots=True, kw_only=True)
class TrialKey:
    """Which trial a row belongs to; `block` and `order` count from 1."""

    run: str
    block: int
    order: int
    policy: str
    label: str
    level: float | None = None
    """Where the trial stands on the axis of the experiment's sweep; only `trials.csv` has it."""

    def columns(self) -> dict[str, Any]:
        """Return the key as the leading columns of a row."""
        return {"run": self.run, "block": self.block, "order": self.order, "policy": self.policy, "label": self.label}

    @property
    def folder(self) -> str:
        """Name of the trial's own folder under `trials/`."""
        return f"{self.block:03d}-{self.order:02d}"


@dataclass(frozen=True, slots=True, kw_only=True)
class TrialRow:
    """One guest and metric of a finished trial. A value that is not known is None, never 0."""

    guest: str
    workload: str
    status: str
    started: Stamp
    duration_s: float
    metric: str = ""
    unit: str = ""
    better: str = ""
    value: float | None = None
    reason: str = ""
    major_faults: float | None = None
    swapped_in_kib: float | None = None
    swapped_out_kib: float | None = None
    stall_some_s: float | None = None
    stall_full_s: float | None = None
    oom_kills: float | None = None
    balloon_moved_mib: float | None = None

    def __post_init__(self) -> None:
        """Refuse a row that a reader could misread.

        Raises:
            RecordsError: unknown status or direction, a failure without a reason, a metric of ok without a value.

        """
        where = f"trial row of guest {self.guest!r}"
        if self.status not in STATUSES:
            raise RecordsError(f"{where}: status {self.status!r} is unknown; use one of {', '.join(STATUSES)}")
        if self.better not in BETTER:
            raise RecordsError(f"{where}: better is {self.better!r}; use higher or lower")
        if self.status != "ok" and not self.reason:
            raise RecordsError(f"{where}: status {self.status} without a reason; say why the trial has no number")
        if self.status == "ok" and self.metric and (self.value is None or not math.isfinite(self.value)):
            raise RecordsError(f"{where}: metric {self.metric!r} is ok but has no finite value; mark the row as failed")
        if self.value is not None and not (self.metric and self.better):
            raise RecordsError(f"{where}: a value needs its metric and direction; give metric and better")
