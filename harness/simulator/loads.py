"""What a guest works on, from the `simulator` key of its workload: a footprint that moves, and a pace of touches."""

from __future__ import annotations

import random
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any

from harness.simulator.curves import PAGE_KIB

MIB = 1024.0
HEIGHTS = 64
"""Heights of steps and bursts that are drawn before they repeat."""
BURSTS = 0.3
"""Chance of a burst in a cycle."""


class ModelError(ValueError):
    """A workload has no model that the simulator knows; the message names the key and the remedy."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Load:
    """One guest's work. An operation touches pages of the footprint, reads pages of files, and computes.

    The footprint rests at `low_kib`, rises, rests at `high_kib`, falls, and begins again; in cycle k it rises only by
    `heights[k]` of the way.
    """

    low_kib: float = 0.0
    high_kib: float = 0.0
    low_s: float = 0.0
    up_s: float = 0.0
    high_s: float = 0.0
    down_s: float = 0.0
    heights: tuple[float, ...] = (1.0,)
    claim_kib: float = 0.0
    """Committed and never touched."""
    leak_kib_s: float = 0.0
    """Taken besides the footprint, written once, and never touched again."""
    most_leaked_kib: float = 0.0
    laid_out: bool = False
    """The footprint is filled before the trial's time begins; else filling it is part of the work."""
    cyclic: bool = False
    exponent: float = 0.0
    """Of the popularity of the footprint's pages; 0: uniform."""
    file_kib: float = 0.0
    file_exponent: float = 0.0
    touches: float = 1.0
    """Pages of the footprint that an operation touches."""
    reads: float = 0.0
    """Pages of files that it reads."""
    ops_s: float = 0.0
    """Operations asked for per second; 0: as many as can be done."""
    passes_s: float = 0.0
    """Passes over the footprint asked for per second, an operation being a page; 0: `ops_s` counts."""
    cpu_s: float = 1e-5
    """Processor time of an operation."""
    unhindered: float | None = None
    """What the workload's headline says when nothing holds it up; None: it follows from the operations."""

    def footprint_kib(self, time_s: float) -> float:
        """Memory that is worked on at a time."""
        cycle_s = self.low_s + self.up_s + self.high_s + self.down_s
        if cycle_s <= 0:
            return self.high_kib
        cycle, at_s = divmod(time_s, cycle_s)
        at_s -= self.low_s
        if at_s < 0:
            rise = 0.0
        elif at_s < self.up_s:
            rise = at_s / self.up_s
        elif at_s < self.up_s + self.high_s:
            rise = 1.0
        else:
            rise = (cycle_s - self.low_s - at_s) / self.down_s
        return self.low_kib + (self.high_kib - self.low_kib) * rise * self.heights[int(cycle) % len(self.heights)]

    def leaked_kib(self, time_s: float) -> float:
        """Memory that has been leaked at a time, where nothing holds the leak up."""
        return min(self.most_leaked_kib, self.leak_kib_s * time_s)

    def wanted_ops_s(self, footprint_kib: float) -> float:
        """Operations per second that are asked for."""
        asked = self.passes_s * footprint_kib / PAGE_KIB if self.passes_s > 0 else self.ops_s
        able = 1 / self.cpu_s
        return min(asked, able) if asked > 0 else able

    def scaled(self, cpu: float) -> Load:
        """The same work on a processor that takes `cpu` times as long."""
        return replace(self, cpu_s=self.cpu_s * cpu)


Numbers = Mapping[str, Any]
COMMON = ("unhindered", "claim_mib")
"""Keys that every model may have."""
PACED_TOUCH_S = 2e-5
"""Of a touch at random, by an interpreted program."""
PASS_TOUCH_S = 1.3e-6
"""Of a touch in a pass; both measured in the lab without hardware virtualisation, and of little weight."""


def load_of(model: Numbers, seed: str) -> Load:
    """Read a model.

    Raises:
        ModelError: it is of no known kind, or says something that this kind does not.

    """
    said = dict(model)
    kind = str(said.pop("model", ""))
    if kind not in MODELS:
        raise ModelError(f"simulator.model is {kind or 'missing'}; known: {', '.join(sorted(MODELS))}")
    build, keys = MODELS[kind]
    if unknown := sorted(set(said) - {*keys, *COMMON}):
        raise ModelError(f"simulator.{unknown[0]}: {kind} has no such key; it has: {', '.join(keys)}")
    load = build({key: said.get(key, default) for key, default in keys.items()}, seed)
    claim_kib = load.claim_kib + said.get("claim_mib", 0.0) * MIB
    return replace(load, unhindered=said.get("unhindered", load.unhindered), claim_kib=claim_kib)


def _idle(said: Numbers, _: str) -> Load:
    size = said["anon_mib"] * MIB
    return Load(low_kib=size, high_kib=size, claim_kib=said["committed_mib"] * MIB, ops_s=1.0, touches=0.0)


