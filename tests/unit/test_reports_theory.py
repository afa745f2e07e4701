"""What a report draws as theory is what docs/theory.md says, number by number."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from reports.special.theory import (
    Fate,
    Loop,
    at_one_price,
    contracts,
    left_to_give,
    lie_gain,
    part_of_average,
)

ANY = np.zeros(2), np.full(2, 1000.0)
WORKED = Loop(
    pool=1000, tax=0.5, swap_weight=0.6, used=np.array([700.0, 100.0]), shares=np.ones(2),
    demand=np.array([700.0, 100.0]), swap=np.full(2, 1000.0), lo=np.zeros(2), hi=np.full(2, 1000.0),
)  # fmt: skip
SMALL = replace(WORKED, swap=np.full(2, 100.0))


def path(loop: Loop, ticks: int) -> list[float]:
    """What the first guest has, tick by tick, from 500."""
    sizes = [np.array([500.0, 500.0])]
    for _ in range(ticks):
        sizes.append(loop.answer(sizes[-1]))
    return [float(size[0]) for size in sizes]


def test_one_price_is_that_of_the_worked_numbers_where_the_level_is_negative() -> None:
    found = at_one_price(1000, np.array([900.0, 900.0]), np.array([1.0, 3.0]), 0.75, *ANY)
    assert found == pytest.approx([587.5, 412.5])


def test_no_tax_divides_by_shares_and_a_whole_one_gives_use_and_the_rest_by_shares_within_bounds() -> None:
    used, shares = np.array([300.0, 100.0]), np.array([1.0, 3.0])
    assert at_one_price(1000, used, shares, 0, *ANY) == pytest.approx([250, 750])
    assert at_one_price(1000, used, shares, 1, *ANY) == pytest.approx([450, 550])
    assert at_one_price(1000, used, shares, 1, np.zeros(2), np.array([400.0, 1000.0])) == pytest.approx([400, 600])


def test_a_lie_pays_the_tax_less_the_part_by_shares() -> None:
    assert lie_gain(0.75, np.ones(4), 0) == pytest.approx(0.75 * 3 / 4)
    assert lie_gain(0, np.ones(4), 0) == 0
    used = np.array([300.0, 100.0])
    true, lied = (at_one_price(1000, told, np.ones(2), 0.75, *ANY) for told in (used, used + np.array([10.0, 0.0])))
    assert (lied - true)[0] == pytest.approx(10 * lie_gain(0.75, np.ones(2), 0))


def test_a_giver_has_less_than_a_twentieth_of_its_way_left_after_29_ticks_and_not_after_28() -> None:
    assert left_to_give(np.array([0.0, 28.0, 29.0])) == pytest.approx([1, 0.0523, 0.0471], abs=1e-4)


def test_the_worked_loop_goes_as_the_page_says_and_settles_where_halving_finds_it() -> None:
    assert path(WORKED, 4)[1:] == pytest.approx([682.14, 653.18, 658.20, 657.34], abs=0.01)
    assert path(WORKED, 60)[-1] == pytest.approx(657.5, abs=0.05)
    assert WORKED.settles()[0] == pytest.approx(path(WORKED, 60)[-1], abs=1e-6)
    assert WORKED.settles().sum() == pytest.approx(1000)
    assert WORKED.magnitude() == pytest.approx(0.171, abs=0.001)
    assert WORKED.fate(1.0) is Fate.HOLDS


def test_with_a_small_swap_it_swings_between_650_and_719_for_ever() -> None:
    assert sorted(path(SMALL, 60)[-2:]) == pytest.approx([650, 719.2], abs=0.1)
    assert SMALL.magnitude() > 1
    assert SMALL.fate(1.0) is Fate.SWINGS
    assert SMALL.answer(SMALL.settles()) == pytest.approx(SMALL.settles(), abs=1e-6)


def test_an_average_holds_gains_up_to_ten_with_the_usual_period_and_smoothing() -> None:
    usual = part_of_average(2, 10)
    assert usual == pytest.approx(0.18, abs=0.002)
    assert contracts(usual, 10.0)
    assert not contracts(usual, 10.1)
    assert part_of_average(2, 0) == 1
    assert contracts(1.0, 0.99)
    assert not contracts(1.0, 1.0)
    assert SMALL.fate(usual) is Fate.HOLDS


def test_the_magnitude_is_that_of_the_slope_of_the_map_at_the_fixed_point() -> None:
    at, small = WORKED.settles(), 1e-4
    slopes = np.array([
        (WORKED.answer(at + small * e) - WORKED.answer(at - small * e)) / (2 * small) for e in np.eye(2)
    ]).T  # fmt: skip
    assert np.abs(np.linalg.eigvals(slopes)).max() == pytest.approx(WORKED.magnitude(), rel=1e-4)
    assert WORKED.steepest() == pytest.approx(0.6 * 600 / 1000 / 2)


def test_where_several_swap_only_the_neighbourhood_of_the_fixed_point_is_judged() -> None:
    both = replace(WORKED, demand=np.array([700.0, 500.0]))
    assert np.isnan(both.steepest())
    assert both.fate(1.0) is Fate.NEAR


def test_guests_at_a_bound_drop_out_and_where_nobody_swaps_nothing_can_swing() -> None:
    bounded = replace(SMALL, hi=np.array([600.0, 1000.0]))
    assert bounded.settles() == pytest.approx([600, 400])
    assert bounded.magnitude() == 0
    assert bounded.fate(1.0) is Fate.HOLDS
    calm = replace(SMALL, demand=np.zeros(2))
    assert calm.settles() == pytest.approx([650, 350])
    assert calm.fate(1.0) is Fate.HOLDS


def test_at_a_tax_of_one_swap_weighs_nothing() -> None:
    taxed = replace(SMALL, tax=1.0)
    assert taxed.settles() == pytest.approx([800, 200])
    assert taxed.magnitude() == 0
