"""A guest that starves in silence is helped, once; one that lives on that is not, nor is another made to starve."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np
import pytest

from harness.governor import Governor, Limits
from harness.governor import plan as plan_module
from harness.governor.health import Health
from harness.governor.movement import Movement
from harness.policies.base import Allocation
from harness.view import HostView
from tests.unit.views import MIB, names_of

GOAL_MIB, HONEST_MIB = 226, 391
"""What the policy wants the first to have, and each of the three others."""


@dataclass
class Crowd:
    """Four guests of 350 MiB that share 1,400; the first says every 10 s that it swaps, and nothing in between."""

    governor: Governor = field(default_factory=lambda: Governor(Limits(period_s=1.0, allow_swap=True)))
    sizes_kib: list[float] = field(default_factory=lambda: [350.0 * MIB] * 4)
    told_kib: list[float] = field(default_factory=lambda: [350.0 * MIB] * 4)
    gives: bool = False
    """Whether the first follows a target below what it has."""
    needs_kib: float = 100.0 * MIB
    now_s: float = 0.5
    sizes_seen: list[list[float]] = field(default_factory=list)

    def run(self, seconds: float, wishes: Callable[[Crowd], list[float]]) -> Crowd:
        """Live on; `wishes` are the policy's for all four, in MiB."""
        ends_s = self.now_s + seconds
        while self.now_s < ends_s:
            view = self.view()
            fresh = self.governor.fresh(view)
            of = dict(zip(view.names, wishes(self), strict=True))
            asked = np.array([of[name] * MIB for name in fresh.names])
            plan = self.governor.plan(view, Allocation(targets_kib=asked, reasons=("",) * len(fresh)))
            for step in plan.steps:
                self.told_kib[names_of(4).index(step.guest)] = step.target_kib
            for i, told in enumerate(self.told_kib):
                if i > 0 or self.gives or told > self.sizes_kib[0]:
                    self.sizes_kib[i] = told
            self.sizes_seen.append([size / MIB for size in self.sizes_kib])
            self.now_s += 1.0
        return self

    def view(self) -> HostView:
        sizes = np.array(self.sizes_kib)
        return HostView(
            time_s=self.now_s, names=names_of(4), free_kib=max(0.0, 1400 * MIB - sizes.sum()), reserve_kib=0.0,
            current_kib=sizes, target_kib=np.array(self.told_kib), limit_kib=np.array(self.told_kib) + MIB,
            min_kib=np.full(4, 100.0 * MIB), max_kib=np.full(4, 1300.0 * MIB), shares=np.ones(4), mem_total_kib=sizes,
            mem_available_kib=np.array([0.0, *(sizes[1:] - self.needs_kib)]), swap_in_kib_s=np.array([9e3, 0, 0, 0]),
            age_s=np.array([self.now_s % 10.0, 0.0, 0.0, 0.0]),
        )  # fmt: skip

    @property
    def first_mib(self) -> list[float]:
        return [sizes[0] for sizes in self.sizes_seen]


def goals(_: Crowd) -> list[float]:
    return [GOAL_MIB, HONEST_MIB, HONEST_MIB, HONEST_MIB]


def test_a_guest_that_swaps_every_ten_seconds_and_is_silent_in_between_has_one_step_and_no_more() -> None:
    crowd = Crowd().run(1200, goals)
    assert max(crowd.first_mib) <= 350 * 1.1
    assert min(min(sizes[1:]) for sizes in crowd.sizes_seen) >= (1400 - 385) / 3 - 1
    assert crowd.governor.trust()["g1"]["strikes"] > 0, "it is found out although it is silent when it is called back"


def test_nor_does_it_have_more_where_the_policy_wants_what_there_is() -> None:
    def hold(crowd: Crowd) -> list[float]:
        return [size / MIB for size in crowd.sizes_kib]

    assert max(Crowd().run(1200, hold).first_mib) <= 350 * 1.1


@pytest.mark.parametrize("asked_mib", [1000, 350])
def test_nor_where_the_policy_wants_more_for_all_than_there_is(asked_mib: float) -> None:
    crowd = Crowd().run(1200, lambda _: [asked_mib] * 4)
    assert max(crowd.first_mib) <= 350 * 1.1 + 1


def test_a_guest_that_gives_what_it_is_told_to_is_helped_again() -> None:
    crowd = Crowd(gives=True).run(60, goals)
    steps = np.diff(crowd.first_mib)
    assert (steps > 10).sum() >= 3


def test_a_guest_that_is_to_have_still_more_is_helped_again_and_never_far_beyond_that() -> None:
    crowd = Crowd().run(600, lambda _: [500, 300, 300, 300])
    assert 500 <= max(crowd.first_mib) <= 550


@pytest.mark.parametrize("remembers", [True, False])
def test_restarts_of_the_arbiter_forgive_no_debt(remembers: bool) -> None:
    """Every 45 s, here; `remembers`: by the trust that outlives it, without which it would have a step each time."""
    crowd = Crowd()
    for _ in range(20):
        crowd.run(45, lambda crowd: [size / MIB for size in crowd.sizes_kib])
        known = crowd.governor.trust() if remembers else None
        crowd.governor = Governor(crowd.governor.limits, known)
    assert (max(crowd.first_mib) <= 350 * 1.1) == remembers


@pytest.mark.parametrize("needs_mib", [100, 340, 350])
def test_an_emergency_takes_nothing_from_others_that_they_need(needs_mib: float) -> None:
    crowd = Crowd(needs_kib=needs_mib * MIB).run(60, lambda _: [350] * 4)
    margin_mib = 16
    least = min(min(sizes[1:]) for sizes in crowd.sizes_seen)
    assert least >= min(350, needs_mib + margin_mib) - 1
    assert (max(crowd.first_mib) > 350) == (needs_mib == 100)


def test_without_the_debt_it_would_live_on_emergencies(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Health, "repay", lambda health, *_: setattr(health, "debt_kib", float("nan")))
    monkeypatch.setattr(Movement, "call_back", lambda *_: None)
    assert max(Crowd().run(1200, goals).first_mib) > 700


def test_without_the_memory_of_a_call_back_it_would_never_be_found_out(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Movement, "call_back", lambda *_: None)
    assert not Crowd().run(1200, goals).governor.trust().get("g1", {}).get("strikes")


def test_without_the_others_needs_they_would_be_made_to_starve(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(plan_module, "need_kib", lambda *_: 0.0)
    crowd = Crowd(needs_kib=340.0 * MIB).run(60, lambda _: [350] * 4)
    assert min(min(sizes[1:]) for sizes in crowd.sizes_seen) < 345
