"""The statistics give the answers that are known."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import pytest
from scipy import stats

from reports import statistics


def test_a_speed_up_is_above_one_when_the_value_is_better() -> None:
    assert statistics.speedups([20.0, 5.0], [10.0, 10.0], "higher").tolist() == [2.0, 0.5]
    assert statistics.speedups([20.0, 5.0], [10.0, 10.0], "lower").tolist() == [0.5, 2.0]


def test_work_that_stopped_is_a_speed_up_of_zero_and_unknown_stays_unknown() -> None:
    found = statistics.speedups([0.0, 1.0, 0.0, math.nan], [2.0, 0.0, 0.0, 1.0], "higher")
    assert found[0] == 0.0
    assert math.isinf(found[1])
    assert np.isnan(found[2:]).all()


def test_the_interval_is_the_bca_of_efrons_formula() -> None:
    """Efron 1987, equations 2.3 and 6.6, written out, on the control group of the mouse data (n = 9, median 46)."""
    control = np.array([52.0, 104, 146, 10, 51, 30, 40, 27, 46])
    random = np.random.default_rng(1)
    medians = np.sort(np.median(random.choice(control, size=(20_000, 9)), axis=1))
    below = (np.mean(medians < 46) + np.mean(medians <= 46)) / 2
    z0 = stats.norm.ppf(below)
    left_out = np.array([np.median(np.delete(control, index)) for index in range(9)])
    lean = left_out.mean() - left_out
    acceleration = (lean**3).sum() / (6 * (lean**2).sum() ** 1.5)
    z = z0 + stats.norm.ppf([0.025, 0.975])
    low, high = np.quantile(medians, stats.norm.cdf(z0 + z / (1 - acceleration * z)), method="nearest")
    found = statistics.median_interval(control)
    assert (found.median, found.n, found.method) == (46.0, 9, "BCa")
    assert (found.low, found.high) == (low, high)


def test_the_interval_covers_the_true_median_about_as_often_as_it_says() -> None:
    random = np.random.default_rng(5)
    found = [statistics.median_interval(random.lognormal(sigma=0.3, size=15)) for _ in range(60)]
    covered = np.mean([estimate.low <= 1.0 <= estimate.high for estimate in found])
    assert covered >= 0.85


def test_the_same_data_give_the_same_interval() -> None:
    data = np.random.default_rng(2).normal(size=12)
    assert statistics.median_interval(data) == statistics.median_interval(data)


@pytest.mark.parametrize(
    ("data", "median", "n", "method"),
    [
        ([], math.nan, 0, "none"),
        ([2.0], 2.0, 1, "none"),
        ([3.0] * 6, 3.0, 6, "constant"),
        ([1, math.nan], 1.0, 1, "none"),
    ],
)
def test_data_that_allow_no_bootstrap_say_so(data: list[float], median: float, n: int, method: str) -> None:
    found = statistics.median_interval(data)
    assert found.median == pytest.approx(median, nan_ok=True)
    assert (found.n, found.method) == (n, method)


@pytest.mark.parametrize(
    "data", [[1.0, 2.0], [1.0, 1.0, 2.0], [1.0, 1.0, 1.0, 1.0, 9.0], [0.0, 1.0, 1.0, 1.0, 1.0, 2.0]]
)
def test_few_or_repeated_values_have_an_interval_around_the_median(data: list[float]) -> None:
    found = statistics.median_interval(data)
    assert found.low <= found.median <= found.high
    assert found.method in ("BCa", "percentile")


def test_fewer_than_five_pairs_are_an_observation() -> None:
    assert not statistics.median_interval([1.0, 2.0, 3.0, 4.0]).enough
    assert statistics.median_interval([1.0, 2.0, 3.0, 4.0, 5.0]).enough


def test_the_geometric_mean_of_doubling_and_halving_is_one() -> None:
    assert statistics.geometric_mean([2.0, 0.5]) == pytest.approx(1.0)
    assert statistics.geometric_mean([2.0, 8.0]) == pytest.approx(4.0)
    assert statistics.geometric_mean([2.0, 0.0]) == 0.0
    assert math.isnan(statistics.geometric_mean([2.0, math.nan]))
    assert math.isnan(statistics.geometric_mean([]))


@pytest.mark.parametrize(("values", "index"), [([1, 1, 1], 1.0), ([1, 0, 0, 0], 0.25), ([1, 2], 0.9), ([], math.nan)])
def test_jains_index_is_one_for_equals_and_one_nth_for_a_winner_of_all(values: Sequence[float], index: float) -> None:
    assert statistics.jain(values) == pytest.approx(index, nan_ok=True)


def test_wilcoxon_gives_the_exact_p_of_a_clean_sweep() -> None:
    better = statistics.wilcoxon([1.1, 1.2, 1.3, 1.4, 1.5, 1.6])
    assert better.p == pytest.approx(2 / 2**6)
    assert better.effect == 1.0
    worse = statistics.wilcoxon(1 / np.array([1.1, 1.2, 1.3, 1.4, 1.5, 1.6]))
    assert (worse.p, worse.effect) == (pytest.approx(2 / 2**6), -1.0)


def test_wilcoxon_needs_pairs_and_finds_nothing_in_equal_ones() -> None:
    assert math.isnan(statistics.wilcoxon([1.1, 1.2, 1.3, 1.4]).p)
    assert statistics.wilcoxon([1.0] * 6) == statistics.PairedTest(p=1.0, effect=0.0)
    assert statistics.wilcoxon([0.0, 0.0, 0.5, 0.6, 0.7, math.inf]).effect < 0


def test_holm_multiplies_the_smallest_p_by_the_number_of_tests_and_never_decreases() -> None:
    assert statistics.holm([0.01, 0.04, 0.03, 0.005]) == pytest.approx([0.03, 0.06, 0.06, 0.02])
    assert statistics.holm([0.5, math.nan, 0.6]) == pytest.approx([1.0, math.nan, 1.0], nan_ok=True)
    assert statistics.holm([]) == []
