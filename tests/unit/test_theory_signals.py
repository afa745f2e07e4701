"""The statements of docs/theory.md, T19 to T27: what the signals can say, and what the other policies optimise."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from scipy import optimize

from docs.worlds import run
from harness.policies import make
from harness.policies.ghost import capturing_depth_kib
from harness.policies.miss_ratio import MissCurve, fewest_misses, miss_curve
from harness.policies.pressure import serve
from harness.view import FloatArray
from tests.unit.views import MIB, in_mib, make_view


def test_t19_swap_that_stays_full_raises_the_price_for_ever_unless_only_what_is_read_back_counts() -> None:
    def first(read_back_kib_s: float, tick: int) -> float:
        view = make_view(
            [500, 500], pool=1000, used=[200, 200], swap_fill=[0.5, 0], time_s=2 * tick,
            swap_in_kib_s=np.array([read_back_kib_s, 0.0]),
        )  # fmt: skip
        return in_mib(policies[tick % 2].decide(view).targets_kib)[0]

    policies = [make("price"), make("price")]
    assert all(first(np.nan, tick) > 550 for tick in range(0, 100, 2))
    assert all(first(0.0, tick) == 500 for tick in range(1, 100, 2))


@pytest.mark.parametrize("tax", [0.25, 0.5, 0.75, 0.9])
@pytest.mark.parametrize("others", [[100.0], [100.0, 200.0, 50.0]])
def test_t20_a_starving_guest_climbs_no_further_than_what_it_has_lets_its_used_memory_say(
    tax: float, others: list[float]
) -> None:
    n, pool = 1 + len(others), 1000.0 * (1 + len(others))
    start = [pool / n] * n
    sizes = run(
        make("price", {"tax": tax, "swap_weight": 0}), start, [1e5, *others], ticks=80, censored=True
    )[:, 0]  # fmt: skip
    limit = (pool - tax * sum(others)) / (n - tax * (n - 1))
    assert sizes[-1] == pytest.approx(limit, abs=0.1)
    behind = limit - sizes
    assert behind[1:4] / behind[:3] == pytest.approx([tax * (1 - 1 / n)] * 3, abs=0.01)
    idle = pool - limit - sum(others)
    assert idle == pytest.approx((1 - tax) * (n - 1) * (pool - n / (n - 1) * sum(others)) / (n - tax * (n - 1)))


def test_t21_used_memory_and_swap_together_are_not_censored() -> None:
    def preferred(current: float) -> list[float]:
        """The guest demands 700 MiB; what it has not room for is in swap."""
        used = min(700.0, current)
        view = make_view([600, 600], pool=1200, used=[used, 100], swap_fill=[(700 - used) / 1024, 0], hi=2000)
        return [float(text.split("prefers ")[1].split(" MiB")[0]) for text in make("qmemman").decide(view).reasons]

    assert preferred(600) == preferred(400) == preferred(800) == [910, 200]


def stack_depths(trace: list[int]) -> list[int | None]:
    """Of every access, how many other pages were touched since the page was; None at the first touch."""
    stack: list[int] = []
    depths: list[int | None] = []
    for page in trace:
        depths.append(stack.index(page) if page in stack else None)
        if page in stack:
            stack.remove(page)
        stack.insert(0, page)
    return depths


def misses(trace: list[int], size: int) -> int:
    """Of a cache that drops what was not touched for longest, counted by running it."""
    cache: list[int] = []
    missed = 0
    for page in trace:
        missed += page not in cache
        cache = [page, *(other for other in cache if other != page)][:size]
    return missed


def test_t22_returns_by_ghost_depth_foretell_the_misses_of_any_larger_memory() -> None:
    rng = np.random.default_rng(5)
    trace = [int(page) for page in np.minimum(rng.zipf(1.3, 1500), 60)]
    size = 10
    ghost = [depth - size + 1 for depth in stack_depths(trace) if depth is not None and depth >= size]
    for extra in (0, 1, 5, 20, 40):
        assert misses(trace, size + extra) == misses(trace, size) - sum(depth <= extra for depth in ghost)
    returns = tuple((float(depth), float(ghost.count(depth))) for depth in set(ghost))
    wanted = int(capturing_depth_kib(returns, 0.95))
    assert sum(depth <= wanted for depth in ghost) >= 0.95 * len(ghost) > sum(depth <= wanted - 1 for depth in ghost)


def test_t23_the_rate_of_returns_says_how_fast_a_guest_runs_and_not_what_it_lacks() -> None:
    size = 20
    asks = {}
    for pages, passes in ((21, 40), (40, 20), (40, 40)):
        trace = list(range(pages)) * passes
        returned = misses(trace, size) - pages
        exact = max(depth - size + 1 for depth in stack_depths(trace) if depth is not None)
        asks[pages, passes] = (returned, exact)
    assert [exact for _, exact in asks.values()] == [1, 20, 20]
    assert [returned for returned, _ in asks.values()] == [819, 760, 1560]


def random_curves(rng: np.random.Generator, n: int) -> list[MissCurve]:
    ages = [tuple(zip(rng.uniform(1, 500, 4), rng.uniform(1e4, 1e5, 4), strict=True)) for _ in range(n)]
    return [miss_curve(curve, 0.0, 0, 0) for curve in ages]


@pytest.mark.parametrize("seed", range(5))
def test_t24_taking_the_steepest_piece_first_is_the_optimum_of_the_linear_programme(seed: int) -> None:
    rng = np.random.default_rng(seed)
    curves = random_curves(rng, 4)
    sizes, saves = (np.concatenate([getattr(curve, name) for curve in curves]) for name in ("sizes_kib", "saves"))
    pool = float(rng.uniform(0.2, 0.9)) * sizes.sum()
    view = make_view([100] * 4, pool=pool / MIB)
    best = optimize.linprog(-saves, A_ub=np.ones((1, len(sizes))), b_ub=[view.pool_kib], bounds=[(0, s) for s in sizes])
    given = fewest_misses(view, curves)
    saved = sum(saved_by(curve, kib) for curve, kib in zip(curves, given, strict=True))
    assert saved == pytest.approx(-best.fun, rel=1e-6)


def saved_by(curve: MissCurve, kib: float) -> float:
    before = curve.sizes_kib.cumsum() - curve.sizes_kib
    return float((np.clip(kib - before, 0, curve.sizes_kib) * curve.saves).sum())


@pytest.mark.parametrize("seed", range(5))
def test_t25_serving_what_is_worth_most_a_kib_saves_the_most_stall_that_the_budget_can(seed: int) -> None:
    rng = np.random.default_rng(seed)
    asks, worth = rng.uniform(1, 100, 6), rng.uniform(0, 1, 6)
    budget = float(rng.uniform(0.1, 1.2)) * asks.sum()
    served: FloatArray = serve(asks, worth, budget)
    best = optimize.linprog(-worth, A_ub=np.ones((1, 6)), b_ub=[budget], bounds=[(0, ask) for ask in asks])
    assert (worth * served).sum() == pytest.approx(-best.fun)


def test_t26_the_dynamic_baseline_sets_the_tax_that_leaves_the_largest_guest_a_given_amount_free() -> None:
    used = [900.0, 300.0, 200.0, 300.0, 400.0]
    view = make_view([800] * 5, pool=4000, used=used)
    assert in_mib(make("dynamic-baseline", {"free_mib": 150}).decide(view).targets_kib)[0] == 1050
    tax = (150 + 900 - 4000 / 5) / (900 - np.mean(used))
    one_price = make("price", {"tax": tax, "swap_weight": 0}).decide(view)
    assert in_mib(one_price.targets_kib)[0] == pytest.approx(1050, abs=0.01)


@pytest.mark.parametrize("reserve", [0, 64, 700])
def test_t27_the_idle_tax_falls_and_rises_with_what_can_be_had_whatever_the_reserve(reserve: float) -> None:
    policy = make("idle-tax")
    states = []
    for tick, spare in enumerate((1000, 90, 61, 39, 19, 9, 0, 21, 41, 61, 1000)):
        view = make_view([1000 - spare], pool=1000, reserve=reserve, hi=800, used=[60], time_s=2 * tick)
        states.append(policy.decide(replace(view, total_kib=(1000 + reserve) * MIB)).state)
    fall, rise = ["high", "high", "high", "soft", "hard", "low"], ["low", "hard", "soft", "high", "high"]
    assert states == fall + rise


def test_t27_so_in_a_fenced_pool_that_is_full_idle_memory_is_taxed() -> None:
    view = make_view([352, 352, 396], pool=1100, reserve=64, hi=800, lo=160, used=[340, 60, 60])
    assert view.free_kib > 0.04 * 1164 * MIB, "with the reserve, more than the soft mark"
    said = make("idle-tax").decide(replace(view, total_kib=1164 * MIB))
    assert said.state == "low"
    assert in_mib(said.targets_kib)[1] < 352
