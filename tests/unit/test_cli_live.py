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

import numpy as np
import pytest
from typer.testing import CliRunner, Result

from harness.cli import live
from harness.cli.live import app
from harness.clocks import SystemClock
from harness.experiment.files import load_experiment
from harness.governor import Limits, Plan
from harness.policies import Allocation, make
from harness.policies.equal import Equal
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
        self.safe_kib: Mapping[str, int] = {}
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

    def renew_lease(self, safe_kib: Mapping[str, int] | None = None) -> None:
        self.leases += 1
        self.safe_kib = safe_kib or {}

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


class InstantClock:
    """One on which waiting takes no time."""

    def __init__(self) -> None:
        self.time_s = 0.0

    def now_s(self) -> float:
        return self.time_s

    def sleep_until(self, t_s: float) -> None:
        self.time_s = max(self.time_s, t_s)


def balance(monkeypatch: pytest.MonkeyPatch, world: World, *words: str, period_s: float = 2.0) -> Result:
    """`ballast balance quick`, connected to a world instead of machines."""

    @contextmanager
    def connected(*_: object) -> Iterator[tuple[World, World]]:
        try:
            yield world, world
        finally:
            world.safe = True

    monkeypatch.setattr(arbiter, "connected", connected)
    monkeypatch.setattr(live, "_site", lambda *_: SimpleNamespace(clock=InstantClock))
    quick = load_experiment("quick").model_copy(update={"period_s": period_s})
    monkeypatch.setattr(live, "load_experiment", lambda _: quick)
    return CliRunner().invoke(app, ["balance", "quick", "--policy", "equal", *words])


@pytest.mark.usefixtures("handlers")
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_ends_the_tick_leaves_the_guests_what_they_have_and_is_no_failure(
    monkeypatch: pytest.MonkeyPatch, number: signal.Signals
) -> None:
    world = World(3, stop=number)
    done = balance(monkeypatch, world, "--allow-swap", "--take-mib-s", "inf")
    assert (done.exit_code, world.safe) == (0, True)
    assert len(done.stdout.splitlines()) == len(world.applied) == 3
    assert "keep what they have" in done.stderr
    assert world.safe_kib == {"g1": 300 * MIB, "g2": 300 * MIB}, "what dom0 sets then: where they are by now"


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
    """The same, but nobody moves; the ticks are 2 s apart."""

    def view(self) -> HostView:
        view = super().view()
        return replace(view, time_s=2 * view.time_s)

    def apply(self, plan: Plan) -> Outcome:
        self.caps = dict(plan.caps_kib)
        return Outcome(applied_kib={step.guest: step.target_kib for step in plan.steps}, failed={})


@pytest.mark.usefixtures("handlers")
def test_who_did_not_follow_is_still_known_after_a_restart(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    remembering = ("--trust", str(tmp_path / "trust.json"), "--allow-swap", "--out", str(tmp_path / "lines.jsonl"))
    balance(monkeypatch, Stuck(4, stop=signal.SIGTERM), *remembering)
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
@pytest.mark.parametrize(("words", "taken_mib"), [((), 32), (("--take-mib-s", "4"), 8), (("--take-mib-s", "inf"), 100)])
def test_memory_is_taken_gently_unless_it_is_said_otherwise(
    monkeypatch: pytest.MonkeyPatch, words: Sequence[str], taken_mib: float
) -> None:
    world = World(1, stop=signal.SIGTERM)
    balance(monkeypatch, world, "--allow-swap", *words)
    assert world.applied == [{"g1": (400 - taken_mib) * MIB}]


@pytest.mark.usefixtures("handlers")
@pytest.mark.parametrize(("words", "least_mib"), [((), 375), (("--margin-percent", "0", "--margin-mib", "40"), 395)])
def test_a_guest_keeps_a_margin_that_can_be_set(
    monkeypatch: pytest.MonkeyPatch, words: Sequence[str], least_mib: float
) -> None:
    world = World(1, stop=signal.SIGTERM)
    view = world.view
    monkeypatch.setattr(world, "view", lambda: replace(view(), mem_available_kib=np.array([45.0, 150]) * MIB))
    balance(monkeypatch, world, *words)
    assert world.applied == [{"g1": least_mib * MIB}]


@pytest.mark.usefixtures("handlers")
def test_a_policy_that_raises_does_not_end_the_service(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    def decide(*_: object) -> Allocation:
        raise ZeroDivisionError("a\x1b[31m bad\nday")

    monkeypatch.setattr(Equal, "decide", decide)
    out = tmp_path / "lines.jsonl"
    for words, decided in (((), "hold"), (("--fallback", "static"), "static")):
        world = World(4, stop=signal.SIGTERM)
        done = balance(monkeypatch, world, "--out", str(out), *words)
        assert done.exit_code == 0
        assert (
            "policy_failed the policy equal raised ZeroDivisionError: a\N{REPLACEMENT CHARACTER}[31m bad | day"
            in done.stderr
        )
        assert f"{decided} decides; tried again in 10 s" in done.stderr
        line = json.loads(out.read_text().splitlines()[-1])
        assert (line["policy"], line["decision"]["policy"], line["tick"]) == ("equal", decided, 4)
        assert world.size_mib == [400, 200]


def test_an_unknown_fallback_is_bad_usage(monkeypatch: pytest.MonkeyPatch) -> None:
    assert "nobody" in str(balance(monkeypatch, World(1), "--fallback", "nobody").exception)


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
