"""Water-filling divides exactly, fairly and inside the bounds."""

from __future__ import annotations

from random import Random

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import optimize

from harness.policies import waterfill as waterfill_module
from harness.policies.waterfill import waterfill
from harness.view import FloatArray

KIB = 4 << 20
Pool = tuple[float, FloatArray, FloatArray, FloatArray, FloatArray]
"""total, base, weight, lo, hi"""


@st.composite
def pools(draw: st.DrawFn) -> Pool:
    """1 to 12 guests; the total may lie outside what the bounds allow."""
    n = draw(st.integers(1, 12))

    def column(strategy: st.SearchStrategy[float]) -> FloatArray:
        return np.array(draw(st.lists(strategy, min_size=n, max_size=n)), dtype=float)

    lo = column(st.integers(0, KIB).map(float))
    hi = lo + column(st.integers(0, KIB).map(float))
    weight = column(st.floats(1, 5000))
    total = draw(st.integers(0, 3 * n * KIB))
    return float(total), column(st.floats(0, KIB)), weight, lo, hi


@given(pools())
def test_the_sum_is_exact_and_every_target_is_a_whole_kib_inside_its_bounds(pool: Pool) -> None:
    total, base, weight, lo, hi = pool
    targets = waterfill(total, base, weight, lo, hi).targets_kib
    assert targets.sum() == np.clip(total, lo.sum(), hi.sum())
    assert np.all((targets >= lo) & (targets <= hi))
    assert np.all(targets == np.floor(targets))


@given(pools())
def test_guests_inside_their_bounds_share_one_level_to_the_kib(pool: Pool) -> None:
    total, base, weight, lo, hi = pool
    filling = waterfill(total, base, weight, lo, hi)
    wanted = np.clip(base + weight * filling.level, lo, hi)
    if lo.sum() <= total <= hi.sum():
        np.testing.assert_allclose(filling.targets_kib, wanted, atol=1.001)


@given(pools())
def test_plain_numbers_and_arrays_give_the_same(pool: Pool) -> None:
    few = waterfill(*pool)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(waterfill_module, "FEW", 0)
        many = waterfill(*pool)
    assert few.level == pytest.approx(many.level, rel=1e-9, abs=1e-9)
    np.testing.assert_allclose(few.targets_kib, many.targets_kib, atol=1)  # a remainder of one half falls either way


@given(pools(), st.randoms(use_true_random=False))
def test_permuting_the_guests_permutes_the_targets(pool: Pool, random: Random) -> None:
    total, *columns = pool
    order = list(range(len(columns[0])))
    random.shuffle(order)
    straight = waterfill(total, *columns).targets_kib
    shuffled = waterfill(total, *(column[order] for column in columns)).targets_kib
    np.testing.assert_allclose(shuffled, straight[order], atol=1)  # equal remainders: one of them gets the odd KiB


@given(pools(), st.integers(2, 64))
def test_scaling_all_sizes_scales_all_targets(pool: Pool, factor: int) -> None:
    total, base, weight, lo, hi = pool
    targets = waterfill(total, base, weight, lo, hi).targets_kib
    scaled = waterfill(total * factor, base * factor, weight, lo * factor, hi * factor).targets_kib
    np.testing.assert_allclose(scaled / factor, targets, atol=1.001)


@given(pools(), st.floats(1, 100), st.integers(0, 11))
def test_more_shares_never_mean_less_memory_while_the_level_is_not_negative(
    pool: Pool, factor: float, guest: int
) -> None:
    total, base, weight, lo, hi = pool
    guest %= len(base)
    raised = weight.copy()
    raised[guest] *= factor
    before, after = waterfill(total, base, weight, lo, hi), waterfill(total, base, raised, lo, hi)
    if after.level >= 0:
        assert after.targets_kib[guest] >= before.targets_kib[guest] - 1


@given(pools())
def test_the_targets_are_those_that_scipy_finds(pool: Pool) -> None:
    total, base, weight, lo, hi = pool
    total = float(np.clip(total, lo.sum(), hi.sum()))

    def excess(level: float) -> float:
        return float(np.clip(base + weight * level, lo, hi).sum() - total)

    level = optimize.bisect(excess, -3 * KIB, 3 * KIB, xtol=1e-9) if lo.sum() < total < hi.sum() else None
    expected = lo if total == lo.sum() else hi if level is None else np.clip(base + weight * level, lo, hi)
    np.testing.assert_allclose(waterfill(total, base, weight, lo, hi).targets_kib, expected, atol=1.01)


def test_the_level_is_what_guests_inside_their_bounds_have_in_common() -> None:
    filling = waterfill(100, np.array([10.0, 20.0]), np.array([1.0, 2.0]), np.zeros(2), np.full(2, 1000.0))
    assert filling.level == pytest.approx(70 / 3)


def test_the_level_is_negative_when_the_bases_exceed_the_total() -> None:
    filling = waterfill(10, np.array([10.0, 20.0]), np.ones(2), np.zeros(2), np.full(2, 100.0))
    assert filling.level == -10
    assert filling.targets_kib.tolist() == [0, 10]


def test_the_odd_kib_goes_to_the_largest_remainder() -> None:
    filling = waterfill(10, np.array([0.3, 0.6]), np.ones(2), np.zeros(2), np.full(2, 100.0))
    assert filling.targets_kib.tolist() == [5, 5]
    assert waterfill(11, np.array([0.1, 0.6]), np.ones(2), np.zeros(2), np.full(2, 100.0)).targets_kib.tolist() == [
        5,
        6,
    ]


def test_ten_thousand_guests_are_divided_exactly() -> None:
    rng = np.random.default_rng(1)
    lo = rng.integers(0, KIB, 10_000).astype(float)
    hi = lo + rng.integers(0, KIB, 10_000)
    total = float(rng.integers(lo.sum(), hi.sum()))
    targets = waterfill(total, rng.random(10_000) * KIB, rng.random(10_000) * 1e3 + 1, lo, hi).targets_kib
    assert targets.sum() == total
