"""The statements of docs/theory.md, T1 to T18: what is a price, what is an equilibrium, what contracts."""

from __future__ import annotations

from dataclasses import replace
from fractions import Fraction
from itertools import pairwise, product
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import optimize

from docs.worlds import run, seen
from harness.policies import make
from harness.policies.waterfill import waterfill
from harness.view import FloatArray, HostView
from tests.unit.test_waterfill import Pool, pools
from tests.unit.views import MIB, in_mib, make_view

USED = [300.0, 700.0, 120.0, 900.0]
PLAIN = {"swap_weight": 0}
SWAPPING: dict[str, Any] = {"tax": 0.5, "swap_weight": 0.6, "swap_dead_band_mib": 0}
AS_IT_IS = {"fixed_point": False, "swap_smoothing_s": 0}


def targets(policy: str, view: HostView, **params: Any) -> FloatArray:  # noqa: ANN401 - a policy's own
    return make(policy, params).decide(view).targets_kib / MIB


def four(pool: float = 2048, **changes: Any) -> HostView:  # noqa: ANN401 - passes them on
    return make_view([pool / 4] * 4, pool=pool, used=changes.pop("used", USED), swap_fill=[0] * 4, **changes)


fractions = st.fractions(0, 1, max_denominator=1000)


@given(st.integers(1, 10**6), st.integers(1, 10**6), fractions, fractions.filter(lambda tax: tax < 1))
def test_t1_the_taxed_shares_per_page_are_the_shares_over_what_is_left_above_the_taxed_use(
    shares: int, size: int, active: Fraction, tax: Fraction
) -> None:
    idle_cost = 1 / (1 - tax)
    ratio = shares / (size * (active + idle_cost * (1 - active)))
    assert ratio == shares * (1 - tax) / (size - tax * active * size)
    assert size * (active + idle_cost * (1 - active)) == (size - tax * active * size) / (1 - tax)


def test_t2_at_one_price_everyone_has_its_taxed_use_and_a_part_of_the_rest_by_shares() -> None:
    shares = np.array([1.0, 2.0, 1.0, 4.0])
    level = (4096 - 0.75 * sum(USED)) / shares.sum()
    expected = 0.75 * np.array(USED) + shares * level
    view = four(4096, shares=shares)
    np.testing.assert_allclose(targets("price", view, **PLAIN), expected, atol=0.001)
    idle_tax = make("idle-tax", {"tax": 0.75})
    soft = make_view([993.28] * 4, pool=4096, used=USED, swap_fill=[0] * 4, shares=shares, reserve=123)
    soft = replace(soft, total_kib=(4096 + 123) * MIB)  # 3 % can be had
    np.testing.assert_allclose(idle_tax.decide(soft).targets_kib / MIB, expected, atol=0.001)
    prices = shares * (1 - 0.75) / (expected - 0.75 * np.array(USED))
    np.testing.assert_allclose(prices, (1 - 0.75) / level)


def test_t3_the_tax_moves_memory_in_a_straight_line_to_those_that_use_more_than_their_part() -> None:
    shares = np.array([1.0, 2.0, 1.0, 4.0])
    low, middle, high = (targets("price", four(4096, shares=shares), tax=tax, **PLAIN) for tax in (0.1, 0.4, 0.7))
    slope = np.array(USED) - shares / shares.sum() * sum(USED)
    np.testing.assert_allclose(middle - low, 0.3 * slope, atol=0.01)
    np.testing.assert_allclose(high - middle, 0.3 * slope, atol=0.01)


@given(pools(), st.floats(0, 1), st.integers(0, 1 << 22), st.data())
def test_t4_the_level_is_not_negative_while_guests_have_what_they_use_and_xen_has_its_reserve(
    pool: Pool, tax: float, spare: int, data: st.DataObject
) -> None:
    _, _, weight, lo, hi = pool
    part = data.draw(st.floats(0, 1))
    current = np.floor(lo + part * (hi - lo))
    used = np.floor(data.draw(st.floats(0, 1)) * current)
    assert waterfill(current.sum() + spare, tax * used, weight, lo, hi).level >= -1e-6


def test_t4_below_zero_shares_act_backwards() -> None:
    view = make_view([500, 500], pool=1000, used=[900, 900], shares=[1, 3], swap_fill=[0, 0])
    poor, rich = targets("price", view, **PLAIN)
    assert (poor, rich) == pytest.approx((587.5, 412.5))


