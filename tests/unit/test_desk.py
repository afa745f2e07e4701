"""What the service answers at its door: room granted or refused truthfully, and how everything stands."""

from __future__ import annotations

import json

import numpy as np
import pytest

from harness.balancer import Tick, tick
from harness.governor import Governor, Limits, Plan
from harness.policies import make
from harness.ports import Outcome
from harness.service.desk import Desk
from harness.service.room import Rooms
from harness.view import HostView
from tests.unit.views import MIB, make_view


class World:
    """Two guests of which each needs 200 MiB, that do at once as they are told."""

    def __init__(self, policy: str = "equal") -> None:
        self.size = [1000.0, 600.0]
        self.free, self.time_s = 64.0, 0.0
        self.policy, self.governor, self.rooms = make(policy), Governor(Limits()), Rooms()
        self.desk = Desk(self.rooms)
        self.governor.reset()
        self.policy.reset()

    def view(self) -> HostView:
        size = np.array(self.size)
        pool = size.sum() + self.free - 64
        seen = make_view(
            self.size, pool=pool, lo=128, reserve=64, time_s=self.time_s,
            mem_total_kib=size * MIB, mem_available_kib=(size - 200) * MIB, xen_age_s=0.001,
        )  # fmt: skip
        return self.rooms.see(seen)

    def apply(self, plan: Plan) -> Outcome:
        for step in plan.steps:
            index = int(step.guest[1:]) - 1
            self.free += self.size[index] - step.target_kib / MIB
            self.size[index] = step.target_kib / MIB
        return Outcome(applied_kib={step.guest: step.target_kib for step in plan.steps}, failed={})

    def renew_lease(self, safe_kib: object = None) -> None:
        """There is none."""

    def restore(self, targets_kib: object) -> None:
        """Nothing to restore."""

    def tick(self) -> Tick:
        self.time_s += 2
        ticked = tick(self, self, self.policy, self.governor)
        self.desk.note(ticked, self.policy, self.governor)
        return ticked

    def ask(self, op: str = "room", **keys: object) -> dict[str, object]:
        answer = self.desk.answer({"op": op, **keys})
        return json.loads(json.dumps(answer, allow_nan=False))  # type: ignore[no-any-return]


@pytest.fixture
def world() -> World:
    made = World()
    for _ in range(3):
        made.tick()
    return made


def test_before_the_first_tick_it_says_so() -> None:
    assert "not seen its guests yet" in str(World().ask(size_kib=1, for_s=1)["error"])


@pytest.mark.parametrize("policy", ["equal", "static", "price", "two-state"])
def test_room_that_can_be_had_comes_whatever_the_policy(policy: str) -> None:
    world = World(policy)
    world.tick()
    answer = world.ask(size_kib=700 * MIB, for_s=60)
    assert answer["granted"], answer
    for _ in range(5):
        world.tick()
    look = world.ask("look", room=answer["room"])
    assert (look["state"], world.free) == ("ready", pytest.approx(764, abs=3))
    assert sum(look["paid_kib"].values()) == pytest.approx(700 * MIB, abs=3 * MIB)  # type: ignore[attr-defined]


def test_what_cannot_be_had_is_refused_at_once_with_what_could(world: World) -> None:
    # Each needs 200 MiB and keeps a margin of 16.
    assert world.ask(size_kib=1300 * MIB, for_s=60) == {"granted": False, "could_kib": (1600 - 432) * MIB}
    assert world.rooms.kept_kib == 0


def test_of_two_who_ask_at_once_the_second_is_not_promised_what_the_first_was(world: World) -> None:
    assert world.ask(size_kib=700 * MIB, for_s=60)["granted"]
    assert world.ask(size_kib=700 * MIB, for_s=60) == {"granted": False, "could_kib": 468 * MIB}
    assert world.ask(size_kib=468 * MIB, for_s=60)["granted"]
    for _ in range(5):
        world.tick()
    assert world.free >= 64 + 700 + 468


def test_a_dry_run_says_who_would_pay_and_moves_nothing(world: World) -> None:
    before = (list(world.size), world.governor.trust())
    answer = world.ask(size_kib=400 * MIB, for_s=60, dry_run=True)
    assert answer["payers_kib"] == {"g1": 200 * MIB, "g2": 200 * MIB}
    assert "room" not in answer
    world.tick()
    assert (world.size, world.rooms.kept_kib) == (before[0], 0)


def test_where_the_policy_raises_it_does_not_say_that_nobody_would_pay(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(type(world.policy), "decide", lambda *_: 1 / 0)
    answer = world.ask(size_kib=400 * MIB, for_s=60, dry_run=True)
    assert (answer["granted"], answer["payers_kib"], answer["takes_s"]) == (True, None, None)


def test_room_given_back_goes_to_the_guests_again(world: World) -> None:
    number = world.ask(size_kib=400 * MIB, for_s=60)["room"]
    for _ in range(3):
        world.tick()
    assert world.ask("give-back", room=number)["state"] == "over"
    for _ in range(3):
        world.tick()
    assert sum(world.size) == pytest.approx(1600, abs=3)
    assert "error" in world.ask("give-back", room=number)
    assert world.ask("look", room=number)["state"] == "over"


@pytest.mark.parametrize(
    "keys",
    [
        {}, {"size_kib": "5", "for_s": 1}, {"size_kib": True, "for_s": 1}, {"size_kib": -1, "for_s": 1},
        {"size_kib": 1e300, "for_s": 1}, {"size_kib": 5, "for_s": 0}, {"size_kib": 5, "for_s": 1e9},
        {"size_kib": float("nan"), "for_s": 1}, {"size_kib": [5], "for_s": 1},
    ],
)  # fmt: skip
def test_what_is_no_size_or_no_time_is_refused(keys: dict[str, object], world: World) -> None:
    assert "must be numbers above 0" in str(world.ask(**keys)["error"])


@pytest.mark.parametrize(
    "request_", [{"op": "look"}, {"op": "look", "room": [1]}, {"op": "look", "room": {}}, {"op": 7}, {}]
)
def test_what_it_does_not_know_it_says_so(request_: dict[str, object], world: World) -> None:
    assert "error" in world.desk.answer(request_)


def test_it_shows_who_has_what_and_why(world: World) -> None:
    shown = world.ask("show")
    first = shown["guests"][0]  # type: ignore[index]
    assert (first["name"], first["balanced"], first["committed_kib"]) == ("g1", True, None)
    assert first["current_kib"] == 800 * MIB
    assert first["reason"]
    assert shown["host"]["kept_kib"] == 0  # type: ignore[index, call-overload]
