"""No view, however absurd, makes a policy or the governor break a bound or give out more than there is.

100,000 random views of one to three guests, an equal part for every policy, drawn and checked in blocks of 500. Of each
is checked what the policy wants for the guests that take part, and what a new governor makes of it, with and without
leave to swap in turn. Besides figures that may be, a view has with some chance zeros, unknowns, figures of 2^40 KiB and
more or below 0, a minimum that is the maximum or above it, no swap, more used than there is, a paused or silent guest.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
import pytest

from harness.governor import Governor, Limits
from harness.policies import Allocation, make, names
from harness.view import COLUMNS, BoolArray, FloatArray, HostView
from tests.unit.views import MIB, NASTY, names_of

VIEWS = 100_000
BLOCK = 500
"""Views that are drawn together; all of one block have the same number of guests."""
DIVIDE = ("equal", "price", "dynamic-baseline", "miss-ratio")
"""Policies that give out the whole pool, no more and no less, whatever they see."""
DIVIDE_IN = {"two-state": ("scarce",), "idle-tax": ("soft",)}
"""Policies that do so in these states."""
KNOW_NO_MINIMUM = ("qmemman",)
KNOW_ONLY_THE_MINIMUM = ("equal", "static", "dynamic-baseline", "squeezed", "proxmox", "mom", "unconstrained")
"""Policies that leave it to the governor that huge pages cannot be taken."""


def hostile_views(rng: np.random.Generator, count: int, guests: int) -> Iterator[HostView]:
    """Draw `count` views at once."""
    shape = (count, guests)
    nastiness = rng.choice([0.0, 0.03, 0.3], (count, 1), p=[0.4, 0.4, 0.2])

    def nasty(column: FloatArray, nastiness: FloatArray = nastiness) -> FloatArray:
        return np.where(rng.random(column.shape) < nastiness, rng.choice(NASTY, column.shape), column)

    def size(most_mib: float) -> FloatArray:
        return np.floor(rng.random(shape) * most_mib * MIB) * (rng.random(shape) < 0.95)

    columns = {name: size(2048) for name in COLUMNS}
    columns |= {name: rng.exponential(1000, shape) * (rng.random(shape) < 0.5) for name in COLUMNS if "_s" in name[-2:]}
    columns |= {"stall_some": rng.random(shape), "stall_full": rng.random(shape), "age_s": rng.exponential(2, shape)}
    columns["mem_total_kib"] = columns["current_kib"] * rng.choice([0.9, 1.0, 1.5], shape)
    for part in ("mem_free_kib", "buffers_kib", "cached_kib", "mem_available_kib"):
        columns[part] = columns["mem_total_kib"] * rng.random(shape) / 3
    columns["swap_total_kib"] *= rng.random(shape) < 0.7
    columns["swap_free_kib"] = columns["swap_total_kib"] * rng.random(shape)
    width = size(4096) * (rng.random(shape) < 0.8)
    columns |= {"min_kib": (lo := size(512)), "max_kib": lo + width, "shares": np.ceil(rng.random(shape) * 5000)}
    columns = {name: nasty(column) for name, column in columns.items()}
    columns["paused"] = rng.choice([0.0, 1.0, np.nan], shape, p=[0.9, 0.05, 0.05])
    host = {
        name: nasty(np.floor(rng.random(count) * 2048 * MIB), nastiness[:, 0]) for name in ("free_kib", "reserve_kib")
    }
    host["reserve_kib"] = np.where(rng.random(count) < 0.5, host["reserve_kib"], 0.0)
    host["total_kib"] = nasty(np.full(count, 8192.0 * MIB), nastiness[:, 0])
    host["promised_kib"] = np.where(rng.random(count) < 0.8, 0.0, nasty(rng.random(count) * 1e6, nastiness[:, 0]))
    for i in range(count):
        curves = rng.random((3, guests, 2)) * 1e6
        yield HostView(
            time_s=float(i),
            names=names_of(guests),
            page_ages=tuple((*map(tuple, curves[:, j]),) if i % 5 else None for j in range(guests)),
            ghost_returns=tuple((*map(tuple, curves[:, j, ::-1]),) if i % 3 else None for j in range(guests)),
            **{name: float(column[i]) for name, column in host.items()},
            **{name: column[i] for name, column in columns.items()},
        )


def blocks_for(policy: str) -> Iterator[list[HostView]]:
    """The part of the views that this policy has to decide on."""
    rng = np.random.default_rng([names().index(policy), VIEWS])
    part = -(-VIEWS // len(names()))
    for number, start in enumerate(range(0, part, BLOCK)):
        yield list(hostile_views(rng, min(BLOCK, part - start), 1 + number % 3))


def stack(views: Sequence[HostView], name: str) -> FloatArray:
    """A column of all views of a block: a row for every view."""
    return np.array([getattr(view, name) for view in views])


def test_the_views_are_of_every_kind() -> None:
    blocks = list(blocks_for("equal"))
    assert len(names()) * sum(map(len, blocks)) >= 100_000
    assert {len(block[0]) for block in blocks} == {1, 2, 3}
    for name in ("swap_total_kib", "current_kib", "mem_free_kib", "min_kib"):
        column = np.concatenate([stack(block, name).ravel() for block in blocks])
        assert min(np.isnan(column).sum(), (column == 0).sum()) > 50, name
    kinds = (
        lambda view: view.min_kib == view.max_kib,
        lambda view: view.min_kib > view.max_kib,
        lambda view: view.used_kib > view.current_kib,
        lambda view: view.least_kib > view.min_kib,
        lambda view: view.available_kib > view.mem_available_kib,
        lambda view: view.paused > 0,
        lambda view: view.age_s > 6,
        lambda view: np.array([view.pool_kib < view.min_kib.sum()]),
    )
    for number, kind in enumerate(kinds):
        assert sum(kind(view).sum() for block in blocks for view in block) > 50, number


@pytest.mark.parametrize("name", names())
def test_no_view_makes_it_break_a_bound_or_give_out_more_than_there_is(name: str) -> None:
    policy = make(name)
    for views in blocks_for(name):
        wanted, sent = np.full((2, len(views), len(views[0])), np.nan)
        part, held = np.zeros((2, len(views), len(views[0])), dtype=bool)
        divides = np.zeros(len(views), dtype=bool)
        swap = np.arange(len(views)) % 2 == 0
        for i, view in enumerate(views):
            governor = Governor(Limits(allow_swap=bool(swap[i])))
            fresh = governor.fresh(view)
            allocation = policy.decide(fresh)
            part[i] = np.isin(view.names, fresh.names) if len(fresh) < len(view) else True
            wanted[i, part[i]] = allocation.targets_kib
            held[i, part[i]] = [reason.startswith("held at") for reason in allocation.reasons]
            divides[i] = name in DIVIDE or allocation.state in DIVIDE_IN.get(name, ())
            plan = governor.plan(view, allocation)
            assert sorted([*plan.held, *(step.guest for step in plan.steps)]) == list(view.names)
            targets = {step.guest: step.target_kib for step in plan.steps}
            sent[i] = [
                targets.get(guest, size) for guest, size in zip(view.names, np.round(view.current_kib), strict=True)
            ]
        least = "min_kib" if name in KNOW_ONLY_THE_MINIMUM else "least_kib"
        check_wishes(views, wanted, part, held, divides, least=least, knows_minimum=name not in KNOW_NO_MINIMUM)
        check_plans(views, sent, part, swap)


def test_whatever_is_wished_for_the_governor_lets_no_more_through() -> None:
    rng = np.random.default_rng(1)
    for number in range(12):
        views = list(hostile_views(rng, BLOCK, 1 + number % 3))
        sent, part = np.full((2, len(views), len(views[0])), np.nan)
        for i, view in enumerate(views):
            governor = Governor(Limits(allow_swap=i % 2 == 0))
            fresh = governor.fresh(view)
            wishes = rng.choice([-1e15, 0.0, 1.0, 1e6, 1e15, np.nan], len(fresh))
            plan = governor.plan(view, Allocation(targets_kib=wishes, reasons=("",) * len(fresh)))
            targets = {step.guest: step.target_kib for step in plan.steps}
            sent[i] = [targets.get(*pair) for pair in zip(view.names, np.round(view.current_kib), strict=True)]
            part[i] = np.isin(view.names, fresh.names)
        check_plans(views, sent, part > 0, np.arange(len(views)) % 2 == 0)


def check_wishes(
    views: Sequence[HostView], wanted: FloatArray, part: BoolArray, held: BoolArray, divides: BoolArray,
    *, least: str, knows_minimum: bool,
) -> None:  # fmt: skip
    """What the policy wants: the unknown is held, the bounds are kept, and what is divided is the pool."""
    current, low, high = (stack(views, column) for column in ("current_kib", least, "max_kib"))
    free = part & ~held
    assert (wanted == current)[part & held].all()
    assert (wanted >= np.fmin(low, current))[free].all() or not knows_minimum
    assert (wanted <= np.fmax(np.fmax(np.ceil(low), high), current))[free].all()
    lowest = np.ceil(low)
    sums = [
        np.where(free, column, 0.0).sum(axis=1)
        for column in (wanted, current, lowest, np.maximum(np.floor(high), lowest))
    ]
    total, had, fewest, most = sums
    pool = had + stack(views, "free_kib") - stack(views, "reserve_kib") - stack(views, "promised_kib")
    there = divides & free.any(axis=1)
    assert (total == np.clip(np.floor(pool), fewest, most))[there].all()


def check_plans(views: Sequence[HostView], sent: FloatArray, part: BoolArray, swap: BoolArray) -> None:
    """What the governor lets through: bounds, what a guest needs to live, what Xen has free now, and the pool."""
    low, high, available, total = (
        stack(views, column) for column in ("least_kib", "max_kib", "available_kib", "mem_total_kib")
    )
    current = np.round(stack(views, "current_kib"))
    known = ~np.isnan(current)
    assert (sent >= np.fmin(np.floor(low), current))[known].all()
    most = np.where(part, current, 1.1 * current)  # of the others one may starve in silence
    assert (sent <= np.fmax(np.fmax(np.floor(high), np.ceil(low)), most))[known].all()
    needs = np.fmax(current, total) - available
    assert (sent >= np.fmin(current, np.where(np.isnan(needs), current, needs)))[known & ~swap[:, None]].all()
    spare = stack(views, "free_kib") - stack(views, "reserve_kib") - stack(views, "promised_kib")
    moved = np.where(known, sent - current, 0.0)
    assert (np.maximum(moved, 0).sum(axis=1) <= np.fmax(spare, 0.0)).all()
    pool = np.where(part, current, 0.0).sum(axis=1) + spare - np.where(part, 0.0, moved).sum(axis=1)
    least = np.where(low <= high, np.ceil(low), current)
    small = np.maximum(1024.0, 0.005 * current)  # steps that are not worth sending
    most = np.maximum(pool, np.where(part, least, 0.0).sum(axis=1)) + np.where(part, small, 0.0).sum(axis=1)
    judged = swap & ~np.isnan(pool)
    told = np.where((low <= high) & (current > 0), stack(views, "target_kib"), np.nan)
    ends = np.where(sent == current, np.fmin(current, told), sent)  # who is sent nothing may be on its way
    assert (np.where(part, ends, 0.0).sum(axis=1) <= most)[judged].all()
