"""Room for guests that are about to start: what could be had, and what is kept for whom and for how long."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import pytest

from harness.governor import Governor, Limits
from harness.policies import make
from harness.service.room import COMING_S, Room, Rooms, State, could_kib
from harness.view import HostView
from tests.unit.views import MIB

GIB = 1024 * MIB


def view(
    sizes: Mapping[str, float], free: float, *, time_s: float = 0, reserve: float = 64, available: float = 300
) -> HostView:
    """Guests of so many MiB, `available` of them to each, in a host with so many MiB free."""
    size = np.array(list(sizes.values()), dtype=float) * MIB
    n = len(size)
    return HostView(
        time_s=time_s, total_kib=8 * GIB, free_kib=free * MIB, reserve_kib=reserve * MIB, names=tuple(sizes),
        current_kib=size, min_kib=np.full(n, 128.0 * MIB), max_kib=np.full(n, 4.0 * GIB), shares=np.full(n, 1000.0),
        mem_total_kib=size, mem_available_kib=np.full(n, available * MIB), age_s=np.zeros(n),
    )  # fmt: skip


def test_what_could_be_had_is_what_is_free_and_what_guests_have_above_what_they_need() -> None:
    seen = view({"a": 1000, "b": 200}, free=100, available=300)
    # a needs 700 and keeps a margin of 16; b needs nothing of its 200, and its minimum is 128.
    assert could_kib(seen, seen, Limits()) == (36 + 284 + 72) * MIB
    assert could_kib(seen, seen, Limits(allow_swap=True)) == (36 + 872 + 72) * MIB
    alone = seen.select(np.array([False, True]))
    assert could_kib(seen, alone, Limits()) == (36 + 72) * MIB


def test_room_that_is_kept_is_dealt_out_by_no_policy_and_granted_to_no_guest() -> None:
    rooms, governor = Rooms(), Governor(Limits())
    before = view({"a": 1000, "b": 1000}, free=164)
    rooms.ask(500 * MIB, 60, before)
    kept = rooms.see(before)
    assert kept.pool_kib == before.pool_kib - 500 * MIB
    for name in ("equal", "static", "price", "two-state"):
        policy = make(name)
        plan = governor.plan(kept, policy.decide(governor.fresh(kept)))
        targets = dict.fromkeys(kept.names, 1000.0 * MIB) | {step.guest: step.target_kib for step in plan.steps}
        assert sum(targets.values()) <= 1600 * MIB, name
        governor.reset()


def told(rooms: Rooms, room: Room, *views: HostView) -> list[State]:
    states = []
    for seen in views:
        rooms.see(seen)
        states.append(room.state)
    return states


def test_room_is_ready_when_xen_has_it_free_and_over_when_its_time_has_passed() -> None:
    rooms = Rooms()
    room = rooms.ask(500 * MIB, 60, view({"a": 1000}, free=64))
    states = told(
        rooms, room,
        view({"a": 800}, free=264, time_s=2),
        view({"a": 500}, free=564, time_s=4),
        view({"a": 500}, free=564, time_s=63),
        view({"a": 500}, free=564, time_s=64),
    )  # fmt: skip
    assert states == [State.COMING, State.READY, State.READY, State.OVER]
    assert room.paid_kib == {"a": 500 * MIB}
    assert rooms.kept_kib == 0


def test_a_newcomer_takes_what_was_kept_for_it_and_nobody_pays_twice() -> None:
    rooms = Rooms()
    room = rooms.ask(500 * MIB, 60, view({"a": 1000}, free=64))
    told(rooms, room, view({"a": 500}, free=564, time_s=2))
    half = rooms.see(view({"a": 500}, free=364, time_s=4))  # 200 of it are taken by a domain that is not in the view
    assert (room.state, half.promised_kib, half.pool_kib) == (State.READY, 300 * MIB, 500 * MIB)
    whole = rooms.see(view({"a": 500}, free=64, time_s=6))
    assert (room.state, whole.promised_kib, whole.pool_kib) == (State.TAKEN, 0, 500 * MIB)


def test_a_newcomer_that_is_balanced_from_then_on_takes_what_was_kept_for_it_too() -> None:
    rooms = Rooms()
    room = rooms.ask(500 * MIB, 60, view({"a": 1000}, free=64))
    told(rooms, room, view({"a": 500}, free=564, time_s=2))
    seen = rooms.see(view({"a": 500, "new": 500}, free=64, time_s=4))
    assert (room.state, seen.pool_kib) == (State.TAKEN, 1000 * MIB)


def test_a_guest_that_was_away_when_room_was_asked_for_takes_it_when_it_comes_back() -> None:
    rooms = Rooms()
    away = view({"a": 1000, "b": np.nan}, free=64)
    room = rooms.ask(500 * MIB, 60, away)
    told(rooms, room, view({"a": 500, "b": np.nan}, free=564, time_s=2))
    seen = rooms.see(view({"a": 500, "b": 500}, free=64, time_s=4))
    assert (room.state, seen.pool_kib) == (State.TAKEN, 1000 * MIB)


def test_who_starts_while_room_is_coming_is_not_taken_for_the_one_that_asked() -> None:
    rooms = Rooms()
    room = rooms.ask(500 * MIB, 60, view({"a": 1500}, free=64))
    states = told(
        rooms, room,
        view({"a": 1300}, free=264, time_s=2),
        view({"a": 1300}, free=64, time_s=4),  # somebody took the 200 that had come
        view({"a": 800}, free=564, time_s=6),
        view({"a": 800}, free=564, time_s=8),
    )  # fmt: skip
    assert states == [State.COMING, State.COMING, State.READY, State.READY]
    assert rooms.kept_kib == 500 * MIB
    told(rooms, room, view({"a": 800}, free=64, time_s=10))
    assert room.state is State.TAKEN


def test_two_askers_get_each_their_own_in_the_order_in_which_they_asked() -> None:
    rooms = Rooms()
    start = view({"a": 2000}, free=64)
    first = rooms.ask(300 * MIB, 60, start)
    assert could_kib(rooms.see(start), start, Limits(allow_swap=True)) == (2000 - 128 - 300) * MIB
    second = rooms.ask(400 * MIB, 60, rooms.see(start))
    rooms.see(view({"a": 1600}, free=464, time_s=2))
    assert (first.state, second.state) == (State.READY, State.COMING)
    rooms.see(view({"a": 1300}, free=764, time_s=4))
    assert second.state is State.READY
    rooms.see(view({"a": 1300}, free=464, time_s=6))  # one has come
    assert (first.state, second.state, rooms.kept_kib) == (State.TAKEN, State.READY, 400 * MIB)
    rooms.see(view({"a": 1300}, free=64, time_s=8))
    assert (second.state, rooms.kept_kib) == (State.TAKEN, 0)


def test_what_a_newcomer_took_is_not_counted_again_when_its_room_is_over() -> None:
    rooms = Rooms()
    start = view({"a": 2000}, free=64)
    first, second = rooms.ask(300 * MIB, 10, start), rooms.ask(400 * MIB, 60, start)
    rooms.see(view({"a": 1300}, free=764, time_s=2))
    rooms.see(view({"a": 1300}, free=564, time_s=4))  # the first took only 200
    assert first.kept_kib == 100 * MIB
    rooms.see(view({"a": 1300}, free=564, time_s=12))
    assert (first.state, second.state, rooms.kept_kib) == (State.OVER, State.READY, 400 * MIB)


def test_room_that_does_not_come_fails_and_holds_nobody_up_any_longer() -> None:
    heard: list[State] = []
    rooms = Rooms(lambda room: heard.append(room.state))
    rooms.ask(500 * MIB, 60, view({"a": 1000}, free=64))
    late = rooms.see(view({"a": 900}, free=164, time_s=COMING_S))
    assert heard == [State.COMING, State.FAILED]
    assert rooms.see(late).promised_kib == 0


def test_room_can_be_given_back_once() -> None:
    rooms = Rooms()
    room = rooms.ask(500 * MIB, 60, view({"a": 1000}, free=64))
    assert rooms.give_back(room.number) is room
    assert rooms.give_back(room.number) is None
    assert (room.state, rooms.kept_kib) == (State.OVER, 0)


@pytest.mark.parametrize("seed", range(8))
def test_whatever_happens_no_more_is_kept_than_was_promised_and_nothing_below_zero(seed: int) -> None:
    random = np.random.default_rng(seed)
    rooms, promised = Rooms(), 0.0
    for tick in range(200):
        sizes = {f"g{i}": float(random.integers(100, 3000)) for i in range(random.integers(0, 4))}
        seen = view(sizes, free=float(random.integers(0, 3000)), time_s=2.0 * tick)
        if random.random() < 0.2:
            size = float(random.integers(1, 2000)) * MIB
            rooms.ask(size, float(random.integers(1, 60)), seen)
            promised += size
        kept = rooms.see(seen)
        assert 0 <= rooms.kept_kib <= promised
        assert kept.promised_kib == rooms.kept_kib
