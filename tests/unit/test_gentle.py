"""In production memory is taken slowly, and a part of a large guest stays free in it."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from harness.governor import Governor, Limits, Plan
from harness.policies import make, names
from harness.policies.base import Allocation
from harness.simulator.hindsight import live
from harness.view import HostView
from tests.unit.simulated import experiment, guest, host
from tests.unit.views import MIB, make_view

GIB = 1024.0


def large(sizes_gib: list[float], used_gib: list[float], *, time_s: float = 0.0, free_gib: float = 0.0) -> HostView:
    """Guests of whole GiB with nothing but free memory beside what they use."""
    sizes, used = np.array(sizes_gib) * GIB, np.array(used_gib) * GIB
    view = make_view(
        sizes.tolist(), pool=sizes.sum() + free_gib * GIB, used=used.tolist(), swap_fill=[0.0] * len(sizes), lo=512,
        hi=32 * GIB, time_s=time_s, mem_available_kib=(sizes - used) * MIB, committed_kib=used * MIB,
        stall_some=np.zeros(len(sizes)), swap_in_kib_s=np.zeros(len(sizes)), swap_out_kib_s=np.zeros(len(sizes)),
        refault_kib_s=np.zeros(len(sizes)), target_kib=sizes * MIB, limit_kib=(sizes + 1) * MIB,
    )  # fmt: skip
    return replace(view, mem_total_kib=sizes * MIB, mem_free_kib=(sizes - used) * MIB)


def taken_mib(plan: Plan) -> list[float]:
    return [(step.from_kib - step.target_kib) / MIB for step in plan.steps if step.target_kib < step.from_kib]


@pytest.mark.parametrize("name", names())
def test_no_policy_takes_more_from_a_large_guest_in_a_tick_than_the_limit(name: str) -> None:
    policy, gentle, free = make(name), Governor(Limits(take_kib_s=16.0 * MIB)), Governor()
    sizes = [16.0, 16.0, 16.0]
    for tick in range(20):
        view = large(sizes, [2.0, 15.8, 4.0], time_s=2.0 * tick)
        plan = gentle.plan(view, policy.decide(gentle.fresh(view)))
        assert all(taken <= 32 for taken in taken_mib(plan))
        for step in plan.steps:
            sizes[view.names.index(step.guest)] = step.target_kib / MIB / GIB
    if name in ("two-state", "price", "qmemman"):
        assert sizes[0] < 16.0 - 19 * 32 / GIB + 0.01, "it is taken, all the same, tick by tick"
        view = large([16.0, 16.0, 16.0], [2.0, 15.8, 4.0])
        assert max(taken_mib(free.plan(view, make(name).decide(free.fresh(view))))) > 1000, "without a limit, at once"


def wanting(gib: list[float]) -> Allocation:
    return Allocation(targets_kib=np.array(gib) * GIB * MIB, reasons=("asked",) * len(gib))


def test_a_step_smaller_than_the_dead_band_is_sent_where_the_limit_and_not_the_policy_makes_it_small() -> None:
    governor = Governor(Limits(take_kib_s=4.0 * MIB))
    view = large([16.0], [1.0])
    plan = governor.plan(view, wanting([8.0]))
    assert taken_mib(plan) == [8]
    assert plan.steps[0].reason == "asked; at most 8 MiB are taken from it at a time"


def test_a_guest_that_lags_is_never_told_more_than_the_limit_below_what_it_has() -> None:
    governor, told = Governor(Limits(take_kib_s=16.0 * MIB)), 16.0 * GIB
    for tick in range(8):
        has = 16.0 * GIB - 5 * tick
        view = large([has / GIB], [1.0], time_s=2.0 * tick)
        view = replace(view, target_kib=np.array([told * MIB]), limit_kib=np.array([(told + 1) * MIB]))
        for step in governor.plan(view, wanting([8.0])).steps:
            told = step.target_kib / MIB
            assert has - told <= 32
    assert told < 16.0 * GIB - 32


def shrunk_by_mib(**more: object) -> float:
    """The most that the idle guest of a simulated trial gives in a tick."""
    growing = guest("a", "mono", **{"with": {"high_mib": 500, "rate_mib_s": 30}})
    wanted = experiment([growing, guest("b")], pool_mib=700, **more)
    sizes: list[float] = []
    live(host(wanted), wanted, make("price"), lambda tick: sizes.append(float(tick.view.current_kib[1]) / MIB))
    return float(-np.diff(sizes).min())


def test_a_trial_takes_all_that_a_policy_wants_unless_its_experiment_says_how_much() -> None:
    assert shrunk_by_mib() > 20
    assert shrunk_by_mib(take_mib_s=3.0) <= 6.01
    assert "take_mib_s" not in experiment([guest("a")]).resolved(), "an older run goes on as it is"
    assert experiment([guest("a")], take_mib_s=3.0).resolved()["take_mib_s"] == 3


def test_growth_is_not_slowed() -> None:
    governor = Governor(Limits(take_kib_s=16.0 * MIB))
    plan = governor.plan(large([4.0, 16.0], [4.0, 2.0], free_gib=3.0), wanting([7.0, 16.0]))
    assert [(step.target_kib - step.from_kib) / MIB for step in plan.steps] == [3 * GIB]


@pytest.mark.parametrize(("gib", "kept_gib"), [(16.0, 2.0 + 0.05 * 16.0), (0.25, 0.125 + 16 / GIB)])
def test_a_guest_keeps_a_part_of_what_it_has_available_and_at_least_some_mib(gib: float, kept_gib: float) -> None:
    governor = Governor(Limits(margin_share=0.05))
    view = large([gib], [min(2.0, gib / 2)])
    view = replace(view, min_kib=np.array([0.0]))
    plan = governor.plan(view, wanting([0.01]))
    assert plan.steps[0].target_kib / MIB / GIB == pytest.approx(kept_gib, abs=0.001)
