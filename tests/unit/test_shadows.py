"""A policy that only watches sees what the acting one sees, and whatever it does, it disturbs nobody."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from harness.balancer import Tick
from harness.clocks import SystemClock
from harness.experiment.files import load_experiment
from harness.governor import Governor
from harness.policies import Allocation, Policy, make
from harness.ports import Outcome
from harness.records import read_run
from harness.service import arbiter
from harness.service.shadows import Shadows
from harness.simulator import runner
from harness.simulator.machine import load_machine
from harness.view import HostView
from tests.unit.test_cli_live import LIMITS, World
from tests.unit.test_simulator_runs import EXPERIMENT
from tests.unit.views import MIB, make_view


def tick_of(policy: Policy, view: HostView) -> Tick:
    governor = Governor()
    fresh = governor.fresh(view)
    allocation = policy.decide(fresh)
    plan = governor.plan(view, allocation)
    outcome = Outcome(applied_kib={}, failed={})
    return Tick(view=view, names=fresh.names, allocation=allocation, plan=plan, outcome=outcome, timing={})


class Broken:
    """Fails as often as it is told to, then agrees with everything."""

    name = "broken"
    params = make("static").params

    def __init__(self, times: int) -> None:
        self.times = times

    def decide(self, view: HostView) -> Allocation:
        self.times -= 1
        if self.times >= 0:
            raise ZeroDivisionError("no guest is\na guest too few")
        return Allocation(targets_kib=view.current_kib, reasons=("fine",) * len(view))

    def reset(self) -> None:
        """It remembers nothing."""


class Careless(Broken):
    """Answers for guests that are not there, and tries to change what others see."""

    def decide(self, view: HostView) -> Allocation:
        with pytest.raises(ValueError, match="read-only"):
            view.current_kib[:] = 0
        return Allocation(targets_kib=np.zeros(99), reasons=("",) * 99)


Told = list[tuple[str, str, str]]


def teller() -> tuple[Told, Any]:
    told: Told = []
    return told, lambda event, guest, detail: told.append((event, guest, detail))


VIEW = make_view([400, 200, 100], pool=700, lo=50, hi=500, age_s=np.array([0.1, 0.1, 99.0]))


def test_a_shadow_is_asked_about_the_guests_that_take_part_and_called_by_its_label() -> None:
    told, tell = teller()
    tick = tick_of(make("static"), VIEW)
    found = Shadows({"a": make("equal"), "b": make("static")}, tell).decisions(tick)
    assert {label: decision["targets_kib"] for label, decision in found.items()} == {
        "a": {"g1": 300 * MIB, "g2": 300 * MIB},
        "b": {"g1": 400 * MIB, "g2": 200 * MIB},
    }
    assert told == []


def test_a_shadow_that_fails_is_told_once_and_left_out_only_where_it_failed() -> None:
    told, tell = teller()
    shadows = Shadows({"bad": Broken(2), "good": make("equal")}, tell)
    found = [shadows.decisions(tick_of(make("static"), VIEW)) for _ in range(3)]
    assert [list(decisions) for decisions in found] == [["good"], ["good"], ["bad", "good"]]
    assert told == [("shadow_failed", "", "bad: ZeroDivisionError: no guest is\na guest too few")]


def test_a_shadow_cannot_change_what_others_see_nor_answer_for_who_is_not_there() -> None:
    told, tell = teller()
    tick = tick_of(make("static"), VIEW)
    found = Shadows({"bad": Careless(0), "good": make("static")}, tell).decisions(tick)
    assert list(found) == ["good"]
    assert found["good"]["targets_kib"] == {"g1": 400 * MIB, "g2": 200 * MIB}
    assert "99 guests for 2 names" in told[0][2]


def test_a_shadow_begins_every_trial_anew() -> None:
    policy = make("static")
    Shadows({"s": policy}, teller()[1]).decisions(tick_of(make("equal"), VIEW))
    later = make_view([100, 500], pool=700, lo=50, hi=500)
    found = Shadows({"s": policy}, teller()[1]).decisions(tick_of(make("equal"), later))
    assert found["s"]["targets_kib"] == {"g1": 100 * MIB, "g2": 500 * MIB}


def test_a_shadow_that_fails_at_its_beginning_disturbs_nobody_either() -> None:
    told, tell = teller()

    class Stuck(Broken):
        def reset(self) -> None:
            raise ZeroDivisionError("nothing to forget")

    shadows = Shadows({"bad": Stuck(99), "good": make("equal")}, tell)
    assert told == [("shadow_failed", "", "bad: ZeroDivisionError: nothing to forget")]
    assert "good" in shadows.decisions(tick_of(make("static"), VIEW))


def test_a_service_whose_shadow_fails_acts_as_one_without() -> None:
    told, tell = teller()
    alone, watched = World(4), World(4)
    lines: list[Any] = []
    for world, shadows in ((alone, {}), (watched, {"bad": Broken(99)})):
        arbiter.serve(
            world, world, make("equal"), shadows=shadows, limits=LIMITS, clock=SystemClock(),
            record=lambda line, _: lines.append(line), stopped=lambda world=world: world.left <= 0, events=tell,
        )  # fmt: skip
    assert watched.applied == alone.applied != []
    assert [line["shadow"] for line in lines] == [{}] * 8
    assert len(told) == 1


def test_a_simulated_trial_goes_as_without_its_shadows_which_may_know_the_future(tmp_path: Path) -> None:
    alone = EXPERIMENT.replace("repetitions: 2", "repetitions: 1").replace("duration_s: 90", "duration_s: 20")
    alone = alone[: alone.index("sweep:")].replace(
        "[static, price, two-state, pressure, unconstrained, oracle]", "[price]"
    )
    watched = alone + "shadows: [{name: price, label: same}, oracle]\n"
    found = []
    for name, text in (("alone", alone), ("watched", watched)):
        (tmp_path / f"{name}.yml").write_text(text)
        experiment = load_experiment(tmp_path / f"{name}.yml")
        done = runner.simulate(experiment, tmp_path / name, load_machine(), runner.one_by_one, lambda *_: None)
        found.append(read_run(done.folder))
    assert found[0].samples["current_kib"].tolist() == found[1].samples["current_kib"].tolist()
    lines = list(found[1].decisions())
    assert [line["shadow"]["same"] for line in lines] == [line["decision"] for line in lines]
    assert {line["shadow"]["oracle"]["policy"] for line in lines} == {"oracle"}