@given(st.floats(0, 1), st.floats(1, 100), st.integers(0, 3))
def test_t5_a_mib_more_that_a_guest_claims_to_use_brings_it_at_most_the_tax(tax: float, more: float, liar: int) -> None:
    claimed = np.array(USED)
    claimed[liar] += more
    gain = targets("price", four(used=claimed), tax=tax, **PLAIN) - targets("price", four(), tax=tax, **PLAIN)
    assert gain[liar] == pytest.approx(tax * more * 3 / 4, abs=0.01)
    assert np.delete(gain, liar) == pytest.approx(-tax * more / 4, abs=0.01)


def test_t6_no_division_has_a_larger_sum_of_weighted_logarithms() -> None:
    base, weight = np.array([3.0, 7.0, 1.0]), np.array([1.0, 2.0, 4.0])
    lo, hi = np.array([4.0, 8.0, 2.0]), np.array([20.0, 14.0, 30.0])
    total = 36.0
    chosen = waterfill(total, base, weight, lo, hi).targets_kib
    best = max(
        (sizes for sizes in product(*(range(int(a), int(b) + 1) for a, b in zip(lo, hi, strict=True)))
         if sum(sizes) == total),
        key=lambda sizes: float((weight * np.log(np.array(sizes) - base)).sum()),
    )  # fmt: skip
    np.testing.assert_allclose(chosen, best, atol=1)


@given(pools())
def test_t7_nobody_who_could_take_would_pay_more_than_anybody_who_could_give(pool: Pool) -> None:
    total, base, weight, lo, hi = pool
    sizes = waterfill(total, base, weight, lo, hi).targets_kib
    claim = (sizes - base) / weight  # the reciprocal of the price, without its poles; half a KiB of rounding
    slack = 1 / weight
    takes, gives = sizes < hi, sizes > lo
    if takes.any() and gives.any():
        assert np.max((claim - slack)[gives]) <= np.min((claim + slack)[takes]) + 1e-6


def test_t8_trade_of_one_mib_at_a_time_ends_at_the_equilibrium() -> None:
    base, weight = 0.75 * np.array(USED), np.array([1.0, 2.0, 1.0, 4.0])
    lo, hi = np.full(4, 128.0), np.full(4, 1024.0)
    sizes = np.array([900.0, 140.0, 868.0, 140.0])
    for _ in range(10_000):
        claim = (sizes - base) / weight
        giver = int(np.argmax(np.where(sizes > lo, claim, -np.inf)))
        taker = int(np.argmin(np.where(sizes < hi, claim, np.inf)))
        if (sizes[giver] - 1 - base[giver]) / weight[giver] < (sizes[taker] + 1 - base[taker]) / weight[taker]:
            break
        sizes[giver] -= 1
        sizes[taker] += 1
    np.testing.assert_allclose(sizes, waterfill(2048, base, weight, lo, hi).targets_kib, atol=2)


@given(pools(), st.integers(0, 1 << 22))
def test_t9_when_the_pool_grows_nobody_loses(pool: Pool, more: int) -> None:
    total, *rest = pool
    gain = waterfill(total + more, *rest).targets_kib - waterfill(total, *rest).targets_kib
    assert np.all(gain >= -1)


def test_t10_six_policies_are_one_formula_with_another_base_and_weight() -> None:
    lo, hi = np.array([128.0, 256, 128]), np.array([512.0, 1024, 512])
    view = make_view(
        [400, 500, 300], pool=1300, used=[200, 300, 100], swap_fill=[0] * 3, lo=lo, hi=hi, shares=[1, 2, 1]
    )
    used, shares, zero = np.array([200.0, 300, 100]), np.array([1.0, 2, 1]), np.zeros(3)

    def filled(total: float, base: FloatArray, weight: FloatArray) -> FloatArray:
        return waterfill(total * MIB, base * MIB, weight, lo * MIB, hi * MIB).targets_kib / MIB

    np.testing.assert_allclose(targets("equal", view), filled(1300, zero, shares), atol=0.01)
    np.testing.assert_allclose(targets("price", view, **PLAIN), filled(1300, 0.75 * used, shares), atol=0.01)
    near, weight = targets("dynamic-baseline", view, free_mib=10), np.ones(3)
    tax = (10 + 300 - 1300 / 3) / (300 - 200)  # below 0, so no tax at all
    np.testing.assert_allclose(near, filled(1300, 1300 / 3 + max(tax, 0) * (used - 200), weight), atol=0.01)
    squeezable = 100 + (400 + 500 + 300 - lo.sum()) - 3 * 8 / 1024 - 72
    np.testing.assert_allclose(targets("squeezed", view), filled(lo.sum() + squeezable, lo, hi - lo), atol=0.01)


