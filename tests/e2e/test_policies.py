"""Every policy on real guests: each sends a target that shrinks one and a target that grows one, and Xen follows."""

from __future__ import annotations

import functools
import math
import operator
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from typing import Any

import pytest

from harness import policies
from harness.balancer import tick
from harness.clocks import wait_for
from harness.experiment.connection import LAB_TIMEOUT_S, stepping
from harness.experiment.signals import Signal, aging_s, traces_swap, window_s
from harness.experiment.workloads import WORKLOAD_DIR
from harness.governor import Governor, Limits
from harness.xen.client import GuestClient
from harness.xen.clock import Dom0Clock
from harness.xen.events import no_events
from harness.xen.host import XenHost
from harness.xen.source import Terms, XenSource
from harness.xen.swap_trace import SwapTrace
from tests.e2e.conftest import Lived
from tests.e2e.test_control import plan

pytestmark = pytest.mark.lab

MIB = 1024
START = {"g1": 288, "g2": 288}
TICKS = 60
FAR_KIB = 4 * MIB
GREW, SHRANK = 1, 2


@dataclass(frozen=True, slots=True, kw_only=True)
class Scene:
    """Where the guests are when the policy takes over: g1 is busy, g2 idle."""

    sizes_mib: Mapping[str, int]
    pool_mib: int
    reserve_mib: int
    shows: int = GREW | SHRANK
    """What can be seen in it; it ends when that has been."""


# g1 has too little and g2 more than it can use; nothing is free. Then: much of the host is free.
TIGHT = Scene(sizes_mib={"g1": 200, "g2": 376}, pool_mib=576, reserve_mib=0)
# The first for policies that only shrink guests while the host has too little free, and then only grow them.
FULL = replace(TIGHT, shows=SHRANK)
ROOMY = Scene(sizes_mib={"g1": 180, "g2": 200}, pool_mib=640, reserve_mib=0, shows=GREW)
# The same, and g1 lacks so little that all of it has returned from the lab's disk within seconds.
NEARLY = Scene(sizes_mib={"g1": 214, "g2": 200}, pool_mib=640, reserve_mib=0)

SIGNALS = {"ghost": ["swap-trace"], "miss-ratio": [{"name": "page-ages", "window_s": 8.0}]}
CASES: dict[str, tuple[dict[str, Any], tuple[Scene, ...]]] = {
    "two-state": ({"reserve_mib": 100}, (TIGHT,)),
    "price": ({}, (TIGHT,)),
    "self-balloon": ({"reserve_mib": 60}, (TIGHT,)),
    "idle-tax": ({}, (TIGHT,)),
    "ghost": ({"decay_s": 2.0}, (NEARLY,)),  # it gives only what it took before, so there must be something to take
    "miss-ratio": ({}, (TIGHT,)),
    "dynamic-baseline": ({}, (TIGHT,)),
    "squeezed": ({}, (TIGHT,)),
    "qmemman": ({}, (TIGHT,)),
    "proxmox": ({}, (FULL, ROOMY)),
    "mom": ({}, (FULL, ROOMY)),
    "pressure": ({}, (TIGHT,)),
    "ballast": ({}, (TIGHT,)),
    "static": ({}, (TIGHT,)),
    "equal": ({}, (TIGHT,)),
}


@contextmanager
def busy(client: GuestClient) -> Iterator[None]:
    """Let a guest touch 150 MiB without pause."""
    work = client.run(["python3", f"{WORKLOAD_DIR}/mono.py", "--low-mib=150", "--high-mib=150", "--rate-mib-s=50",
                       "--hold-s=5", "--passes-per-s=2", "--duration-s=300"])  # fmt: skip
    try:
        assert work.wait_ready(120)
        work.go()
        yield
    finally:
        work.kill()


def moves(lived: Lived, name: str, params: Mapping[str, Any], scene: Scene) -> dict[str, int]:
    """Let a policy balance from a scene; returns the direction in which each guest's memory followed a target."""
    policy = policies.make(name, params)
    safe_kib = {guest: mib * MIB for guest, mib in START.items()}
    signals = [Signal.model_validate(said) for said in SIGNALS.get(name, [])]
    terms = {guest: Terms(min_kib=160 * MIB, max_kib=480 * MIB) for guest in START}
    followed: dict[str, int] = {}
    clock = lived.site.clock()
    assert isinstance(clock, Dom0Clock)
    with ExitStack() as stack:
        host = stack.enter_context(
            XenHost(lived.site.dom0, lived.site.guests, safe_kib=safe_kib, clock=clock, timeout_s=LAB_TIMEOUT_S)
        )
        clients = [
            stack.enter_context(GuestClient(machine, period_s=0.5, aging_s=aging_s(signals), clock=clock.now_s))
            for machine in lived.site.guests
        ]
        assert all(client.wait_for_sample(60) for client in clients)
        source = XenSource(
            host, clients, terms, reserve_kib=scene.reserve_mib * MIB, pool_kib=scene.pool_mib * MIB,
            trace=SwapTrace(host, no_events) if traces_swap(signals) else None, window_s=window_s(signals),
            clock=clock.now_s,
        )  # fmt: skip
        policy.reset()
        policy.decide(source.view())  # what `static` keeps is what it sees first
        host.apply(plan(**{guest: mib * MIB for guest, mib in scene.sizes_mib.items()}))
        stack.enter_context(busy(clients[0]))
        stack.enter_context(stepping(lived.site, host))
        assert wait_for(clock, lambda: all(
            abs(host.state().domains[guest].current_kib - mib * MIB) < 8 * MIB for guest, mib in scene.sizes_mib.items()
        ), 60), "the scene"  # fmt: skip
        if name != "static":
            policy.reset()
        # A lab beside others goes on while its samples are on their way to us: how old they may be is not asked here.
        governor = Governor(Limits(period_s=1.0, stale_periods=10, allow_swap=True))
        targets: dict[str, tuple[int, int]] = {}
        for _ in range(TICKS):
            done = tick(source, host, policy, governor)
            print(done.view.time_s, done.view.current_kib // MIB, *done.allocation.reasons)
            for guest, current in zip(done.view.names, done.view.current_kib, strict=True):
                start, target = targets.get(guest, (current, current))
                if follows(start, current, target):
                    followed[guest] = followed.get(guest, 0) | (GREW if target > start else SHRANK)
            for step in done.plan.steps:
                if step.guest in done.outcome.applied_kib:
                    targets[step.guest] = (step.from_kib, step.target_kib)
            if scene.shows & ~functools.reduce(operator.or_, followed.values(), 0) == 0:
                break
            clock.sleep_until(done.view.time_s + 1.0)
    return followed


def follows(start_kib: float, current_kib: float, target_kib: float) -> bool:
    """Whether a guest went where it was sent; a policy may think better of it before it is there."""
    way_kib, gone_kib = target_kib - start_kib, current_kib - start_kib
    return abs(way_kib) > MIB / 2 and math.copysign(1, way_kib) * gone_kib >= min(FAR_KIB, abs(way_kib) / 2)


@pytest.mark.parametrize("name", CASES)
def test_a_policy_shrinks_one_guest_and_grows_one_on_real_xen(lived: Lived, name: str) -> None:
    params, scenes = CASES[name]
    lived.restore()
    directions = 0
    for scene in scenes:
        for direction in moves(lived, name, params, scene).values():
            directions |= direction
    assert directions == GREW | SHRANK, (
        f"{name}: {'grew' if directions == GREW else 'shrank' if directions == SHRANK else 'moved'} only"
    )
