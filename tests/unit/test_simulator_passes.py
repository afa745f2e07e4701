"""Passes over a footprint: when they begin, how far they get, and what falls behind, as `workloads/mono.py` does it."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.simulator.guest import Guest
from harness.simulator.loads import load_of
from harness.simulator.memory import MIB
from harness.simulator.passes import Cost, Passes
from tests.unit.simulated import MACHINE

STEP_S = 2.0


def lived(passes: Passes, *, until_s: float, pages: float, touch_s: float = 1e-5) -> float:
    """Touches of some seconds in steps."""
    done, now_s = 0.0, 0.0
    while now_s < until_s:
        done += passes.run(now_s, now_s, now_s + STEP_S, lambda _: pages, Cost(touch_s=touch_s))
        now_s += STEP_S
    return done


@pytest.mark.parametrize("per_s", [0.5, 1.0, 2.0, 0.3])
def test_with_nothing_in_the_way_a_pass_begins_whenever_one_is_due(per_s: float) -> None:
    passes = Passes(interval_s=1 / per_s)
    begun = 60 * per_s
    assert lived(passes, until_s=60, pages=1000) == pytest.approx(1000 * begun, abs=1000.1)
    assert passes.lost_s == 0


def test_a_pass_that_takes_longer_than_its_time_delays_the_next_and_the_delay_is_lost() -> None:
    passes = Passes(interval_s=1.0)
    assert lived(passes, until_s=60, pages=1000, touch_s=3e-3) == pytest.approx(60 / 3e-3)
    assert passes.lost_s == pytest.approx(60 * 2 / 3), "of 3 s that a pass takes, 2 are behind the next"


def test_a_pass_ends_where_the_footprint_ends_when_it_gets_there() -> None:
    passes = Passes(interval_s=10.0)
    assert passes.run(0.0, 0.0, 2.0, lambda _: 1000.0, Cost(touch_s=1e-2)) == pytest.approx(200)
    passes.follow(500)
    assert passes.left == pytest.approx(1300)
    passes.follow(-1200)
    assert passes.run(2.0, 2.0, 4.0, lambda _: 1000.0, Cost(touch_s=1e-2)) == pytest.approx(100)
    assert passes.asks_s(4.0, 6.0) is None, "it rests until the next is due"


def test_a_guest_that_comes_late_begins_with_the_moment() -> None:
    passes = Passes(interval_s=1.0)
    asked: list[float] = []
    passes.run(33.5, 33.5, 35.5, lambda time_s: asked.append(time_s) or 10.0, Cost(touch_s=1e-5))
    assert asked == [33.5, 34.5]


@given(st.floats(0, 1), st.floats(0, 1e-2), st.floats(0, 1e4), st.floats(0, 5))
def test_what_can_be_afforded_takes_just_the_time_that_there_is(
    missing: float, fault_s: float, most_faults: float, time_s: float
) -> None:
    cost = Cost(touch_s=1e-5, missing=missing, fault_s=fault_s, most_faults=most_faults)
    assert cost.pay(cost.afford(time_s)) == pytest.approx(time_s, rel=1e-6, abs=1e-9)
    assert cost.faults <= most_faults * (1 + 1e-9)


def mono(**model: float) -> Guest:
    said = {"model": "mono", "low_mib": 50.0, "high_mib": 400.0, "rate_mib_s": 10.0, "hold_s": 3.0, "passes_per_s": 0.5}
    return Guest(
        name="busy", machine=MACHINE.but({"reclaim_mib_s": 4.0, "fill_s": 0.0001}), load=load_of({**said, **model}, ""),
        current_kib=400 * MIB, max_kib=640 * MIB, swap_kib=640 * MIB,
    )  # fmt: skip


def test_a_pass_that_meets_the_end_of_memory_touches_nothing_until_its_footprint_is_there() -> None:
    one, done = mono(), {}
    for number in range(25):
        one.work(STEP_S * number, STEP_S, 1.0)
        done[STEP_S * (number + 1)] = one.ops * 4 / MIB
    stuck = [now_s for now_s in done if now_s > 4 and done[now_s] == done.get(now_s - STEP_S)]
    assert len(stuck) >= 4
    assert stuck == [stuck[0] + STEP_S * number for number in range(len(stuck))], "one pass, and not every now and then"
    assert one.lost_s > len(stuck), "and all that time the next was due"


def test_what_programs_have_cached_goes_slowly_before_anything_is_swapped() -> None:
    one = mono(low_mib=300.0, high_mib=300.0)
    fast = Guest(
        name="busy", machine=one.machine.but({"reclaim_mib_s": 1000.0}), load=one.load, current_kib=300 * MIB,
        max_kib=640 * MIB, swap_kib=640 * MIB,
    )  # fmt: skip
    one.current_kib = 300 * MIB
    for number in range(100):
        for each in (one, fast):
            each.work(0.5 * number, 0.5, 1.0)
        if one.swapped_out_kib:
            break
    waited_s = (one.machine.files_mib - one.machine.least_files_mib) / 4.0
    assert one.stalled_s == pytest.approx(waited_s, abs=0.6)
    assert fast.swapped_out_kib > one.swapped_out_kib