def test_t11_the_pool_does_not_change_when_memory_is_handed_out_but_free_memory_does() -> None:
    before = make_view([300, 300], pool=1000, committed_kib=np.array([350.0, 350.0]) * MIB)
    after = make_view([500, 500], pool=1000, committed_kib=np.array([350.0, 350.0]) * MIB)
    assert before.pool_kib == after.pool_kib
    assert after.free_kib < before.free_kib < 700 * MIB <= after.pool_kib


def wanting(*committed: float, hi: float = 1000, pool: float = 1000) -> HostView:
    n = len(committed)
    size = np.array(committed) * MIB
    return make_view(
        [pool / n] * n, pool=pool, hi=hi, used=[50] * n, swap_fill=[0] * n, committed_kib=size
    )  # fmt: skip


@settings(max_examples=40, deadline=None)
@given(st.lists(st.integers(440, 530), min_size=2, max_size=40), st.floats(0.01, 0.2))
def test_t12_the_state_changes_at_most_once_and_then_once_per_hysteresis_that_demand_wanders(
    halves: list[int], hysteresis: float
) -> None:
    policy = make("two-state", {"hysteresis": hysteresis})
    states = ["ample", *(policy.decide(wanting(half, half)).state for half in halves)]
    changes = sum(one != other for one, other in pairwise(states))
    wandered = np.abs(np.diff(2 * np.array(halves) / 1000)).sum()
    assert changes <= 1 + wandered / hysteresis + 1e-9


def test_t13_in_the_ample_state_asks_fit_where_committed_memory_lies_between_floor_and_maximum() -> None:
    fits = make("two-state").decide(replace(wanting(450, 540), current_kib=np.array([450.0, 540.0]) * MIB))
    assert (fits.state, in_mib(fits.targets_kib)) == ("ample", [450, 540])
    floors = make("two-state").decide(wanting(100, 100, 100, hi=2048, pool=900))
    assert (floors.state, in_mib(floors.targets_kib)) == ("ample", [360] * 3)  # 1080 of 900
    assert make("two-state").decide(wanting(900, 100, hi=400)).state == "ample"
    assert make("two-state").decide(wanting(901, 100, hi=400)).state == "scarce"  # of which it could use 400


def test_t14_a_giver_takes_29_ticks_for_95_percent_of_what_it_gives() -> None:
    policy, size = make("self-balloon"), 1000.0
    for _ in range(29):
        view = make_view([size], hi=2048, committed_kib=np.array([400.0 * MIB]))
        size = float(policy.decide(view).targets_kib[0]) / MIB
    assert size == pytest.approx(400 + 600 * 0.9**29)
    assert 0.9**28 > 0.05 > 0.9**29


def test_t14_so_on_the_way_the_asks_exceed_the_pool_although_the_goals_fit() -> None:
    asks = make("two-state").decide(wanting(450, 540))
    assert (asks.state, asks.targets_kib.sum() / MIB) == ("ample", 495 + 540)


@pytest.mark.parametrize(("tax", "fill"), [(0.0, 0.5), (0.75, 0.5), (0.95, 0.1)])
def test_t15_swap_in_use_multiplies_a_part_by_one_plus_the_swap_weight_over_one_minus_the_tax(
    tax: float, fill: float
) -> None:
    view = make_view([500, 500], pool=1000, used=[200, 100], swap_fill=[fill, 0])
    swapping, other = targets("price", view, tax=tax, swap_weight=0.2, **AS_IT_IS) - tax * np.array([200, 100])
    assert swapping / other == pytest.approx(1 + 0.2 * fill / (1 - tax), rel=1e-4)


def test_t15_so_the_limit_of_a_tax_of_one_is_not_what_a_tax_of_one_gives() -> None:
    view = make_view([500, 500], pool=1000, used=[200, 200], swap_fill=[0.1, 0])
    assert targets("price", view, tax=0.999, **AS_IT_IS)[0] > 750
    assert targets("price", view, tax=1, **AS_IT_IS)[0] == pytest.approx(500)


