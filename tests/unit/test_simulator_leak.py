"""A simulated guest that leaks: what it has leaked is memory like any other, and costs nothing once it is in swap."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness import policies
from harness.experiment.workloads import load_workloads
from harness.simulator import signals
from harness.simulator.curves import PAGE_KIB
from harness.simulator.foresight import Foresight
from harness.simulator.guest import Guest
from harness.simulator.host import Member
from harness.simulator.loads import load_of
from harness.simulator.memory import MIB
from harness.simulator.trial import host_of
from tests.unit.simulated import MACHINE, WORKLOADS, experiment, guest, live

STEP_S = 2.0
LEAK = {"model": "leak", "live_mib": 60.0, "touches_per_s": 1000.0, "rate_mib_s": 4.0, "most_mib": 560.0}


def leaking(*, mib: float, swap_mib: float = 800, **model: float) -> Guest:
    one = Guest(
        name="g", machine=MACHINE.but({"fill_s": 0.0001}), load=load_of({**LEAK, **model}, ""), current_kib=mib * MIB,
        max_kib=800 * MIB, swap_kib=swap_mib * MIB,
    )  # fmt: skip
    one.get_ready()
    return one


def lived(one: Guest, until_s: float, from_s: float = 0.0) -> Guest:
    for number in range(round((until_s - from_s) / STEP_S)):
        one.work(from_s + STEP_S * number, STEP_S, 1.0)
    return one


def test_with_ample_memory_it_grows_by_its_rate_to_its_most_and_so_does_what_is_committed() -> None:
    one, now_s = leaking(mib=800, most_mib=200.0), 0
    committed, used = one.committed_kib, one.used_kib
    for until_s, leaked_mib in ((10, 40), (30, 120), (50, 200), (90, 200)):
        lived(one, until_s, from_s=now_s)
        now_s = until_s
        grown = (one.leaked_kib, one.committed_kib - committed, one.used_kib - used)
        assert grown == pytest.approx((leaked_mib * MIB,) * 3)
        assert (one.swapped_out_kib, one.lost_s, one.ops) == (0, 0, pytest.approx(1000 * until_s))


def test_where_memory_is_short_the_leak_is_in_swap_and_the_work_goes_on_undiminished() -> None:
    one = lived(leaking(mib=200), 40)
    ops, used = one.ops, one.used_kib
    lived(one, 120, from_s=40)
    assert one.ops - ops == pytest.approx(1000 * 80)
    assert one.used_kib == pytest.approx(used), "what it leaks does not stay"
    assert one.leaked_kib == pytest.approx(480 * MIB)
    assert one.cold_out_kib > 400 * MIB
    assert one.slots_kib == pytest.approx(one.cold_out_kib)
    assert one.swapped_kib == one.swapped_in_kib == 0, "nothing that it works on went, and nothing came back"


def test_a_leak_is_no_faster_than_pages_are_filled_and_room_is_made() -> None:
    ample, short = leaking(mib=800, rate_mib_s=1000.0), leaking(mib=200, rate_mib_s=1000.0)
    short.machine = short.machine.but({"swap_write_mib_s": 5})
    room_kib = short.room_kib - short.footprint_kib
    for one in (ample, short):
        lived(one, 6)
    assert ample.leaked_kib == pytest.approx(6 / 0.0001 * PAGE_KIB)
    assert ample.ops == 0, "filling takes all of its time"
    assert short.leaked_kib < room_kib + 6 * 5 * MIB < ample.leaked_kib
    assert short.stalled_s > 3


def test_what_is_leaked_makes_way_for_what_is_worked_on() -> None:
    one = leaking(mib=120)
    assert one.swapped_kib > 20 * MIB
    one.current_kib = 175 * MIB
    one.fit(60 * MIB, STEP_S, 40 * MIB)
    assert min(one.leaked_here_kib, one.swapped_kib) > 10 * MIB
    assert one.strangers() == one.swapped_kib / PAGE_KIB, "each comes back once and pushes none like it out"
    lived(one, 120)
    assert one.swapped_kib < 1 * MIB
    assert one.used_kib <= one.mem_total_kib


def test_a_leak_that_fills_memory_and_swap_is_killed_and_leaks_no_more() -> None:
    one = lived(leaking(mib=200, swap_mib=100), 160)
    assert one.oom_kills == 1
    assert (one.leaked_kib, one.footprint_kib) == (0, 0)
    assert one.committed_kib == MACHINE.cold_mib * MIB
    assert one.cold_out_kib <= MACHINE.cold_mib * MIB


def test_a_leak_that_is_killed_has_never_been_touched_less_than_not_at_all() -> None:
    one = leaking(mib=200, swap_mib=100)
    while not one.oom_kills:
        lived(one, one.wanted_ops / 1000 + STEP_S, one.wanted_ops / 1000)
    assert one.leaking_kib_s == 0
    assert all(kib >= 0 for _, kib in signals.page_ages(one, 10.0))


def test_what_has_just_been_leaked_has_just_been_touched() -> None:
    one = lived(leaking(mib=800, live_mib=1.0), 60)
    touched = signals.active_kib(one, 10.0)
    assert touched == pytest.approx((MACHINE.own_mib + 1 + 10 * 4) * MIB, rel=0.01)
    ended = lived(leaking(mib=800, live_mib=1.0, most_mib=100.0), 60)
    assert signals.active_kib(ended, 10.0) == pytest.approx((MACHINE.own_mib + 1) * MIB, rel=0.01)


def test_those_that_know_the_true_curves_lose_nothing_by_leaving_a_leak_in_swap() -> None:
    one = lived(leaking(mib=800), 120)
    member = Member(guest=one, reboot=lambda: one, min_kib=160 * MIB, shares=1.0, behaviour=None)
    known, small = Foresight([member], 160.0), np.array([[200.0]]) * MIB
    for lost in (known.lost_now(["g"], small, 1000.0), known.lost_s(["g"], small, 120.0, 160.0)):
        assert lost == pytest.approx(0.0, abs=1e-9)
    one.swap_kib = 100 * MIB
    assert known.lost_now(["g"], small, 1000.0) >= 1, "but where swap cannot hold it the work would be killed"


@given(st.floats(0, 200), st.lists(st.tuples(st.integers(110, 400), st.integers(1, 4)), max_size=12))
def test_what_is_leaked_is_in_memory_or_in_swap_and_never_shrinks(
    rate_mib_s: float, moves: list[tuple[int, int]]
) -> None:
    one, time_s = leaking(mib=300, rate_mib_s=rate_mib_s), 0.0
    for mib, steps in moves:
        one.target_kib = float(mib * MIB)
        for _ in range(steps):
            before = one.leaked_kib
            one.balloon(STEP_S, math.inf)
            one.work(time_s, STEP_S, 1.0)
            time_s += STEP_S
            assert before <= one.leaked_kib <= one.load.leaked_kib(time_s) + 1e-6
            assert one.cold_out_kib <= one.cold_kib + 1e-6
            assert 0 <= one.swapped_kib <= one.footprint_kib + 1e-6
            assert one.swapped_kib + one.cold_out_kib <= one.slots_kib + 1e-6 <= one.swap_kib + 2e-6
            assert one.used_kib + one.cached_kib <= one.mem_total_kib + 1e-6


@pytest.mark.parametrize("policy", [name for name in policies.names() if name not in ("informed", "oracle")])
def test_no_policy_has_a_leak_do_more_than_it_does_unconstrained(policy: str) -> None:
    library = {**WORKLOADS, **load_workloads(names=["leak"])}
    wanted = experiment(
        [guest("a", "leak", **{"with": {"rate_mib_s": 8}}), guest("b", "mono"), guest("c")],
        pool_mib=1060, signals=["page-ages", "swap-trace"],
    )  # fmt: skip
    done = {}
    for name in (policy, "unconstrained"):
        world = host_of(wanted.at(policy=name), library, MACHINE, 1)
        live(world, name, seconds=100)
        done[name] = world.members[0].guest.ops
    assert done[policy] <= done["unconstrained"] == pytest.approx(1000 * 100)
