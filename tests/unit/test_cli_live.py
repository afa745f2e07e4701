"""The arbiter as a service: what it records, what it never does, and how it ends."""

from __future__ import annotations

import json
import os
import signal
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import pytest
from typer.testing import CliRunner, Result

from harness.cli import live
from harness.cli.live import app
from harness.clocks import SystemClock
from harness.experiment.files import load_experiment
from harness.governor import Limits, Plan
from harness.policies import make
from harness.ports import Outcome
from harness.service import arbiter
from harness.view import HostView
from tests.unit.views import MIB, make_view, names_of


class World:
    """A source and a host in one: two guests that follow at once; after so many views someone asks to stop."""

    def __init__(self, views: int, stop: signal.Signals | None = None, size_mib: Sequence[float] = (400, 200)) -> None:
        self.size_mib, self.views, self.left, self.stop = list(size_mib), views, views, stop
        self.applied: list[Mapping[str, int]] = []
        self.leases = 0
        self.safe = False

    def view(self) -> HostView:
        self.left -= 1
        if self.left == 0 and self.stop:
            os.kill(os.getpid(), self.stop)
        return make_view(self.size_mib, pool=600, lo=100, hi=500, time_s=float(self.views - self.left))

    def apply(self, plan: Plan) -> Outcome:
        targets = {step.guest: step.target_kib for step in plan.steps}
        self.applied.append(targets)
        for i, name in enumerate(names_of(len(self.size_mib))):
            self.size_mib[i] = targets.get(name, self.size_mib[i] * MIB) / MIB
        return Outcome(applied_kib=targets, failed={})

    def renew_lease(self) -> None:
        self.leases += 1

    def restore(self, targets_kib: Mapping[str, int]) -> None:
        raise AssertionError("the service leaves this to the one who holds the connection")


LIMITS = Limits(period_s=0.01, allow_swap=True)


def serve(world: World, host: arbiter.Host, *, policy: str = "equal", shadows: Sequence[str] = ()) -> list[dict]:  # type: ignore[type-arg]
    lines: list[dict] = []  # type: ignore[type-arg]
    arbiter.serve(
        world, host, make(policy), shadows={name: make(name) for name in shadows}, limits=LIMITS, clock=SystemClock(),
        record=lambda line, _: lines.append(json.loads(json.dumps(line, allow_nan=False))),
        stopped=lambda: world.left <= 0,
    )  # fmt: skip
    return lines


def test_every_tick_is_a_line_as_decisions_jsonl_has_it_and_the_shadows_beside_it() -> None:
    world = World(3)
    lines = serve(world, world, shadows=["static", "squeezed"])
    assert [line["tick"] for line in lines] == [1, 2, 3]
    first = lines[0]
    assert list(first) == [
        "run", "block", "order", "policy", "label", "tick", "utc", "mono_s", "trial_s", "view", "decision", "plan",
        "outcome", "timing", "shadow",
    ]  # fmt: skip
    assert first["decision"]["targets_kib"] == {"g1": 300 * MIB, "g2": 300 * MIB}
    assert HostView.from_json(first["view"]).names == ("g1", "g2")
    assert list(first["shadow"]) == ["static", "squeezed"]
    assert list(first["shadow"]["static"]) == list(first["decision"])


def test_a_shadow_sees_what_the_acting_policy_sees_and_moves_nothing() -> None:
    alone, watched = World(4), World(4)
    serve(alone, alone)
    lines = serve(watched, watched, shadows=["static"])
    assert watched.applied == alone.applied
    assert lines[0]["shadow"]["static"]["targets_kib"] == {"g1": 400 * MIB, "g2": 200 * MIB}


def test_a_dry_run_decides_the_same_every_time_and_blames_no_guest_for_standing_still() -> None:
    world = World(100)
    lines = serve(world, arbiter.DryHost())
    assert world.applied == []
    assert world.leases == 0
    assert lines[0]["plan"]["targets_kib"] == {"g1": 300 * MIB}  # the other grows when that has been given
    assert lines[-1]["plan"]["targets_kib"] == lines[0]["plan"]["targets_kib"]
    assert lines[-1]["outcome"] == {"applied_kib": {}, "failed": {"g1": arbiter.NOT_SENT}}


def test_a_sleep_ends_soon_when_it_is_told_to_stop() -> None:
    clock = arbiter.StoppableClock(SystemClock(), lambda: True)
    began_s = clock.now_s()
    clock.sleep_until(began_s + 60)
    assert clock.now_s() - began_s < 1


@pytest.fixture
def handlers() -> Iterator[None]:
    """The signal handlers of this process are those of before afterwards."""
    numbers = (signal.SIGINT, signal.SIGTERM)
    before = {number: signal.getsignal(number) for number in numbers}
    yield
    for number, handler in before.items():
        signal.signal(number, handler)


