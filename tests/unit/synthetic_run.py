"""A small run made through the writer: two kinds of work and an idle guest under several policies, in virtual time."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np

from harness.governor import Plan, Step
from harness.policies import make
from harness.policies.base import Allocation
from harness.ports import Outcome
from harness.records import (
    RunFolder,
    Stamp,
    TickWriter,
    TrialKey,
    TrialRow,
    TrialWriter,
    again,
    decision_record,
    without_again,
)
from harness.view import HostView

MIB = 1024
GUESTS = ("g1", "g2", "g3")
WORK = {"g1": ("mono", "passes_per_s", "1/s", "higher"), "g2": ("kernel-build", "build_s", "s", "lower")}
GAINS: Mapping[str, tuple[float, float]] = {"static": (1.0, 1.0), "two-state": (2.0, 0.96), "proportional": (0.7, 1.1)}
"""How much better g1 and g2 are under each policy than under `static`."""


class VirtualTime:
    """A clock that only moves when told."""

    def __init__(self) -> None:
        self.now_s = 1000.0

    def __call__(self) -> Stamp:
        moment = datetime(2026, 3, 1, tzinfo=UTC) + timedelta(seconds=self.now_s)
        return Stamp(utc=moment.isoformat(timespec="milliseconds"), mono_s=self.now_s)


def manifest(**changes: object) -> dict[str, object]:
    """Return a manifest as a run makes it."""
    return {
        "run": "r1",
        "experiment": {"name": "quick", "pool_mib": 1100, "seed": 1, "repetitions": 6,
                       "guests": [{"name": name, "workload": WORK.get(name, ("idle",))[0]} for name in GUESTS]},
        "backend": "simulator",
        "started_utc": "2026-03-01T00:16:40.000+00:00",
        "versions": {"ballast": "0.1.0", "python": "3.11.7"},
        "git": {"commit": "0123456789abcdef", "dirty": False},
        "lock_sha256": "ab" * 32,
        "seeds": {"blocks": 1},
        "host": {"cpu": "Example CPU", "cores": 2, "memory_kib": 8_000_000, "kernel": "6.1.0"},
        "xen": {"version": "4.17", "accelerator": "tcg"},
        "files": {},
    } | changes  # fmt: skip


def view(tick: int, current_kib: Sequence[float]) -> HostView:
    """Return what a policy sees in this tick: g1's demand rises and falls, the others are quiet."""
    demand = np.array([150 + 200 * np.sin(tick / 30 * np.pi) ** 2, 180, 60]) * MIB
    guests = []
    for name, current, wanted in zip(GUESTS, current_kib, demand, strict=True):
        total = current - 20 * MIB
        used = min(wanted, total - 10 * MIB)
        guests.append({
            "name": name, "current_kib": int(current), "min_kib": 128 * MIB, "max_kib": 800 * MIB, "shares": 1000,
            "mem_total_kib": int(total), "mem_free_kib": int(total - used - 4 * MIB), "buffers_kib": MIB,
            "cached_kib": 3 * MIB, "committed_kib": int(wanted), "swap_total_kib": 512 * MIB,
            "swap_free_kib": int(512 * MIB - (wanted - used)), "stall_some": None, "age_s": 0.4,
        })  # fmt: skip
    host = {"total_kib": 2_000_000, "free_kib": 100_000, "reserve_kib": 65_536}
    return HostView.from_json({"time_s": 2.0 * tick, "host": host, "guests": guests})


def write_trial(writer: TickWriter, clock: VirtualTime, *, ticks: int = 4, shadows: Sequence[str] = ()) -> None:
    """Write the ticks of one trial."""
    watching = {f"{name} (shadow)": make(name) for name in shadows}
    moves = writer.key.policy != "static"
    policy = make("two-state" if moves else "static")
    current = np.full(3, 250.0) * MIB
    for tick in range(ticks):
        clock.now_s += 2
        target = seen_target(tick) if moves else current.copy()
        changes = [(g, int(c), int(t)) for g, c, t in zip(GUESTS, current, target, strict=True) if t != c]
        steps = tuple(Step(guest=g, from_kib=c, target_kib=t, asked_kib=t, reason="demand") for g, c, t in changes)
        state = "scarce" if moves and 8 <= tick % 30 < 22 else "ample" if moves else None
        writer.tick(
            view(tick, current),
            Allocation(targets_kib=target, reasons=("demand",) * 3, state=state),
            policy,
            Plan(steps=steps, held={}),
            Outcome(applied_kib={step.guest: step.target_kib for step in steps}, failed={}),
            {"collect_s": 0.1, "decide_s": 0.001, "apply_s": 0.05},
            shadow={
                label: decision_record(shadow, GUESTS, shadow.decide(view(tick, current)))
                for label, shadow in watching.items()
            },
        )
        current = target