class Loop:
    """The iteration of §4: n guests that swap what they lack, out of bounds' reach."""

    def __init__(self, rng: np.random.Generator) -> None:
        n = int(rng.integers(2, 6))
        self.shares, self.tax, self.weight = rng.uniform(1, 3, n), float(rng.uniform(0, 0.9)), float(rng.uniform(0, 2))
        self.used = rng.uniform(0.2, 1, n)
        self.rest = float(rng.uniform(0.1, 0.5)) * self.used.sum()
        self.total = self.tax * self.used.sum() + self.rest
        self.demand, self.swap = self.used + rng.uniform(0.5, 1, n), rng.uniform(2.5, 6, n)

    def fill(self, sizes: FloatArray) -> FloatArray:
        return np.clip((self.demand - sizes) / self.swap, 0, 1)

    def weights(self, sizes: FloatArray) -> FloatArray:
        return self.shares * (1 - self.tax + self.weight * self.fill(sizes))

    def step(self, sizes: FloatArray) -> FloatArray:
        weights = self.weights(sizes)
        return self.tax * self.used + self.rest * weights / weights.sum()

    def sizes_at(self, level: float) -> FloatArray:
        """The sizes that agree with their own swap at a level, by halving."""
        low, high = np.zeros_like(self.used), np.full_like(self.used, 1e6)
        for _ in range(100):
            middle = (low + high) / 2
            short = middle < self.tax * self.used + self.weights(middle) * level
            low, high = np.where(short, middle, low), np.where(short, high, middle)
        return low

    def fixed_point(self) -> FloatArray:
        level = optimize.brentq(lambda at: self.sizes_at(at).sum() - self.total, 0, 1e3, xtol=1e-14)
        return self.sizes_at(level)

    def gains(self, sizes: FloatArray) -> FloatArray:
        """How strongly each answers: ε·S·R / (Z·W) where it swaps."""
        swaps = (self.fill(sizes) > 0) & (self.fill(sizes) < 1)
        return np.where(swaps, self.weight * self.shares * self.rest / (self.swap * self.weights(sizes).sum()), 0)


@pytest.mark.parametrize("seed", range(20))
def test_t16_deviations_alternate_and_shrink_where_the_largest_gain_is_below_one(seed: int) -> None:
    loop = Loop(np.random.default_rng(seed))
    at = loop.fixed_point()
    np.testing.assert_allclose(loop.step(at), at, atol=1e-9)
    small = 1e-7
    slopes = np.array(
        [(loop.step(at + small * e) - loop.step(at - small * e)) / (2 * small) for e in np.eye(len(at))]
    ).T
    eigenvalues = np.linalg.eigvals(slopes)
    assert np.abs(eigenvalues.imag).max() < 1e-5
    assert eigenvalues.real.min() >= -loop.gains(at).max() - 1e-5
    assert eigenvalues.real.max() <= 1e-5


def test_t16_in_the_worked_case_each_deviation_is_a_sixth_of_the_last_with_the_other_sign() -> None:
    sizes = run(make("price", SWAPPING | AS_IT_IS), [500, 500], [700, 100], ticks=12, swap=1000)[:, 0]
    assert sizes[1:5] == pytest.approx([682.14, 653.18, 658.20, 657.34], abs=0.01)
    deviations = sizes[1:5] - sizes[-1]
    assert deviations[1:] / deviations[:-1] == pytest.approx([-0.171] * 3, abs=0.015)


def test_t16_a_small_swap_makes_it_a_cycle_that_does_not_end() -> None:
    sizes = run(make("price", SWAPPING | AS_IT_IS), [500, 500], [700, 100], ticks=40, swap=100)[:, 0]
    assert sizes[-4:] == pytest.approx([719.2, 650, 719.2, 650], abs=0.1) or sizes[-4:] == pytest.approx(
        [650, 719.2, 650, 719.2], abs=0.1
    )


@pytest.mark.parametrize("seed", range(8))
def test_t17_there_is_one_fixed_point_for_any_swap_weight_and_halving_finds_it(seed: int) -> None:
    loop = Loop(np.random.default_rng(seed))
    loop.weight *= 20
    sums = [loop.sizes_at(level).sum() for level in np.linspace(0.001, 3, 40)]
    assert np.all(np.diff(sums) > 0)
    np.testing.assert_allclose(loop.step(loop.fixed_point()), loop.fixed_point(), atol=1e-8)