def balance(monkeypatch: pytest.MonkeyPatch, world: World, *words: str) -> Result:
    """`ballast balance quick`, connected to a world instead of machines."""

    @contextmanager
    def connected(*_: object) -> Iterator[tuple[World, World]]:
        try:
            yield world, world
        finally:
            world.safe = True

    monkeypatch.setattr(arbiter, "connected", connected)
    monkeypatch.setattr(live, "_site", lambda *_: SimpleNamespace(clock=SystemClock))
    quick = load_experiment("quick").model_copy(update={"period_s": 0.01})
    monkeypatch.setattr(live, "load_experiment", lambda _: quick)
    return CliRunner().invoke(app, ["balance", "quick", "--policy", "equal", *words])


@pytest.mark.usefixtures("handlers")
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_ends_the_tick_sets_the_safe_targets_and_is_no_failure(
    monkeypatch: pytest.MonkeyPatch, number: signal.Signals
) -> None:
    world = World(3, stop=number)
    done = balance(monkeypatch, world, "--allow-swap")
    assert (done.exit_code, world.safe) == (0, True)
    assert len(done.stdout.splitlines()) == len(world.applied) == 3
    assert "initial split" in done.stderr


@pytest.mark.usefixtures("handlers")
def test_lines_are_appended_to_the_file_that_is_given(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    out = tmp_path / "lines.jsonl"
    for _ in range(2):
        done = balance(monkeypatch, World(2, stop=signal.SIGTERM), "--out", str(out), "--shadow", "static")
        assert (done.exit_code, done.stdout) == (0, "")
    lines = [json.loads(line) for line in out.read_text().splitlines()]
    assert [line["tick"] for line in lines] == [1, 2, 1, 2]
    assert all(list(line["shadow"]) == ["static"] for line in lines)


class Stuck(World):
    """The same, but nobody moves; each tick takes 6 s."""

    def view(self) -> HostView:
        view = super().view()
        return replace(view, time_s=6 * view.time_s)

    def apply(self, plan: Plan) -> Outcome:
        self.caps = dict(plan.caps_kib)
        return Outcome(applied_kib={step.guest: step.target_kib for step in plan.steps}, failed={})


@pytest.mark.usefixtures("handlers")
def test_who_did_not_follow_is_still_known_after_a_restart(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    remembering = ("--trust", str(tmp_path / "trust.json"), "--allow-swap", "--out", str(tmp_path / "lines.jsonl"))
    balance(monkeypatch, Stuck(2, stop=signal.SIGTERM), *remembering)
    assert json.loads((tmp_path / "trust.json").read_text())["guests"]["g1"]["strikes"] == 1
    again = Stuck(1, stop=signal.SIGTERM)
    done = balance(monkeypatch, again, *remembering)
    assert again.caps == {"g1": 400 * MIB}
    held = json.loads((tmp_path / "lines.jsonl").read_text().splitlines()[-1])["plan"]["held"]
    assert held["g1"].startswith("left out: it did not follow its target")
    assert "ignored" not in done.stderr


@pytest.mark.usefixtures("handlers")
def test_a_file_that_holds_no_trust_is_told_and_overwritten(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    path = tmp_path / "trust.json"
    path.write_text("{}")
    done = balance(monkeypatch, World(1, stop=signal.SIGTERM), "--trust", str(path))
    assert done.exit_code == 0
    assert f"{path} is ignored, all guests are trusted anew: utc: Field required" in done.stderr
    assert json.loads(path.read_text())["guests"] == {}
    gone = balance(monkeypatch, World(1), "--trust", str(tmp_path / "no" / "trust.json"))
    assert "there is no folder" in str(gone.exception)


@pytest.mark.usefixtures("handlers")
def test_a_dry_run_remembers_nothing(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    done = balance(monkeypatch, World(2, stop=signal.SIGTERM), "--dry-run", "--trust", str(tmp_path / "trust.json"))
    assert done.exit_code == 0
    assert list(tmp_path.iterdir()) == []


@pytest.mark.usefixtures("handlers")
def test_a_full_disk_ends_it_safely_and_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    world = World(5)
    done = balance(monkeypatch, world, "--out", "/dev/full")
    assert world.safe
    assert isinstance(done.exception, live.ConfigError)
    assert "/dev/full: No space left" in str(done.exception)


@pytest.mark.usefixtures("handlers")
def test_a_fault_of_the_arbiter_itself_sets_the_safe_targets_too(monkeypatch: pytest.MonkeyPatch) -> None:
    world = World(5)
    monkeypatch.setattr(world, "apply", lambda plan: 1 / 0)
    done = balance(monkeypatch, world)
    assert isinstance(done.exception, ZeroDivisionError)
    assert world.safe