def _mono(said: Numbers, _: str) -> Load:
    ramp_s = (said["high_mib"] - said["low_mib"]) / said["rate_mib_s"]
    return Load(
        low_kib=said["low_mib"] * MIB, high_kib=said["high_mib"] * MIB, low_s=said["hold_s"], up_s=ramp_s,
        high_s=said["hold_s"], down_s=ramp_s, cyclic=True, passes_s=said["passes_per_s"], cpu_s=PASS_TOUCH_S,
    )  # fmt: skip


def _random(said: Numbers, _: str) -> Load:
    size = said["footprint_mib"] * MIB
    exponent = said["exponent"] if said["law"] == "zipf" else 0.0
    return Load(high_kib=size, laid_out=True, exponent=exponent, ops_s=said["touches_per_s"], cpu_s=PACED_TOUCH_S)


def _leak(said: Numbers, _: str) -> Load:
    return Load(
        high_kib=said["live_mib"] * MIB, laid_out=True, ops_s=said["touches_per_s"], cpu_s=PACED_TOUCH_S,
        leak_kib_s=said["rate_mib_s"] * MIB, most_leaked_kib=said["most_mib"] * MIB,
    )  # fmt: skip


def _hog(said: Numbers, _: str) -> Load:
    return Load(high_kib=said["anon_mib"] * MIB, cyclic=True, passes_s=said["passes_per_s"], cpu_s=PASS_TOUCH_S)


def _cpu(said: Numbers, _: str) -> Load:
    return Load(high_kib=said["anon_mib"] * MIB, cyclic=True, touches=said["touches_per_op"], cpu_s=said["cpu_s"])


def _scan(said: Numbers, _: str) -> Load:
    return Load(
        high_kib=said["anon_mib"] * MIB, touches=0.0, reads=1.0, file_kib=said["cache_mib"] * MIB,
        file_exponent=said["exponent"], ops_s=said["ops_per_s"], cpu_s=said["cpu_s"],
    )  # fmt: skip


def _database(said: Numbers, _: str) -> Load:
    return Load(
        high_kib=said["anon_mib"] * MIB, laid_out=True, exponent=said["exponent"], file_kib=said["cache_mib"] * MIB,
        file_exponent=said["exponent"], touches=said["touches_per_op"], reads=said["reads_per_op"],
        ops_s=said["ops_per_s"], cpu_s=said["cpu_s"],
    )  # fmt: skip


def _wave(said: Numbers, seed: str, heights: Callable[[random.Random], float]) -> Load:
    """A footprint that jumps: half a cycle high, half a cycle low, or as `share_high` says."""
    draw = random.Random(seed)
    high_s = said["period_s"] * said["share_high"]
    return Load(
        low_kib=said["low_mib"] * MIB, high_kib=said["high_mib"] * MIB, high_s=high_s,
        low_s=said["period_s"] - high_s, heights=tuple(heights(draw) for _ in range(HEIGHTS)), cyclic=True,
        passes_s=said["passes_per_s"], cpu_s=PASS_TOUCH_S,
    )  # fmt: skip


def _square(said: Numbers, seed: str) -> Load:
    return _wave(said, seed, lambda _: 1.0)


def _steps(said: Numbers, seed: str) -> Load:
    return _wave({**said, "share_high": 1.0}, seed, lambda draw: draw.random())


def _burst(said: Numbers, seed: str) -> Load:
    return _wave(said, seed, lambda draw: float(draw.random() < BURSTS))


_WAVE: Numbers = {"low_mib": 60.0, "high_mib": 400.0, "period_s": 20.0, "share_high": 0.5, "passes_per_s": 2.0}

MODELS: Mapping[str, tuple[Callable[[Numbers, str], Load], Numbers]] = {
    "idle": (_idle, {"committed_mib": 0.0, "anon_mib": 0.0}),
    "mono": (_mono, {"low_mib": 60.0, "high_mib": 400.0, "rate_mib_s": 15.0, "hold_s": 8.0, "passes_per_s": 2.0}),
    "random": (_random, {"footprint_mib": 120.0, "law": "zipf", "exponent": 1.0, "touches_per_s": 1000.0}),
    "leak": (_leak, {"live_mib": 60.0, "touches_per_s": 1000.0, "rate_mib_s": 4.0, "most_mib": 400.0}),
    "hog": (_hog, {"anon_mib": 400.0, "passes_per_s": 2.0}),
    "cpu": (_cpu, {"anon_mib": 50.0, "cpu_s": 1e-3, "touches_per_op": 10.0}),
    "cache-scan": (_scan, {"anon_mib": 10.0, "cache_mib": 200.0, "exponent": 0.0, "ops_per_s": 0.0, "cpu_s": 1e-4}),
    "database": (
        _database,
        {
            "anon_mib": 200.0, "cache_mib": 0.0, "exponent": 1.0, "touches_per_op": 20.0, "reads_per_op": 0.0,
            "ops_per_s": 100.0, "cpu_s": 2e-3,
        },
    ),
    "square": (_square, _WAVE),
    "steps": (_steps, {key: value for key, value in _WAVE.items() if key != "share_high"}),
    "burst": (_burst, {**_WAVE, "period_s": 6.0}),
}  # fmt: skip
"""Kind → how it is read, and its keys with their defaults."""
