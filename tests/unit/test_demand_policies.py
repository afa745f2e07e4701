"""What the policies decide that measure demand: returning pages, miss curves, stall."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from harness.policies import Policy, make
from harness.policies.ghost import capturing_depth_kib
from harness.policies.miss_ratio import MissCurve, fewest_misses, miss_curve
from harness.view import Curve, FloatArray, HostView
from tests.unit.views import MIB, in_mib, make_view


def mibs(*sizes: float) -> FloatArray:
    return np.array(sizes, dtype=float) * MIB


def returning(*points: tuple[float, float]) -> Curve:
    """Ghost returns: depth in MiB, rate in KiB/s."""
    return tuple((depth * MIB, rate) for depth, rate in points)


def test_ghost_asks_for_the_depth_that_captures_most_returns() -> None:
    view = replace(make_view([400]), ghost_returns=(returning((512, 5), (64, 50), (128, 45)),))
    allocation = make("ghost").decide(view)
    assert in_mib(allocation.targets_kib) == [528]
    assert allocation.reasons == ("would not miss 128 MiB of what returns: +128 MiB",)
    assert in_mib(make("ghost", {"captured": 1}).decide(view).targets_kib) == [912]


def test_ghost_takes_what_returns_over_the_horizon_where_there_is_no_trace() -> None:
    view = make_view([400], refault_kib_s=mibs(3))
    assert in_mib(make("ghost", {"horizon_s": 10}).decide(view).targets_kib) == [430]


def test_ghost_lets_unused_demand_decay_to_what_the_guest_started_with_and_no_further() -> None:
    policy = make("ghost", {"decay_s": 60})
    policy.decide(make_view([400], refault_kib_s=mibs(10), time_s=0))
    after = {}
    for time_s in (60, 120, 6000):
        after[time_s] = in_mib(policy.decide(make_view([500], refault_kib_s=mibs(0), time_s=time_s)).targets_kib)[0]
    assert after == pytest.approx({60: 400 + 100 / np.e, 120: 400 + 100 / np.e**2, 6000: 400}, abs=0.01)


def test_ghost_does_not_know_who_can_give() -> None:
    view = make_view([400, 400], pool=800, refault_kib_s=mibs(10, 0))
    assert in_mib(make("ghost").decide(view).targets_kib) == [500, 400]


def test_ghost_holds_a_guest_of_which_it_sees_no_returns() -> None:
    assert "neither its ghost_returns nor its refault_kib_s" in make("ghost").decide(make_view([400])).reasons[0]


def test_no_returns_capture_no_depth() -> None:
    assert capturing_depth_kib((), 0.95) == 0
    assert capturing_depth_kib(((64, 0.0),), 0.95) == 0


def aged(*points: tuple[float, float]) -> Curve:
    """Page ages: age in s, size in MiB."""
    return tuple((age_s, size * MIB) for age_s, size in points)


def meb(current: list[float], pool: float, ages: list[Curve | None], **changes: Any) -> HostView:  # noqa: ANN401 - passes them on
    n = len(current)
    given = {"swap_fill": np.zeros(n), "swap_in_kib_s": np.zeros(n), **changes}
    return replace(make_view(current, pool=pool, **given), page_ages=tuple(ages))


def test_a_working_set_is_the_smallest_memory_with_five_percent_of_the_misses() -> None:
    curve = miss_curve(aged((1, 100), (100, 100), (1000, 200)), 450 * MIB, 0, 0)
    saved = 100 + 1 + 0.2
    assert curve.fixed_kib == 50 * MIB
    assert curve.working_set_kib(0.05) / MIB == pytest.approx(50 + 0.95 * saved, abs=0.01)
    assert curve.working_set_kib(0.005) / MIB == pytest.approx(50 + 100 + (0.995 * saved - 100) * 100, abs=0.01)


def test_miss_ratio_spreads_the_surplus_in_proportion_to_the_working_sets() -> None:
    view = meb([400, 400], 800, [aged((1, 200), (1e9, 200)), aged((1, 100), (1e9, 300))])
    allocation = make("miss-ratio").decide(view)
    assert allocation.state == "plenty"
    assert in_mib(allocation.targets_kib) == pytest.approx([533.333, 266.667], abs=0.01)


def test_miss_ratio_gives_a_swapping_guest_room_for_its_swap() -> None:
    ages = [aged((1, 400)), aged((1, 100), (1e9, 300))]
    view = meb([400, 400], 1000, ages, swap_fill=[0.25, 0], swap_in_kib_s=np.array([500.0, 0]))
    allocation = make("miss-ratio").decide(view)
    assert allocation.reasons[0].startswith("swaps, wants 656 MiB")
    assert in_mib(allocation.targets_kib)[0] > 656


def test_miss_ratio_takes_the_coldest_pages_when_memory_is_scarce() -> None:
    ages = [aged((1, 300), (50, 100)), aged((2, 100), (10, 200), (100, 100))]
    allocation = make("miss-ratio", {"miss_ratio": 0.001}).decide(meb([400, 400], 650, ages))
    assert allocation.state == "scarce"
    assert in_mib(allocation.targets_kib) == [350, 300]


def test_a_dent_in_a_miss_curve_is_bridged() -> None:
    curve = miss_curve(aged((1, 100), (1000, 100)), 200 * MIB, 100 * MIB, 50 * MIB)
    assert (curve.sizes_kib / MIB).tolist() == [100, 200]
    assert curve.saves == pytest.approx([1, (0.1 + 50) / 200])


def test_no_other_split_has_fewer_misses() -> None:
    rng = np.random.default_rng(3)
    for _ in range(50):
        n = 3
        ages = [tuple(zip(rng.uniform(1, 500, 4), rng.uniform(1e4, 1e5, 4), strict=True)) for _ in range(n)]
        curves = [miss_curve(curve, 0.0, 0, 0) for curve in ages]
        totals = np.array([curve.sizes_kib.sum() for curve in curves])
        view = replace(make_view([100] * n, pool=0.6 * totals.sum() / MIB, lo=10, hi=300), page_ages=tuple(ages))
        best = fewest_misses(view, curves)
        assert best.sum() == pytest.approx(view.pool_kib)
        for _ in range(50):
            giver, taker = rng.permutation(n)[:2]
            moved = rng.uniform(0, min(best[giver] - view.min_kib[giver], view.max_kib[taker] - best[taker]))
            other = best.copy()
            other[[giver, taker]] += [-moved, moved]
            assert misses(curves, other) >= misses(curves, best) - 1e-6


def misses(curves: list[MissCurve], targets: FloatArray) -> float:
    saved = 0.0
    for curve, target in zip(curves, targets, strict=True):
        before = curve.sizes_kib.cumsum() - curve.sizes_kib
        saved += float((np.clip(target - before, 0, curve.sizes_kib) * curve.saves).sum())
    return -saved


def stalling(
    current: list[float],
    stall: list[float],
    *,
    back: list[float] | None = None,
    free: list[float] | None = None,
    pool: float | None = None,
    time_s: float = 0,
) -> HostView:
    """Guests that fill their pool; `back` is MiB/s from swap, `free` MiB of free memory."""
    n = len(current)
    return make_view(
        current,
        pool=pool or sum(current),
        time_s=time_s,
        stall_some=np.array(stall, dtype=float),
        swap_in_kib_s=mibs(*(back or [0] * n)),
        mem_free_kib=mibs(*(free or [0] * n)),
    )


def pressed(view: HostView, policy: Policy | None = None) -> list[float]:
    return in_mib((policy or make("pressure")).decide(view).targets_kib)


def test_nothing_moves_while_nobody_stalls() -> None:
    assert pressed(stalling([400, 300], [0, 0.009], free=[300, 200], pool=900)) == [400, 300]


def test_a_stalling_guest_gets_what_came_back_over_the_horizon_from_free_pages_at_once() -> None:
    view = stalling([400, 400], [0.2, 0], back=[25, 0], free=[0, 200])
    allocation = make("pressure").decide(view)
    assert in_mib(allocation.targets_kib) == [500, 300]
    assert allocation.reasons == ("loses 20.0% of its time and asks: +100 MiB", "loses 0.0% of its time: -100 MiB")


def test_a_stalling_guest_of_which_nothing_is_seen_to_return_asks_for_a_percent() -> None:
    assert pressed(stalling([400, 400], [0.2, 0], free=[0, 200])) == [404, 396]


def test_used_pages_of_a_guest_at_ease_are_probed_by_a_percent_a_tick() -> None:
    assert pressed(stalling([400, 400], [0.2, 0], back=[25, 0])) == [404, 396]


def test_a_giving_guest_keeps_some_free_memory() -> None:
    assert pressed(stalling([400, 400], [0.2, 0], back=[25, 0], free=[0, 50])) == [438, 362]


def test_a_stalling_guest_is_not_probed_nor_for_a_while_the_working_set_that_its_stall_showed() -> None:
    policy = make("pressure", {"smoothing_s": 0})
    assert pressed(stalling([400, 400], [0.2, 0.1], back=[25, 0], time_s=0), policy) == [400, 400]
    assert pressed(stalling([400, 400], [0.2, 0], back=[25, 0], time_s=30), policy) == [400, 400]
    assert pressed(stalling([400, 400], [0.2, 0], back=[25, 0], free=[0, 200], time_s=30), policy) == [500, 300]
    assert pressed(stalling([400, 400], [0.2, 0], back=[25, 0], time_s=61), policy) == [404, 396]


def test_a_guest_whose_stall_is_over_asks_no_more() -> None:
    policy = make("pressure", {"smoothing_s": 4})
    pressed(stalling([400, 400], [0.5, 0], back=[25, 0], time_s=0), policy)
    assert pressed(stalling([400, 400], [0, 0], back=[25, 0], free=[0, 200], time_s=2), policy) == [400, 400]


def test_a_guest_that_stalls_below_what_it_started_with_gets_it_back_from_those_above_theirs() -> None:
    policy = make("pressure", {"smoothing_s": 0})
    pressed(stalling([400, 400], [0, 0]), policy)
    assert pressed(stalling([550, 250], [0.5, 0.1], back=[25, 10], time_s=2), policy) == [510, 290]


def test_scarce_memory_goes_where_a_kib_saves_the_most_stall_per_share() -> None:
    view = stalling([400, 400, 400], [0.2, 0.3, 0], back=[25, 25, 0], free=[0, 0, 136])
    assert pressed(view) == [424, 500, 276]
    weighty = replace(view, shares=np.array([3000.0, 1000.0, 1000.0]))
    assert pressed(weighty) == [500, 424, 276]


def test_stall_is_averaged() -> None:
    policy = make("pressure", {"smoothing_s": 4})
    pressed(stalling([400, 400], [0, 0], time_s=0), policy)
    assert pressed(stalling([400, 400], [0.02, 0], back=[25, 0], time_s=1), policy) == [400, 400]
    assert pressed(stalling([400, 400], [0.02, 0], back=[25, 0], time_s=5), policy) == [404, 396]


def test_pressure_never_asks_for_more_than_the_pool() -> None:
    assert sum(pressed(stalling([400, 400], [0.2, 0.2], back=[99, 99], pool=700))) == 700
