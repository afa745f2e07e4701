"""The governor plans from what Xen holds now: whoever set it, whether or not the answer came."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from harness.governor import Governor, Limits, Plan
from harness.governor.movement import Movement
from harness.governor.sight import Sight
from harness.governor.ward import Ward
from harness.policies.base import Allocation
from harness.view import HostView
from tests.unit.views import MIB, names_of

POOL_KIB, RESERVE_KIB, LEAST_KIB = 800 * MIB, 16 * MIB, 100 * MIB
SLACK_KIB = MIB


@dataclass
class Xen:
    """Guests with obedient balloons on a Xen that may be late: what is sent reaches it when `deliver` is called."""

    sizes_kib: list[float]
    pool_kib: float = POOL_KIB
    now_s: float = 0.0
    told_kib: list[float] = field(init=False)
    limits_kib: list[float] = field(init=False)
    queue: list[Plan] = field(default_factory=list)
    seen: tuple[float, list[float], list[float], list[float]] | None = None

    def __post_init__(self) -> None:
        self.told_kib = list(self.sizes_kib)
        self.limits_kib = [size + SLACK_KIB for size in self.sizes_kib]

    @property
    def promised_kib(self) -> float:
        """What all have or can come to have by what Xen holds."""
        return sum(max(size, told) for size, told in zip(self.sizes_kib, self.told_kib, strict=True))

    def look(self) -> None:
        self.seen = self.now_s, list(self.sizes_kib), list(self.told_kib), list(self.limits_kib)

    def view(self, *, silent: int | None = None) -> HostView:
        assert self.seen is not None
        seen_s, sizes, told, limits = self.seen
        n = len(sizes)
        ages = np.full(n, self.now_s - seen_s)
        if silent is not None:
            ages[silent] += 60.0
        return HostView(
            time_s=self.now_s, xen_age_s=self.now_s - seen_s, names=names_of(n), reserve_kib=float(RESERVE_KIB),
            free_kib=max(0.0, self.pool_kib + RESERVE_KIB - sum(sizes)), current_kib=np.array(sizes),
            target_kib=np.array(told), limit_kib=np.array(limits), min_kib=np.full(n, float(LEAST_KIB)),
            max_kib=np.full(n, 4.0 * POOL_KIB), shares=np.ones(n), mem_total_kib=np.array(sizes),
            mem_available_kib=np.array(sizes) - LEAST_KIB / 2, age_s=ages,
        )  # fmt: skip

    def mem_set(self, guest: int, kib: float) -> None:
        self.told_kib[guest], self.limits_kib[guest] = kib, kib + SLACK_KIB

    def deliver(self) -> None:
        """Xen does now what it was sent, in its order."""
        for plan in self.queue:
            for step in plan.steps:
                self.mem_set(names_of(len(self.sizes_kib)).index(step.guest), step.target_kib)
            for guest, kib in plan.caps_kib.items():
                self.limits_kib[names_of(len(self.sizes_kib)).index(guest)] = kib
        self.queue.clear()

    def balloon(self, share: float = 1.0) -> None:
        """Everybody goes a part of the way, those that give first; Xen gives no more than it has."""
        for up in (False, True):
            for i, (size, told) in enumerate(zip(self.sizes_kib, self.told_kib, strict=True)):
                if (told > size) == up:
                    free = self.pool_kib + RESERVE_KIB - sum(self.sizes_kib)
                    step = round((told - size) * share)
                    self.sizes_kib[i] = size + (min(step, max(0.0, free)) if up else step)


def wanting(view: HostView, governor: Governor, *wishes_mib: float) -> Allocation:
    fresh = governor.fresh(view)
    of = dict(zip(view.names, wishes_mib, strict=True))
    return Allocation(targets_kib=np.array([of[name] * MIB for name in fresh.names]), reasons=("asked",) * len(fresh))


def targets(plan: Plan) -> dict[str, float]:
    return {step.guest: step.target_kib / MIB for step in plan.steps}


def test_memory_that_was_sent_and_answered_late_is_not_given_to_another() -> None:
    xen, governor = Xen([300 * MIB, 300 * MIB]), Governor()
    xen.look()
    plan = governor.plan(xen.view(), wanting(xen.view(), governor, 500, 300))
    assert targets(plan) == {"g1": 500}
    governor.failed(["g1"])  # no answer within its time
    xen.queue.append(plan)
    xen.now_s = 2.0  # dom0 still does not answer: Xen was not seen since
    view = xen.view()
    assert governor.plan(view, wanting(view, governor, 300, 500)).steps == ()
    xen.deliver()
    xen.now_s = 4.0
    xen.look()
    view = xen.view()
    plan = governor.plan(view, wanting(view, governor, 300, 500))
    assert targets(plan) == {"g1": 300}, "it was set after all, and is taken back before another has it"
    xen.queue.append(plan)
    xen.deliver()
    xen.now_s = 6.0
    xen.look()
    view = xen.view()
    assert targets(governor.plan(view, wanting(view, governor, 300, 500))) == {"g2": 500}


def test_what_was_sent_and_never_arrived_is_free_again_as_soon_as_xen_is_seen() -> None:
    xen, governor = Xen([300 * MIB, 300 * MIB]), Governor()
    xen.look()
    governor.plan(xen.view(), wanting(xen.view(), governor, 500, 300))
    governor.failed(["g1"])
    xen.now_s = 2.0
    xen.look()
    view = xen.view()
    assert targets(governor.plan(view, wanting(view, governor, 300, 500))) == {"g2": 500}


def test_a_target_that_somebody_else_has_set_counts_as_promised() -> None:
    xen, governor = Xen([300 * MIB, 300 * MIB]), Governor()
    xen.mem_set(0, 450 * MIB)
    xen.look()
    view = xen.view(silent=0)
    plan = governor.plan(view, wanting(view, governor, 300, 500))
    assert targets(plan) == {"g2": 350}


def test_more_than_there_is_promised_by_somebody_else_is_taken_back_in_one_tick() -> None:
    xen, governor = Xen([400 * MIB, 350 * MIB]), Governor()
    xen.mem_set(0, 600 * MIB)
    xen.mem_set(1, 500 * MIB)
    xen.look()
    view = xen.view()
    plan = governor.plan(view, wanting(view, governor, 600, 350))
    assert targets(plan) == {"g1": 450, "g2": 350}
    assert "Xen has no longer free what it was promised: 200 MiB taken back" in plan.steps[-1].reason


def test_a_new_arbiter_takes_over_from_what_xen_says() -> None:
    xen = Xen([300 * MIB, 300 * MIB])
    xen.mem_set(0, 400 * MIB)  # under way, by the arbiter before
    xen.limits_kib[1] = 300 * MIB  # capped, by the same
    xen.look()
    governor = Governor()
    view = xen.view()
    plan = governor.plan(view, wanting(view, governor, 400, 400))
    assert plan.held["g1"] == "asked; on its way to 400 MiB"
    assert targets(plan) == {"g2": 400}, "what is left, and its cap is lifted with it"
    assert "no longer capped at 300 MiB" in plan.steps[0].reason


def test_a_cap_that_xen_did_not_keep_is_set_again() -> None:
    xen, governor = Xen([300 * MIB]), Governor()
    for now_s in (0.0, 3.0, 6.0):
        xen.now_s = now_s
        xen.look()
        plan = governor.plan(xen.view(), wanting(xen.view(), governor, 200))
        xen.mem_set(0, plan.steps[0].target_kib if plan.steps else xen.told_kib[0])
    assert plan.caps_kib == {"g1": 300 * MIB}
    xen.now_s = 8.0  # the target was set, and the cap was not
    xen.look()
    assert governor.plan(xen.view(), wanting(xen.view(), governor, 200)).caps_kib == {"g1": 300 * MIB}
    xen.limits_kib[0] = 300 * MIB
    xen.now_s = 10.0
    xen.look()
    assert governor.plan(xen.view(), wanting(xen.view(), governor, 200)).caps_kib == {}


def paused_for(pause_s: float, *, dom0: bool) -> Governor:
    """A guest is sent somewhere, and then the arbiter is stopped, or dom0, which answers no look at all."""
    xen, governor = Xen([300 * MIB, 300 * MIB]), Governor()

    def tick() -> None:
        view = xen.view()
        xen.queue.append(governor.plan(view, wanting(view, governor, 200, 300)))

    for xen.now_s in (0.0, 2.0):
        xen.look()
        tick()
        xen.deliver()
    ends_s = xen.now_s + pause_s
    while dom0 and xen.now_s + 5.0 < ends_s:  # every request takes its five seconds
        xen.now_s += 5.0
        tick()
    for later_s in (0.0, 2.0, 4.0):
        xen.now_s = ends_s + later_s
        xen.look()
        tick()
    return governor


@pytest.mark.parametrize("pause_s", [4.5, 5.5, 7.0, 12.0, 25.0])
@pytest.mark.parametrize("dom0", [False, True])
def test_a_pause_of_dom0_or_of_the_arbiter_blames_no_guest(pause_s: float, dom0: bool) -> None:
    assert paused_for(pause_s, dom0=dom0).trust() == {}


def test_without_the_rule_of_sight_a_pause_would_blame_one(monkeypatch: pytest.MonkeyPatch) -> None:
    look = Sight.look

    def sees_always(sight: Sight, now_s: float, xen_age_s: float, blind_after_s: float) -> None:
        look(sight, now_s, 0.0, float("inf"))

    monkeypatch.setattr(Sight, "look", sees_always)
    assert paused_for(25.0, dom0=False).trust()["g1"]["strikes"] == 1
    assert paused_for(25.0, dom0=True).trust()["g1"]["strikes"] == 1


@pytest.mark.parametrize("sample_s", [0.0, 1.5])
def test_after_a_pause_nobody_starves_who_was_only_not_heard(sample_s: float) -> None:
    """Guest 1 was in trouble when dom0 stopped, a moment after its last sample; guest 2 was not."""
    xen, governor = Xen([300 * MIB, 300 * MIB]), Governor()
    xen.look()
    swapping = {"swap_in_kib_s": np.array([9e3, 0.0])}
    plain = xen.view()
    view = HostView(**{name: getattr(plain, name) for name in PLAIN}, **swapping)
    governor.plan(view, wanting(view, governor, 300, 300))
    for now_s in (25.0, 27.0, 29.0):
        xen.now_s = now_s
        xen.look()
        plain = xen.view()
        view = HostView(**{name: getattr(plain, name) for name in PLAIN if name != "age_s"},
                        age_s=np.full(2, now_s - sample_s))  # fmt: skip
        assert governor.plan(view, wanting(view, governor, 300, 300)).steps == ()
    xen.now_s = 33.0
    xen.look()
    plain = xen.view()
    view = HostView(**{name: getattr(plain, name) for name in PLAIN if name != "age_s"},
                    age_s=np.full(2, 33.0 - sample_s))  # fmt: skip
    assert targets(governor.plan(view, wanting(view, governor, 300, 300))) == {"g1": 330}, "it is silent by itself"


PLAIN = (
    "time_s", "xen_age_s", "names", "reserve_kib", "free_kib", "current_kib", "target_kib", "limit_kib", "min_kib",
    "max_kib", "shares", "mem_total_kib", "mem_available_kib", "age_s",
)  # fmt: skip

Event = tuple[str, int, int]
EVENTS = st.lists(
    st.tuples(
        st.sampled_from(["answered", "answered", "late", "lost", "unseen", "twice", "shrunk", "grown", "pause"]),
        st.integers(0, 3),
        st.integers(0, 1200),
    ),
    min_size=4,
    max_size=40,
)


def live_through(events: list[Event], wishes: list[int], *, limit_kib: float = POOL_KIB) -> tuple[float, float]:
    """Ticks in which answers are late, lost or carried out twice, others set targets, and nobody looks for a while.

    Whoever else sets targets keeps to what is free and not promised. Returns the most that was ever promised beyond
    the pool, and the farthest that a target that we sent was below the least.
    """
    xen, governor = Xen([150.0 * MIB] * 4), Governor(Limits(allow_swap=True))
    worst = below = 0.0
    xen.look()
    for number, (kind, guest, mib) in enumerate(events):
        xen.now_s += 26.0 if kind == "pause" else 2.0
        if kind != "unseen":
            xen.deliver()  # what was late is done before the next look is answered
            worst = max(worst, xen.promised_kib - limit_kib)
            xen.look()
        view = xen.view()
        asked = [wishes[(number + i) % len(wishes)] for i in range(4)]
        plan = governor.plan(view, wanting(view, governor, *asked))
        below = max([below, *(min(LEAST_KIB, step.from_kib) - step.target_kib for step in plan.steps)])
        if kind in ("late", "unseen", "lost"):
            governor.failed([*(step.guest for step in plan.steps), *plan.caps_kib])
        if kind != "lost":
            xen.queue.append(plan)
        if kind == "twice":
            xen.queue.append(plan)
        if kind not in ("late", "unseen"):
            xen.deliver()
            worst = max(worst, xen.promised_kib - limit_kib)
        if kind == "shrunk":
            xen.mem_set(guest, min(xen.sizes_kib[guest], LEAST_KIB + mib * 100.0))
        if kind == "grown" and not xen.queue:
            spare = max(0.0, limit_kib - xen.promised_kib)
            xen.mem_set(guest, max(xen.sizes_kib[guest], xen.told_kib[guest]) + min(spare, mib * MIB))
        worst = max(worst, xen.promised_kib - limit_kib)
        xen.balloon(mib / 1200)
    return worst, below


@settings(max_examples=150, deadline=None)
@given(EVENTS, st.lists(st.integers(0, 1000), min_size=4, max_size=11))
def test_never_is_more_promised_than_the_pool_whatever_becomes_of_answers(
    events: list[Event], wishes: list[int]
) -> None:
    worst, below = live_through(events, wishes)
    assert worst <= 0
    assert below <= 0


def test_while_xen_is_not_seen_no_target_is_sent_not_even_one_below_what_it_held() -> None:
    """Guest 1 was on its way up when Xen was last seen, and sent back since; to send it up again is to give."""
    answered: Event = ("answered", 0, 0)
    events: list[Event] = [
        ("answered", 0, 366), answered, ("answered", 0, 734), answered, ("grown", 1, 662), ("unseen", 0, 234), answered,
    ]  # fmt: skip
    assert live_through(events, [0, 193, 0, 212])[0] <= 0


def test_without_waiting_until_xen_is_seen_it_is(monkeypatch: pytest.MonkeyPatch) -> None:
    events: list[Event] = [("unseen", 0, 0), ("unseen", 0, 0), ("answered", 0, 0)]
    wishes = [150, 150, 150, 900]
    assert live_through(events, wishes)[0] <= 0
    look = Sight.look

    def always_anew(sight: Sight, now_s: float, xen_age_s: float, blind_after_s: float) -> None:
        look(sight, now_s, xen_age_s, blind_after_s)
        sight.anew = True

    monkeypatch.setattr(Sight, "look", always_anew)
    assert live_through(events, wishes)[0] > 0


def test_without_hearing_what_xen_holds_it_is(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Movement, "hear", lambda *_: None)
    with pytest.raises(AssertionError):
        test_a_target_that_somebody_else_has_set_counts_as_promised()


def test_without_taking_back_what_is_no_longer_free_it_is(monkeypatch: pytest.MonkeyPatch) -> None:
    test_more_than_there_is_promised_by_somebody_else_is_taken_back_in_one_tick()
    monkeypatch.setattr(Ward, "recall", lambda _: None)
    with pytest.raises(AssertionError):
        test_more_than_there_is_promised_by_somebody_else_is_taken_back_in_one_tick()