@pytest.mark.parametrize("swap", [200, 1000])
@pytest.mark.parametrize("start", [500, 560, 640])
def test_t17_a_guest_that_has_too_little_is_brought_there_in_one_decision(start: float, swap: float) -> None:
    policy = make("price", SWAPPING | {"swap_smoothing_s": 0})
    sizes = run(policy, [start, 1000 - start], [700, 100], ticks=5, swap=swap)[:, 0]
    assert sizes[1:] == pytest.approx([sizes[1]] * 5, abs=0.01)
    again = targets(
        "price", seen(np.array([sizes[1], 1000 - sizes[1]]), [700, 100], 1000, swap=swap), **SWAPPING | AS_IT_IS
    )
    assert again[0] == pytest.approx(sizes[1], abs=0.01)


@pytest.mark.parametrize("gain", [0.3, 1.0, 2.0, 5.0, 12.0])
def test_t18_an_average_contracts_below_two_parts_in_one_plus_the_gain_and_with_a_late_sample_below_one_in_the_gain(
    gain: float,
) -> None:
    for part in np.linspace(0.02, 1, 50):
        now, late = abs(1 - part - part * gain), np.abs(np.roots([1, part - 1, part * gain])).max()
        assert (now < 1) == (part < 2 / (1 + gain)) or now == pytest.approx(1)
        assert (late < 1) == (part * gain < 1) or late == pytest.approx(1)
        assert (1 - part - part * gain >= 0) == (part <= 1 / (1 + gain))
    usual = 1 - np.exp(-2 / 10)
    assert (2 / usual - 1, 1 / usual) == pytest.approx((10.03, 5.52), abs=0.01)


def test_t18_so_averaging_ends_the_cycle() -> None:
    sizes = run(make("price", SWAPPING | {"fixed_point": False}), [500, 500], [700, 100], ticks=60, swap=100)[:, 0]
    assert np.ptp(sizes[-10:]) < 0.1


def test_t18_foresight_from_an_average_of_swap_overshoots() -> None:
    size, fill, sizes = 500.0, 0.2, []
    for _ in range(2):

        def excess(to: float, size: float = size, fill: float = fill) -> float:
            weight = 0.5 + 0.6 * (fill - (to - size) / 1000)
            return to - (0.5 * 700 + (1000 - 0.5 * 800) * weight / (weight + 0.5))

        size = float(optimize.brentq(excess, 0, 1000))
        fill += (1 - np.exp(-2 / 10)) * ((700 - size) / 1000 - fill)
        sizes.append(size)
    assert sizes == pytest.approx([657.5, 675.3], abs=0.1)


@pytest.mark.parametrize(("swap", "decisions"), [(1000, 1), (200, 1), (100, 2)], ids=["large", "small", "full"])
def test_t18_foresight_from_an_average_of_what_is_wanted_arrives_as_soon_as_without_one(
    swap: float, decisions: int
) -> None:
    averaged, plain = (
        run(make("price", SWAPPING | more), [500, 500], [700, 100], ticks=40, swap=swap)[:, 0]
        for more in ({}, {"swap_smoothing_s": 0})
    )
    assert averaged == pytest.approx(plain, abs=0.01)
    assert averaged[decisions:] == pytest.approx([averaged[-1]] * (41 - decisions), abs=0.01)


@pytest.mark.parametrize("jump", [0.1, -0.04])
def test_t18_and_still_a_jump_of_demand_counts_only_by_its_part_at_first(jump: float) -> None:
    def moved(**params: float) -> float:
        policy = make("price", SWAPPING | params)
        sizes = [policy.decide(view).targets_kib[0] for view in (calm, calm, replace(jumped, time_s=2.0))]
        return float(sizes[2] - sizes[1])

    calm = seen(np.array([657.5, 342.5]), [700, 100], 1000, swap=1000)
    jumped = replace(calm, swap_free_kib=calm.swap_free_kib - np.array([jump * 1000 * MIB, 0]))
    assert moved() / moved(swap_smoothing_s=0) == pytest.approx(1 - np.exp(-2 / 10), abs=0.01)


def test_t18_where_there_was_no_swap_none_is_remembered() -> None:
    policy = make("price", SWAPPING)
    policy.decide(seen(np.array([800.0, 200.0]), [300, 100], 1000, swap=1000))
    later = seen(np.array([500.0, 500.0]), [300, 100], 1000, swap=1000, time_s=2.0)
    assert in_mib(policy.decide(later).targets_kib) == in_mib(make("price", SWAPPING).decide(later).targets_kib)
