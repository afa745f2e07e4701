"""A simulated host: what the arbiter sees of it, and how guests behave that are not obedient."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from harness import policies
from harness.balancer import Tick
from harness.experiment.sweep import Behaviour
from harness.experiment.workloads import load_workloads
from harness.governor import Plan, Step
from harness.simulator.behaviour import manner
from harness.simulator.trial import host_of
from harness.view import COLUMNS
from tests.unit.simulated import MACHINE, experiment, guest, host, live

GROWING = guest("a", "mono", **{"with": {"high_mib": 500, "rate_mib_s": 30}})
MIB = 1024
EVERY = load_workloads()


def last(ticks: list[Tick], name: str) -> float:
    """What a guest has at the end, in MiB."""
    view = ticks[-1].view
    return float(view.current_kib[view.names.index(name)]) / MIB


def reasons(ticks: list[Tick], name: str) -> set[str]:
    return {
        text
        for tick in ticks
        for text in [*(s.reason for s in tick.plan.steps if s.guest == name), tick.plan.held.get(name, "")]
    }


def test_a_guest_tells_every_field_that_a_real_one_does_but_for_its_slab_which_is_not_simulated() -> None:
    signals = ["page-ages", "swap-trace"]
    ticks = live(host(experiment([GROWING, guest("b")], pool_mib=700, signals=signals)), "static", seconds=30)
    view = ticks[-1].view
    assert [name for name in COLUMNS if np.isnan(getattr(view, name)).any()] == ["reclaimable_slab_kib"]
    assert view.page_ages[0]
    assert view.ghost_returns[0], "the growing guest swaps by now"
    assert view.stall_full[0] > 0.5
    assert view.stall_full[1] == 0


@settings(max_examples=25, deadline=None)
@given(st.sampled_from(policies.names()), st.integers(0, 10**6), st.integers(750, 1600))
def test_what_guests_have_and_what_is_free_is_always_all_there_is(policy: str, seed: int, pool: int) -> None:
    wanted = experiment(
        [GROWING, guest("b", "random"), guest("c", **{"with": {"committed_mib": 300}}), guest("d", "random")],
        pool_mib=max(pool, 1400), reserve_mib=32, signals=["page-ages", "swap-trace"],
    )  # fmt: skip

    def whole(tick: Tick) -> None:
        view = tick.view
        assert view.current_kib.sum() + view.free_kib == pytest.approx((wanted.pool_mib + 32) * MIB, abs=4)
        assert (view.mem_free_kib >= 0).all()
        assert (view.used_kib <= view.mem_total_kib).all()

    live(host(wanted, seed), policy, seconds=60, each=whole)


@settings(max_examples=25, deadline=None)
@given(st.sampled_from(policies.names()), st.sampled_from(sorted(EVERY)), st.integers(1, 200))
def test_beside_a_guest_of_whatever_work_that_begins_with_too_little_all_that_is_seen_is_a_number(
    policy: str, workload: str, mib: int
) -> None:
    small = {"min_mib": mib, "initial_mib": mib, "max_mib": 500}
    wanted = experiment([guest("small", workload, **small), GROWING], pool_mib=700, signals=["page-ages", "swap-trace"])
    simulated = host_of(wanted.at(), EVERY, MACHINE, 1)

    def known(tick: Tick) -> None:
        view = tick.view
        unknown = [name for name in COLUMNS if not (np.asarray(getattr(view, name)) >= 0).all()]
        assert unknown == ["reclaimable_slab_kib"]
        assert all(kib >= 0 and x >= 0 for curve in (*view.page_ages, *view.ghost_returns) for x, kib in curve or ())

    live(simulated, policy, seconds=20, each=known)
    for member in simulated.members:
        assert math.isfinite(member.guest.ops + member.guest.lost_s)


def test_memory_follows_a_growing_guest_and_the_idle_one_pays() -> None:
    idle = guest("b", **{"with": {"committed_mib": 200}})
    price = host(experiment([GROWING, idle], pool_mib=700))
    live(price, "price", seconds=30)
    static = host(experiment([GROWING, idle], pool_mib=700))
    live(static, "static", seconds=30)
    assert price.members[0].guest.ops > 1.3 * static.members[0].guest.ops


def test_a_stuck_balloon_is_found_out_and_left_alone() -> None:
    stuck = guest("b", behaviour={"kind": "stuck"})
    ticks = live(host(experiment([GROWING, stuck], pool_mib=700)), "price", seconds=60)
    assert last(ticks, "b") == 350
    assert any("does not follow" in reason for reason in reasons(ticks, "b"))
    assert {"b": 350 * MIB} in [tick.plan.caps_kib for tick in ticks]


def test_xen_lets_a_guest_that_is_capped_have_no_more_whatever_its_balloon_does() -> None:
    world = host(experiment([guest("a"), guest("b")], pool_mib=900))
    target = Step(guest="a", from_kib=0, target_kib=400 * MIB, asked_kib=0, reason="")
    world.apply(Plan(steps=(target,), held={}, caps_kib={"a": 360 * MIB}))
    world.sleep_until(60)
    assert world.view().current_kib[0] == 360 * MIB
    world.apply(Plan(steps=(target,), held={}))
    world.sleep_until(120)
    assert world.view().current_kib[0] == 400 * MIB, "its next target has lifted the cap"


def test_a_slow_balloon_is_waited_for() -> None:
    slow = guest("b", behaviour={"kind": "slow", "rate_mib_s": 2})
    ticks = live(host(experiment([GROWING, slow], pool_mib=700)), "price", seconds=60)
    assert last(ticks, "b") < 350
    assert not any("does not follow" in reason for reason in reasons(ticks, "b"))


def test_a_hidden_minimum_stops_a_balloon_and_costs_only_that_guest() -> None:
    hidden = guest("b", behaviour={"kind": "hidden-minimum", "mib": 300})
    ticks = live(host(experiment([GROWING, hidden], pool_mib=700)), "price", seconds=60)
    assert last(ticks, "b") >= 300
    assert last(ticks, "a") > 380, "what it could give was given"


def test_a_hidden_maximum_is_not_waited_for_for_ever() -> None:
    hidden = guest("b", "mono", behaviour={"kind": "hidden-maximum", "mib": 360})
    ticks = live(host(experiment([guest("a"), hidden], pool_mib=700)), "price", seconds=60)
    assert last(ticks, "b") <= 360
    assert any("does not follow" in reason for reason in reasons(ticks, "b"))


@pytest.mark.parametrize("kind", ["stale", "paused"])
def test_a_silent_guest_is_left_with_what_it_has(kind: str) -> None:
    silent = guest("b", behaviour={"kind": kind, "at_s": 10})
    ticks = live(host(experiment([GROWING, silent], pool_mib=700)), "price", seconds=60)
    then = [float(tick.view.current_kib[1]) for tick in ticks if tick.view.time_s >= 20]
    assert len(set(then)) == 1
    why = "left out: paused" if kind == "paused" else "left out: no sample for"
    assert any(why in reason for reason in reasons(ticks, "b"))


def test_a_paused_guest_is_left_out_before_its_silence_would_tell() -> None:
    paused = guest("b", behaviour={"kind": "paused", "at_s": 10, "for_s": 4})
    ticks = live(host(experiment([GROWING, paused], pool_mib=700)), "price", seconds=30)
    out = [tick.view.time_s for tick in ticks if any("left out" in reason for reason in reasons([tick], "b"))]
    assert out == [12, 14]
    assert not any("no sample" in reason for reason in reasons(ticks, "b"))


def test_a_guest_that_reboots_is_gone_and_comes_back_from_its_beginning() -> None:
    booting = guest("b", behaviour={"kind": "rebooting", "at_s": 20, "for_s": 20})
    ticks = live(host(experiment([GROWING, booting], pool_mib=900)), "price", seconds=60)
    sizes = {tick.view.time_s: float(tick.view.current_kib[1]) for tick in ticks}
    assert all(math.isnan(kib) for time_s, kib in sizes.items() if 22 < time_s < 40)
    assert sizes[44.0] > 100 * MIB
    assert any("what it has is not known" in reason for reason in reasons(ticks, "b"))


def test_a_guest_that_lies_about_its_use_gets_more_than_an_honest_one() -> None:
    honest = live(host(experiment([guest("a", "random"), guest("b", "random")], pool_mib=700)), "price", seconds=60)
    lying = guest("b", "random", behaviour={"kind": "lying", "factor": 1.5})
    lied = live(host(experiment([guest("a", "random"), lying], pool_mib=700)), "price", seconds=60)
    assert last(lied, "b") > last(honest, "b") + 20


def test_stuck_at_times_alternates() -> None:
    behaviour = Behaviour(kind="stuck-at-times", at_s=10, for_s=5)
    assert [manner(behaviour, time_s).balloons for time_s in (0, 12, 17, 22)] == [True, False, True, False]


def test_a_misbehaviour_ends_when_its_time_is_over() -> None:
    behaviour = Behaviour(kind="paused", at_s=10, for_s=5)
    assert [manner(behaviour, time_s).runs for time_s in (9, 10, 14, 15)] == [True, False, False, True]


def test_disks_that_all_want_at_once_are_slower_for_all() -> None:
    def hog(name: str) -> dict[str, object]:
        return guest(name, "mono", initial_mib=200, **{"with": {"low_mib": 400, "high_mib": 401}})

    alone = host(experiment([hog("a")], pool_mib=4000))
    crowd = host(experiment([hog(name) for name in "abcdefghijklmnopqrst"], pool_mib=4000))
    live(alone, "static", seconds=60)
    live(crowd, "static", seconds=60)
    assert crowd.members[0].guest.ops < 0.7 * alone.members[0].guest.ops
