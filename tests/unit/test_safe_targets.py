"""What dom0 sets when the service dies: nothing is moved, nobody has less than he uses, and all of it is there."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from harness.governor import Limits
from harness.service.safe import safe_kib
from harness.view import HostView
from tests.unit.views import MIB, make_view

LIMITS = Limits(margin_share=0.05, allow_swap=True)
INITIAL = {"g1": 512 * MIB, "g2": 512 * MIB, "g3": 512 * MIB}


def guests(has: list[float], available: list[float], *, pool: float, lo: float = 100, hi: float = 8192) -> HostView:
    size = np.array(has)
    return make_view(
        has, pool=pool, lo=lo, hi=hi, mem_total_kib=size * MIB, mem_available_kib=np.array(available) * MIB
    )


def in_mib(safe: dict[str, int]) -> dict[str, float]:
    return {name: round(kib / MIB, 1) for name, kib in safe.items()}


def test_a_database_keeps_what_it_has_whatever_it_had_at_first() -> None:
    view = guests([4096, 1024], [2048, 600], pool=6144)
    assert in_mib(safe_kib(view, LIMITS, INITIAL)) == {"g1": 4096, "g2": 1024}


def test_who_has_less_than_he_uses_and_his_margin_gets_that_of_what_is_free() -> None:
    view = guests([1000, 1000], [10, 900], pool=2100)
    assert in_mib(safe_kib(view, LIMITS, INITIAL)) == {"g1": 1040, "g2": 1000}


def test_and_nothing_of_what_others_have() -> None:
    view = guests([1000, 1000], [10, 900], pool=2000)
    assert in_mib(safe_kib(view, LIMITS, INITIAL)) == {"g1": 1000, "g2": 1000}


def test_where_xen_has_less_than_all_have_those_give_that_have_more_than_they_use() -> None:
    view = guests([1000, 1000], [50, 900], pool=1900)
    assert in_mib(safe_kib(view, LIMITS, INITIAL)) == {"g1": 1000, "g2": 900}


def test_a_guest_that_is_away_is_to_have_what_it_had_at_first_if_there_is_room() -> None:
    view = guests([1000, 1000, 1000], [500, 500, 500], pool=3000)
    away = replace(view, current_kib=np.array([1000.0, 1000, np.nan]) * MIB, free_kib=view.free_kib + 600 * MIB)
    assert in_mib(safe_kib(away, LIMITS, INITIAL)) == {"g1": 1000, "g2": 1000, "g3": 512}
    full = replace(away, free_kib=view.free_kib + 50 * MIB)
    assert in_mib(safe_kib(full, LIMITS, INITIAL)) == {"g1": 1000, "g2": 1000}


def test_a_guest_of_which_nobody_knows_what_it_uses_keeps_what_it_has() -> None:
    view = guests([1000, 1000], [np.nan, 900], pool=1900)
    assert in_mib(safe_kib(view, LIMITS, INITIAL)) == {"g1": 1000, "g2": 900}


def test_without_guests_there_is_nothing_to_set() -> None:
    assert safe_kib(make_view([], pool=100), LIMITS, {}) == {}


@settings(max_examples=200, deadline=None)
@given(
    st.lists(st.tuples(st.integers(100, 4000), st.floats(0, 1), st.booleans()), min_size=1, max_size=6),
    st.integers(-500, 2000),
)
def test_together_they_are_never_more_than_the_pool_nor_is_one_below_what_it_uses_where_there_is_room(
    told: list[tuple[int, float, bool]], free: int
) -> None:
    has = np.array([size for size, _, _ in told], dtype=float)
    available = np.floor(has * np.array([share for _, share, _ in told]))
    view = guests(has.tolist(), available.tolist(), pool=float(has.sum()) + free)
    away = np.array([gone and len(told) > 1 for _, _, gone in told])
    view = replace(view, current_kib=np.where(away, np.nan, view.current_kib))
    safe = safe_kib(view, LIMITS, dict.fromkeys(view.names, 512 * MIB))
    known = view.select(~away)
    uses = (has - available + np.maximum(16, 0.05 * has))[~away] * MIB
    needed = np.maximum(uses, 100 * MIB).sum()
    if len(known) and known.pool_kib >= 100 * MIB * len(known):
        assert sum(safe.values()) <= known.pool_kib
    for name, current, least in zip(known.names, known.current_kib, uses, strict=True):
        if needed <= known.pool_kib:
            assert safe[name] >= min(least, current)
        if known.current_kib.sum() <= known.pool_kib:
            assert safe[name] >= current, "nothing is moved"
