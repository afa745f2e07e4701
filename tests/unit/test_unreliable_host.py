"""A simulated host whose answers are late, lost or repeated, on which others set targets, and that stands still."""

from __future__ import annotations

import random
from collections.abc import Mapping
from dataclasses import dataclass, field, replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from harness import policies
from harness.balancer import Tick, tick
from harness.governor import MOST_OFFSET_KIB, Governor, Limits, Plan
from harness.governor.movement import Movement
from harness.governor.sight import Sight
from harness.policies import Policy
from harness.ports import Outcome
from harness.service.safe import safe_kib
from harness.simulator.host import Member, SimulatedHost
from harness.view import HostView
from tests.unit.simulated import experiment, guest, host

MIB = 1024
POOL_MIB = 1500
FAULTS = ("late", "lost", "repeated", "unseen", "somebody else", "pause")


@dataclass
class Unreliable:
    """Source, host and clock over a simulated host with an agent in between that does one thing after the other."""

    host: SimulatedHost
    chance: random.Random
    faults: tuple[str, ...] = FAULTS
    often: float = 0.5
    queue: list[Plan] = field(default_factory=list)
    said: HostView | None = None
    worst_kib: float = -1e9
    """The most that was promised beyond the pool at any moment."""
    safe: Mapping[str, int] = field(default_factory=dict)

    def fault(self, name: str) -> bool:
        return name in self.faults and self.chance.random() < self.often / len(FAULTS)

    def view(self) -> HostView:
        if self.said is not None and self.fault("unseen"):  # what the guests say comes; what Xen says does not
            said, now = self.said, self.host.view()
            age_s = now.time_s - said.time_s
            return replace(
                now, xen_age_s=age_s, free_kib=said.free_kib, current_kib=said.current_kib, target_kib=said.target_kib,
                limit_kib=said.limit_kib, age_s=now.age_s + age_s,
            )  # fmt: skip
        self.deliver()
        self.said = self.host.view()
        return self.said

    def apply(self, plan: Plan) -> Outcome:
        lost = Outcome(
            applied_kib={}, failed=dict.fromkeys([*(step.guest for step in plan.steps), *plan.caps_kib], "no answer")
        )
        if self.fault("lost"):
            return lost
        self.queue.append(plan)
        if self.fault("late"):
            return lost
        if self.fault("repeated"):
            self.queue.append(plan)
        outcome = self.deliver()
        if self.fault("somebody else"):
            member = self.chance.choice(self.host.members)
            room_kib = max(0.0, POOL_MIB * MIB - self.promised_kib())
            most_kib = max(member.guest.target_kib, member.guest.current_kib) + room_kib
            member.guest.target_kib = round(self.chance.uniform(member.min_kib, most_kib))
            self.look()
        return outcome

    def deliver(self) -> Outcome:
        outcome = Outcome(applied_kib={}, failed={})
        for plan in self.queue:
            outcome = self.host.apply(plan)
            self.look()
        self.queue.clear()
        return outcome

    def renew_lease(self, safe_kib: Mapping[str, int] | None = None) -> None:
        self.safe = safe_kib or {}

    def restore(self, targets_kib: Mapping[str, int]) -> None:
        self.host.restore(targets_kib)

    def sleep(self, seconds: float) -> None:
        for _ in range(round(seconds * 2)):
            self.host.sleep_until(self.host.time_s + 0.5)
            self.look()

    def promised_kib(self) -> float:
        """What all have or can come to have by what Xen holds."""
        return sum(map(promised_kib, self.host.members))

    def look(self) -> None:
        self.worst_kib = max(self.worst_kib, self.promised_kib() - POOL_MIB * MIB)


def promised_kib(member: Member) -> float:
    return max(member.guest.current_kib, min(member.guest.target_kib, member.cap_kib))


