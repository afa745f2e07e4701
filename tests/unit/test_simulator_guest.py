"""A simulated guest: what it keeps, caches, swaps, and loses."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.simulator.curves import Law
from harness.simulator.guest import Guest
from harness.simulator.loads import MODELS, Load, ModelError, load_of
from harness.simulator.memory import BUFFERS_KIB, MIB
from tests.unit.simulated import MACHINE


def guest(load: Load, *, mib: float = 350, swap_mib: float = 800) -> Guest:
    return Guest(
        name="g", machine=MACHINE, load=load, current_kib=mib * MIB, max_kib=800 * MIB, swap_kib=swap_mib * MIB
    )


def settle(one: Guest, *, steps: int = 60) -> Guest:
    for number in range(steps):
        one.work(2.0 * number, 2.0, 1.0)
    return one


COUNTED = (
    "footprint_kib", "resident_kib", "swapped_kib", "leaked_kib", "leaked_here_kib", "cold_out_kib", "slots_kib",
    "cached_kib", "seen_kib", "used_kib", "free_kib", "available_kib", "spare_kib", "committed_kib", "swapped_in_kib",
    "swapped_out_kib", "refaulted_kib", "major_faults", "ops", "ops_s", "passes", "lost_s", "stalled_s",
)  # fmt: skip
"""What is never below 0, and never NaN."""
RANDOM = Load(high_kib=120 * MIB, exponent=1.0, ops_s=1000, cpu_s=2e-5)
HOG = Load(high_kib=300 * MIB, cyclic=True, passes_s=2, cpu_s=1e-6)


@pytest.mark.parametrize("exponent", [0.0, 0.6, 1.0, 1.4])
def test_the_share_of_touches_of_the_hottest_pages_is_that_of_the_summed_weights(exponent: float) -> None:
    weights = [rank**-exponent for rank in range(1, 2501)]
    exact = math.fsum(weights[:500]) / math.fsum(weights)
    assert Law(exponent=exponent).hottest(0.2, 10_000.0) == pytest.approx(exact, rel=0.04)


@given(st.floats(0, 1), st.floats(0, 1), st.floats(0, 2), st.booleans(), st.floats(0, 1))
def test_more_memory_never_means_more_misses(a: float, b: float, exponent: float, cyclic: bool, order: float) -> None:
    law = Law(exponent=exponent, cyclic=cyclic, order=order, scan=3)
    low, high = sorted((a, b))
    assert 0 <= law.miss(high, 1e5) <= law.miss(low, 1e5) + 1e-9 <= 1 + 1e-9


def test_a_guest_with_room_for_all_of_it_loses_nothing_and_reads_nothing() -> None:
    one = settle(guest(RANDOM))
    assert one.lost_s == one.stalled_s == one.swapped_in_kib == one.swapped_out_kib == 0
    assert one.ops == pytest.approx(1000 * 120)


@pytest.mark.parametrize("slowed", [1, 16])
def test_moving_pages_takes_the_processor_for_as_long_as_it_is_work_however_slow_the_balloon(slowed: int) -> None:
    one = guest(Load(high_kib=100 * MIB, ops_s=0.0, cpu_s=1e-4))
    settle(one)
    one.balloon_kib_s /= slowed
    one.target_kib = 800 * MIB
    before = one.ops
    taken_kib = one.balloon(2.0, math.inf)
    one.work(200.0, 2.0, 1.0)
    assert one.ops - before == pytest.approx((2.0 - taken_kib / (MACHINE.balloon_mib_s * MIB)) / 1e-4)


def test_squeezed_it_first_gives_up_its_cache_and_then_swaps() -> None:
    one = settle(guest(RANDOM, mib=350))
    before = one.cached_kib
    one.current_kib = 240 * MIB
    one.work(200.0, 2.0, 1.0)
    assert one.cached_kib < before
    assert one.swapped_kib == 0, "there was cache enough"
    one.current_kib = 150 * MIB
    one.work(202.0, 2.0, 1.0)
    assert one.swapped_kib > 30 * MIB


def test_used_memory_is_censored_by_what_the_guest_has() -> None:
    one = settle(guest(HOG, mib=250))
    assert one.used_kib < 300 * MIB
    assert one.footprint_kib == 300 * MIB
    assert one.used_kib <= one.mem_total_kib


def test_a_cycle_that_lacks_a_little_loses_most_of_its_time() -> None:
    fits, lacks = settle(guest(HOG, mib=500)), settle(guest(HOG, mib=380))
    assert fits.passes == pytest.approx(2 * 120)
    assert lacks.resident_kib / lacks.footprint_kib > 0.85
    assert lacks.passes < fits.passes / 3


def test_popular_pages_stay_and_a_random_load_loses_less_than_a_cycle() -> None:
    zipf = settle(guest(Load(high_kib=300 * MIB, exponent=1.0, cpu_s=1e-5), mib=300))
    even = settle(guest(Load(high_kib=300 * MIB, exponent=0.0, cpu_s=1e-5), mib=300))
    assert zipf.ops > 1.5 * even.ops


@pytest.mark.parametrize(("cyclic", "kept"), [(True, 1.0), (False, 0.75)])
def test_a_cycle_that_shrinks_frees_its_end_which_is_in_memory(cyclic: bool, kept: float) -> None:
    one = settle(guest(Load(low_kib=150 * MIB, high_kib=200 * MIB, low_s=1, up_s=0, high_s=119, cyclic=cyclic,
                            passes_s=2, cpu_s=1e-6), mib=230), steps=55)  # fmt: skip
    assert (out := one.swapped_kib) > 20 * MIB
    one.fit(150 * MIB, 0.0)
    assert one.swapped_kib == pytest.approx(kept * out)
    one.fit(10 * MIB, 0.0)
    assert one.swapped_kib <= 10 * MIB


def test_swap_is_sticky_after_the_pressure_has_ended() -> None:
    one = settle(guest(RANDOM, mib=150))
    assert one.slots_kib > 40 * MIB
    one.current_kib = 500 * MIB
    settle(one, steps=5)
    early = one.slots_kib
    settle(one, steps=300)
    assert 0 < one.slots_kib < early, "the popular pages came back at once, the others one by one"
    assert one.slots_kib >= one.cold_out_kib > 0, "sleeping programs never come back"


def test_what_is_laid_out_before_the_word_is_there_when_the_work_begins_and_counted_nowhere() -> None:
    laid_out = Load(high_kib=300 * MIB, laid_out=True, cpu_s=1e-4)
    ample, short = guest(laid_out, mib=500), guest(laid_out, mib=200)
    for one in (ample, short):
        one.get_ready()
        assert one.footprint_kib == 300 * MIB
        assert (one.swapped_out_kib, one.stalled_s, one.wanted_ops) == (0, 0, 0)
    assert ample.swapped_kib == 0
    assert short.swapped_kib > 100 * MIB
    ample.work(0.0, 2.0, 1.0)
    assert ample.ops == pytest.approx(2.0 / 1e-4), "no time goes into filling"


def test_what_is_the_work_itself_to_fill_is_not_there_before() -> None:
    one = guest(HOG, mib=500)
    one.get_ready()
    assert one.footprint_kib == 0


def test_memory_and_swap_full_is_the_end_of_the_work() -> None:
    one = settle(guest(HOG, mib=200, swap_mib=50))
    assert one.oom_kills == 1
    assert one.resident_kib == 0


def test_a_balloon_gives_free_memory_at_its_own_speed_and_swapped_memory_at_the_disks() -> None:
    free = guest(Load(), mib=700)
    free.target_kib = 160 * MIB
    assert -free.balloon(2.0, 0.0) == pytest.approx(MACHINE.balloon_mib_s * MIB * 2)
    full = settle(guest(HOG, mib=400))
    full.target_kib = 160 * MIB
    assert -full.balloon(1.0, 0.0) < MACHINE.balloon_mib_s * MIB * 0.7


def test_a_balloon_stops_where_nothing_is_left_to_give() -> None:
    one = guest(Load(), mib=300)
    one.target_kib = 10 * MIB
    for number in range(60):
        one.balloon(2.0, 0.0)
        one.work(2.0 * number, 2.0, 1.0)
    assert one.current_kib == pytest.approx(one.floor_kib)
    assert one.floor_kib > 90 * MIB


@given(st.sampled_from(sorted(MODELS)), st.lists(st.tuples(st.integers(120, 800), st.integers(1, 5)), max_size=12))
def test_memory_neither_appears_nor_vanishes_and_time_lost_is_never_negative(
    kind: str, moves: list[tuple[int, int]]
) -> None:
    one = guest(load_of({"model": kind}, "seed"))
    time_s = 0.0
    for mib, steps in moves:
        one.target_kib = float(mib * MIB)
        for _ in range(steps):
            before = (one.swapped_in_kib, one.swapped_out_kib, one.lost_s, one.stalled_s, one.moved_kib)
            one.balloon(2.0, 1e9)
            one.work(time_s, 2.0, 1.0)
            time_s += 2.0
            parts = BUFFERS_KIB + one.used_kib + one.cached_kib + one.free_kib
            assert parts == pytest.approx(one.mem_total_kib)
            assert 0 <= one.swapped_kib <= one.footprint_kib + 1e-6
            assert one.swapped_kib + one.cold_out_kib <= one.slots_kib + 1e-6
            assert one.slots_kib <= one.swap_kib + 1e-6
            now = (one.swapped_in_kib, one.swapped_out_kib, one.lost_s, one.stalled_s, one.moved_kib)
            assert all(later >= earlier - 1e-9 for earlier, later in zip(before, now, strict=True))
            assert one.lost_s <= time_s + 1e-9
            assert one.stalled_s <= time_s + 1e-9


def test_a_footprint_rises_rests_and_falls_as_the_workload_says() -> None:
    load = load_of({"model": "mono", "low_mib": 50, "high_mib": 400, "rate_mib_s": 35, "hold_s": 5}, "")
    found = [load.footprint_kib(time_s) / MIB for time_s in (0, 5, 10, 15, 20, 25, 30, 35)]
    assert found == [50, 50, 225, 400, 400, 225, 50, 50]


def test_steps_and_bursts_are_drawn_from_the_seed() -> None:
    one, same, other = (load_of({"model": "steps"}, seed) for seed in ("1", "1", "2"))
    assert one == same != other
    assert 0.1 < sum(load_of({"model": "burst"}, "1").heights) / 64 < 0.5


@pytest.mark.parametrize(
    ("model", "said"),
    [
        ({}, "simulator.model is missing; known: burst, cache-scan"),
        ({"model": "mona"}, "simulator.model is mona"),
        ({"model": "hog", "size": 3}, "simulator.size: hog has no such key; it has: anon_mib, passes_per_s"),
    ],
)
def test_a_model_that_there_is_not_is_answered_with_those_that_there_are(model: dict[str, object], said: str) -> None:
    with pytest.raises(ModelError) as raised:
        load_of(model, "")
    assert said in str(raised.value)


def test_a_guest_that_boots_in_less_memory_than_its_kernel_needs_waits_and_does_not_fall_over() -> None:
    one = settle(guest(HOG, mib=60), steps=5)
    assert one.ops >= 0
    one.swapped_kib, one.footprint_kib = 1.0, 0.0
    one.work(10.0, 2.0, 1.0)


@pytest.mark.parametrize("mib", [60, 80, 90])
def test_a_kernel_that_lacks_memory_for_itself_swaps_no_more_of_the_work_than_there_is(mib: float) -> None:
    one = guest(Load(high_kib=40 * MIB, laid_out=True, ops_s=1000, cpu_s=2e-5), mib=mib)
    assert one.current_kib < one.floor_kib
    one.get_ready()
    settle(one)
    assert one.swapped_kib == one.footprint_kib == 40 * MIB
    assert one.oom_kills == 0, "swap has room"
    assert one.missing() > 0.99
    one.current_kib = 300 * MIB
    settle(one, steps=200)
    assert one.swapped_kib < 4 * MIB, "it has its memory back, and works"


@given(st.sampled_from(sorted(MODELS)), st.integers(1, 250), st.booleans(), st.floats(0.2, 4))
def test_however_small_a_guest_is_every_step_of_its_work_ends_in_numbers(
    kind: str, mib: int, swaps: bool, step_s: float
) -> None:
    one = guest(load_of({"model": kind}, "seed"), mib=mib, swap_mib=800 if swaps else 20)
    one.get_ready()
    for number in range(12):
        one.target_kib = (mib + 20 * (number % 4)) * MIB
        one.balloon(step_s, 1e9)
        moved_kib = one.work(step_s * number, step_s, 1.0)
        assert [name for name in COUNTED if not float(getattr(one, name)) >= -1e-6] == []
        assert 0 <= moved_kib < math.inf
        assert 0 <= one.missing() <= 1
        assert 0 <= one.uncached() <= 1
        assert one.cold_out_kib <= one.cold_kib + 1e-6
        assert one.stalled_s <= step_s * (number + 1) + 1e-9
