"""Guests of which Xen counts more or less than their balloon does: they end a constant off every target."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import numpy as np
import pytest

from harness.experiment.settling import Settling
from harness.governor import LEAST_PATIENCE_S, MOST_OFFSET_KIB, Governor, Limits
from harness.policies.base import Allocation
from harness.xen.domains import Domain
from tests.unit.views import MIB, make_view

OFFSETS_MIB = (-12.0, -4.0, -0.25, 0.0625, 1.0, 1.5, 3.0, 4.0, 12.0)
"""0.0625: what was measured of PVH guests."""


@dataclass(slots=True)
class World:
    """One guest that ends `offset_mib` above every target (MiB), with as much free as is asked for."""

    offset_mib: float
    size_mib: float = 300.0
    lo: float = 100.0
    hi: float = 800.0
    stuck: bool = False
    governor: Governor = field(default_factory=lambda: Governor(Limits(allow_swap=True)))
    time_s: float = 0.0
    sizes: list[float] = field(default_factory=list)
    sent: list[float] = field(default_factory=list)
    reasons: list[str] = field(default_factory=list)

    def run(self, wish: Callable[[float], float], ticks: int, *, rate_mib: float = 1e9) -> World:
        """Let a policy that wants `wish(what it has)` have its way for so many ticks of 2 s."""
        for _ in range(ticks):
            self.time_s += 2.0
            size = np.array([self.size_mib * MIB])
            view = make_view(
                [self.size_mib], pool=2000, lo=self.lo, hi=self.hi, reserve=0, time_s=self.time_s,
                mem_total_kib=size, mem_available_kib=size / 2,
            )  # fmt: skip
            fresh = self.governor.fresh(view)
            asked = np.array([wish(self.size_mib) * MIB] * len(fresh))
            plan = self.governor.plan(view, Allocation(targets_kib=asked, reasons=("asked",) * len(fresh)))
            self.reasons += [step.reason for step in plan.steps] + list(plan.held.values())
            self.sent += [step.target_kib / MIB for step in plan.steps]
            if self.sent and not self.stuck:
                ends = self.sent[-1] + self.offset_mib
                self.size_mib += float(np.clip(ends - self.size_mib, -rate_mib, rate_mib))
            self.sizes.append(self.size_mib)
        return self

    @property
    def blamed(self) -> bool:
        return any("not follow" in reason for reason in self.reasons)


def ones_that_want(sizes: Sequence[float], ticks_each: int, world: World) -> World:
    for size in sizes:
        world.run(lambda _, size=size: size, ticks_each)
    return world


@pytest.mark.parametrize("offset_mib", OFFSETS_MIB)
@pytest.mark.parametrize("rate_mib", [1e9, 15.0])
def test_a_guest_that_ends_a_constant_off_its_target_is_not_blamed(offset_mib: float, rate_mib: float) -> None:
    world = World(offset_mib)
    for wish in (400, 250, 252, 350, 340, 500, 200):
        world.run(lambda _, wish=wish: wish, 20, rate_mib=rate_mib)
    assert not world.blamed


@pytest.mark.parametrize("offset_mib", OFFSETS_MIB)
def test_once_its_offset_is_known_it_ends_where_it_is_wanted(offset_mib: float) -> None:
    world = ones_that_want([400, 300, 420], 20, World(offset_mib))
    assert world.sizes[-1] == pytest.approx(420, abs=0.005 * 420)
    if abs(offset_mib) > 2:
        assert f"it is sent {abs(offset_mib):.0f} MiB {'less' if offset_mib > 0 else 'more'}" in world.reasons[-20]
    before = len(world.sent)
    world.run(lambda _: 420, 20)
    assert len(world.sent) == before, "it has arrived, and nothing more is sent"


@pytest.mark.parametrize("offset_mib", OFFSETS_MIB)
def test_a_policy_that_wants_what_there_is_does_not_make_it_creep(offset_mib: float) -> None:
    world = World(offset_mib).run(lambda _: 400, 20)
    at = world.sizes[-1]
    world.run(lambda has: has, 50)
    assert world.sizes[-1] == at


@pytest.mark.parametrize("offset_mib", OFFSETS_MIB)
def test_it_is_sent_nothing_outside_its_bounds(offset_mib: float) -> None:
    world = ones_that_want([900, 50, 900, 50], 20, World(offset_mib))
    assert min(world.sent) >= world.lo
    assert max(world.sent) <= world.hi
    assert not world.blamed


def test_a_guest_that_does_not_move_at_all_is_found_out_however_small_the_step() -> None:
    for wish in (295, 305, 270, 400):
        world = World(0.0, stuck=True).run(lambda _, wish=wish: wish, 12)
        assert world.blamed, wish


def test_a_guest_that_rests_farther_off_than_any_offset_is_blamed() -> None:
    assert not World(MOST_OFFSET_KIB / MIB).run(lambda _: 400, 10).blamed
    assert World(MOST_OFFSET_KIB / MIB + 1).run(lambda _: 400, 10).blamed


def test_what_it_could_take_is_never_given_to_others() -> None:
    """It is known to end 12 MiB below its target; should it end at the target after all, Xen still has its reserve."""
    world = ones_that_want([400, 300], 20, World(-12.0))
    size = np.array([world.size_mib * MIB])
    view = make_view(
        [world.size_mib], pool=world.size_mib + 50, lo=100, hi=800, reserve=0, time_s=world.time_s + 2,
        mem_total_kib=size, mem_available_kib=size,
    )  # fmt: skip
    plan = world.governor.plan(view, Allocation(targets_kib=np.array([500.0 * MIB]), reasons=("asked",)))
    assert plan.steps[0].target_kib <= (world.size_mib + 50) * MIB


WANTED_KIB = 300.0 * MIB


def guest(current_kib: float, *, paravirtual: bool) -> Domain:
    return Domain(
        domid=1, current_kib=round(current_kib), max_kib=None, static_max_kib=None, target_kib=None, paused=False,
        dying=False, disks_kib={}, hvm=not paravirtual,
    )  # fmt: skip


def settles(off_mib: float, *, paravirtual: bool, moved: bool = False) -> float | None:
    """When a guest that is `off_mib` off what is wanted counts as settled; None: not within a minute."""
    settling = Settling({"g1": WANTED_KIB})
    for tenth in range(600):
        off = off_mib - (50 - tenth if moved and tenth < 50 else 0)
        now = guest(WANTED_KIB + off * MIB, paravirtual=paravirtual)
        if not settling.far(tenth / 10, {"g1": now}):
            return tenth / 10
    return None


def test_settled_is_who_has_arrived_or_rests_a_constant_off_and_is_not_paravirtual() -> None:
    assert settles(0.0625, paravirtual=False) == 0
    assert settles(-0.9, paravirtual=True) == 0
    assert settles(1.5, paravirtual=True) == 0, "0.5 % of 300 MiB: within it nothing is sent either"
    assert settles(2.5, paravirtual=True) == LEAST_PATIENCE_S
    assert settles(4, paravirtual=True) is None
    assert settles(4, paravirtual=False) == LEAST_PATIENCE_S
    assert settles(-4, paravirtual=False) == LEAST_PATIENCE_S
    assert settles(-4, paravirtual=False, moved=True) == pytest.approx(5 + LEAST_PATIENCE_S)
    assert settles(20, paravirtual=False) is None