def world(seed: int) -> SimulatedHost:
    growing = {"with": {"high_mib": 500, "rate_mib_s": 30}}
    return host(
        experiment(
            [
                guest("a", "mono", **growing), guest("b", "random"),
                guest("c", behaviour={"kind": "slow", "rate_mib_s": 2}),
                guest("d", behaviour={"kind": "stuck-at-times", "at_s": 10, "for_s": 15}),
            ],
            pool_mib=POOL_MIB, reserve_mib=32, signals=["page-ages", "swap-trace"],
        ),
        seed,
    )  # fmt: skip


def live(unreliable: Unreliable, policy: Policy, ticks: int, limits: Limits) -> list[Tick]:
    governor, done = Governor(limits), []
    policy.reset()
    for _ in range(ticks):
        one = tick(unreliable, unreliable, policy, governor, lambda view: safe_kib(view, limits, {}))
        done.append(one)
        unreliable.sleep(26.0 if unreliable.fault("pause") else 2.0)
    return done


@settings(max_examples=40, deadline=None)
@given(
    st.sampled_from([name for name in policies.names() if name not in ("oracle", "unconstrained")]),
    st.integers(0, 10**6),
    st.sampled_from([float("inf"), 16.0 * MIB]),
    st.booleans(),
)
def test_never_is_more_promised_than_the_pool_nor_anybody_sent_below_his_least(
    policy: str, seed: int, take_kib_s: float, allow_swap: bool
) -> None:
    unreliable = Unreliable(world(seed), random.Random(seed))
    ticks = live(unreliable, policies.make(policy), 40, Limits(allow_swap=allow_swap, take_kib_s=take_kib_s))
    assert unreliable.worst_kib <= 1, "a KiB may be lost in rounding"
    for one in ticks:
        low = dict(zip(one.view.names, one.view.min_kib, strict=True))
        for step in one.plan.steps:
            assert step.target_kib >= min(low[step.guest], step.from_kib)
            assert step.from_kib - step.target_kib <= 2 * take_kib_s + MOST_OFFSET_KIB, "it ends that much above"
    assert sum(unreliable.safe.values()) <= POOL_MIB * MIB


@pytest.mark.parametrize("kind", ["pause", "unseen"])
def test_who_is_obedient_is_never_blamed_for_a_time_in_which_nobody_looked(kind: str) -> None:
    for seed in range(10):
        unreliable = Unreliable(world(seed), random.Random(seed), faults=(kind,), often=2.0)
        governor = Governor(Limits(allow_swap=True))
        policy = policies.make("price")
        for _ in range(60):
            tick(unreliable, unreliable, policy, governor)
            unreliable.sleep(26.0 if unreliable.fault("pause") else 2.0)
        trust = governor.trust()
        assert not any(trust[name]["strikes"] for name in "abc" if name in trust), seed


def worst_of_many(monkeypatch: pytest.MonkeyPatch, faults: tuple[str, ...]) -> float:
    worst = -1e9
    for seed in range(12):
        unreliable = Unreliable(world(seed), random.Random(seed), faults=faults, often=3.0)
        live(unreliable, policies.make("price"), 40, Limits(allow_swap=True))
        worst = max(worst, unreliable.worst_kib)
    monkeypatch.undo()
    return worst


@pytest.mark.parametrize("rule", ["none is off", "hear", "anew"])
def test_each_of_these_rules_is_needed(monkeypatch: pytest.MonkeyPatch, rule: str) -> None:
    look = Sight.look

    def always_anew(sight: Sight, now_s: float, xen_age_s: float, blind_after_s: float) -> None:
        look(sight, now_s, xen_age_s, blind_after_s)
        sight.anew = True

    if rule == "hear":
        monkeypatch.setattr(Movement, "hear", lambda *_: None)
    if rule == "anew":
        monkeypatch.setattr(Sight, "look", always_anew)
    worst = worst_of_many(monkeypatch, ("late", "lost", "unseen", "somebody else"))
    assert (worst > MIB) == (rule != "none is off")
