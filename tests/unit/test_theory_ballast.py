"""Theory T28 to T32 (docs/theory.md): what is proven of `ballast`."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from harness.policies import make
from harness.policies.demand import Demand, Estimator, Habits
from harness.policies.turns import Terms, borne_at, late, take_turns
from harness.view import HostView
from tests.unit.views import MIB

HABITS = Habits(uncensored=True, lead=1.0, spare_kib=16 * MIB, memory_s=120.0, turn_s=60.0, smoothing_s=4.0, cliff=3.0)
TERMS = Terms(bear=0.8, take=0.05, protect=1.0, hold=1.0, keep=1.0, spare_kib=16 * MIB)


def view(
    current: list[float], *, uses: list[float], committed: list[float], swapped: list[float] | None = None,
    stall: list[float] | None = None, reads: list[float] | None = None, writes: list[float] | None = None,
    free: float = 0.0, time_s: float = 0.0,
) -> HostView:  # fmt: skip
    """Guests in MiB between 100 and 1000, whose kernels keep 50 outside MemTotal; `uses` counts that too."""
    n = len(current)
    sizes, used, names = (
        np.round(np.array(current) * MIB),
        np.floor(np.minimum(uses, current) * np.array(MIB)),
        tuple(f"g{i}" for i in range(n)),
    )
    return HostView(
        time_s=time_s, total_kib=4096 * MIB, free_kib=free * MIB, reserve_kib=0.0, names=names,
        current_kib=sizes, min_kib=np.full(n, 100 * MIB), max_kib=np.full(n, 1000 * MIB), shares=np.full(n, 1000.0),
        mem_total_kib=sizes - 50 * MIB, mem_available_kib=sizes - used, mem_free_kib=sizes - used,
        buffers_kib=np.zeros(n), cached_kib=np.zeros(n), committed_kib=np.array(committed) * MIB,
        swap_total_kib=np.full(n, 1000 * MIB), swap_free_kib=(1000 - np.array(swapped or [0.0] * n)) * MIB,
        swap_in_kib_s=np.array(reads or [0.0] * n), swap_out_kib_s=np.array(writes or [0.0] * n),
        refault_kib_s=np.zeros(n),
        stall_some=np.array(stall or [0.0] * n), age_s=np.zeros(n),
    )  # fmt: skip


@settings(deadline=None)
@given(st.floats(0, 4096))
def test_t28_a_constant_claim_or_lie_about_committed_memory_changes_nothing(claim: float) -> None:
    told = []
    for more in (0.0, claim):
        estimator = Estimator(HABITS)
        estimator.look(view([300], uses=[200], committed=[150 + more]))
        demand = estimator.look(
            view([300], uses=[300], committed=[330 + more], swapped=[90], stall=[0.9], reads=[4000], time_s=2)
        )
        told.append((demand.base[0], demand.lead[0], demand.lack[0]))
    assert told[0] == pytest.approx(told[1], abs=1)
    assert told[0][0] == pytest.approx(384 * MIB), "300 in use, 80 lacking, 4 beside"


@settings(deadline=None)
@given(
    st.lists(
        st.tuples(
            st.floats(110, 900), st.floats(0.2, 1), st.floats(0, 500), st.floats(0, 1), st.floats(0, 8000),
            st.sampled_from([500.0, 1000.0, 4000.0]),
        ),
        min_size=2, max_size=8,
    )
)  # fmt: skip
def test_t29_never_more_than_the_pool_is_granted_and_the_modest_are_granted_their_need(
    guests: list[tuple[float, ...]],
) -> None:
    current, part, swapped, stall, reads, shares = map(list, zip(*guests, strict=True))
    uses = [max(60.0, size * share) for size, share in zip(current, part, strict=True)]
    estimator = Estimator(HABITS)
    estimator.look(view(current, uses=[min(60.0, size) for size in current], committed=[100.0] * len(current)))
    now = view(current, uses=uses, committed=uses, swapped=swapped, stall=stall, reads=reads, time_s=2)
    now = replace(now, shares=np.array(shares))
    demand = estimator.look(now)
    turns = take_turns(now, demand, TERMS, 2.0)
    assert turns.granted.sum() <= now.pool_kib + 1
    assert (turns.granted >= np.where(turns.modest, demand.base, now.min_kib) - 1).all()
    targets = make("ballast").decide(now).targets_kib
    assert targets.sum() <= now.pool_kib + len(current)


def test_t30_one_with_a_slope_keeps_what_makes_its_last_kib_worth_the_price() -> None:
    """It lacks 200 MiB and loses 0.2 by it: k = 0.001 a MiB. At 0.002 a MiB it waits 1 - 0.001/0.002 of its time."""
    now = view([400, 300], uses=[300, 300], committed=[0, 0], swapped=[0, 200], stall=[0, 0.2], reads=[0, 800])
    demand = Estimator(HABITS).look(now)
    assert demand.slopes.tolist() == [False, True]
    assert demand.steepness[1] * MIB == pytest.approx(0.2 / 200)
    keeps = borne_at(now, demand, np.array([1]), np.ones(2), bear=0.8)
    assert keeps(0.00125 / MIB)[0] == pytest.approx((500 - 0.2 / 0.001) * MIB), "as much as it has: it waits 0.2"
    assert keeps(0.0016 / MIB)[0] == pytest.approx((500 - 0.375 / 0.001) * MIB)
    assert keeps(1.0)[0] == 100 * MIB, "dear as it is, no less than its minimum"


@settings(deadline=None)
@given(st.lists(st.tuples(st.floats(150, 900), st.floats(0.1, 0.8)), min_size=1, max_size=20), st.floats(0, 500))
def test_t31_where_everybody_has_what_it_needs_nothing_moves(guests: list[tuple[float, float]], free: float) -> None:
    current = [round(size) for size, _ in guests]
    uses = [max(60.0, size * part - 30) for size, (_, part) in zip(current, guests, strict=True)]
    policy = make("ballast")
    for time_s in (0.0, 2.0, 4.0):
        now = view(current, uses=uses, committed=uses, free=free, time_s=time_s)
        assert policy.decide(now).targets_kib.tolist() == now.current_kib.tolist()


@settings(deadline=None)
@given(st.lists(st.tuples(st.floats(1, 500), st.floats(1, 100)), min_size=1, max_size=8), st.floats(0, 200))
def test_t32_what_is_lent_is_back_by_the_time_that_it_is_missed(owners: list[tuple[float, float]], back: float) -> None:
    """All rise together; at every moment what was kept and what has come back is no less than what they have taken."""
    unused, rises = (np.array(column) for column in zip(*owners, strict=True))
    kept = late(rising(rises), unused, back)
    assert 0 <= kept <= unused.sum()
    for part in (0.0, 0.25, 0.5, 0.75, 1.0):
        after_s = part * unused.sum() / rises.sum()
        lent_back = min(back * after_s, unused.sum() - kept)
        assert kept + lent_back >= rises.sum() * after_s * (1 - 1e-9) - 1e-6


def rising(rises: np.ndarray) -> Demand:
    """Guests of which nothing but this counts."""
    nothing, nobody = np.zeros(len(rises)), np.zeros(len(rises), dtype=bool)
    return Demand(
        live=nothing, base=nothing, most=nothing, lead=nothing, peak=nothing, rise=rises, lack=nothing,
        steepness=nothing, cold=nothing, caches=nobody, slopes=nobody, known=nobody, done=nothing, first=nothing,
        held=nobody,
    )  # fmt: skip