def seen_target(tick: int) -> np.ndarray:
    """Return an allocation that follows g1."""
    extra = np.round(140 * np.sin(tick / 30 * np.pi) ** 2)
    return np.array([250 + extra, 250 - extra / 2, 250 - extra / 2]) * MIB


def rows(
    writer: TrialWriter, values: Mapping[str, float], *, failed: str = "", stall_s: float | None = None
) -> Iterator[TrialRow]:
    """Yield one row a guest; `failed` is the guest whose work gave no number."""
    for name in GUESTS:
        workload, metric, unit, better = WORK.get(name, ("idle", "", "", ""))
        bad = name == failed
        yield TrialRow(
            guest=name, workload=workload, metric=metric, unit=unit, better=better,
            value=None if bad else values.get(name), status="oom" if bad else "ok",
            reason="killed by the kernel:\r\nOut of memory, 50% of $x_1$" if bad else "", started=writer.started,
            duration_s=60.0, major_faults=120.0 if name == "g1" else 3.0, swapped_in_kib=2048.0, swapped_out_kib=4096.0,
            stall_some_s=1.5, stall_full_s=stall_s, oom_kills=float(bad), balloon_moved_mib=12.5,
        )  # fmt: skip


def write_run(
    path: Path,
    *,
    blocks: int = 8,
    ticks: int = 4,
    gains: Mapping[str, tuple[float, float]] = GAINS,
    fails: Callable[[int, str], str] = lambda block, label: "",
    seed: int = 1,
    unsteady: float = 0.05,
    shadows: Sequence[str] = (),
    levels: Mapping[float, float] | None = None,
    stalls: Mapping[str, float] | None = None,
    repeats: Sequence[tuple[float, float]] = (),
    steady: bool = False,
    **changes: object,
) -> RunFolder:
    """Write a whole run; `fails` names the guest that fails in a block under a label.

    `unsteady` is how much the blocks differ, whatever the policy. `levels` maps the place of a level to the power of
    every gain there; each block then is one of them, in turn. `stalls` is how long each guest stalls under a label.
    `repeats` runs `static` a second time in each block, in turn so many times as good for g1 and g2 as the first time.
    `steady` makes every value exactly what the gains say.
    """
    random = np.random.default_rng(seed)
    facts: dict[str, Any] = manifest(**changes)
    if shadows:
        facts["experiment"] |= {"shadows": [{"name": name, "label": f"{name} (shadow)"} for name in shadows]}
    folder = RunFolder.create(path, facts)
    stalled = stalls or {}
    clock = VirtualTime()
    places = list(levels or {})
    for block in range(1, blocks * (len(places) or 1) + 1):
        level = places[(block - 1) % len(places)] if places else None
        pace = random.lognormal(sigma=unsteady)
        labels = [*gains, *([again("static")] if repeats else [])]
        noises: dict[str, np.ndarray] = {}
        for order, label in enumerate(random.permutation(labels), start=1):
            policy = without_again(str(label)).split(",")[0]
            key = TrialKey(run=folder.run, block=block, order=order, policy=policy, label=str(label), level=level)
            power = levels[level] if levels and level is not None else 1.0
            of = without_again(str(label))
            if of not in noises:
                noises[of] = random.lognormal(sigma=0.03, size=2)
            gain = np.array(gains[of]) ** power * (1.0 if steady else pace * noises[of])
            if str(label) != of:
                gain *= repeats[(block - 1) % len(repeats)]
            with TrialWriter(folder, key, stamp=clock) as writer:
                write_trial(writer, clock, ticks=ticks, shadows=shadows)
                values = {"g1": 50 * gain[0], "g2": 80 / gain[1]}
                writer.finish(
                    rows(writer, values, failed=fails(block, str(label)), stall_s=stalled.get(label)), commit=False
                )
    return folder.seal()
