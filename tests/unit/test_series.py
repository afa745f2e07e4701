"""Several experiments by one command: what has ended is taken, what was stopped goes on, a failure stops nothing."""

from __future__ import annotations

import re
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest

import reports
from harness.cli import catalog, effort, main, series
from harness.cli import run as command
from harness.cli.series import Where
from harness.experiment import runs
from harness.experiment.document import ConfigError
from harness.experiment.files import load_experiment, names
from harness.experiment.plan import plan
from harness.experiment.runs import Done
from harness.progress import playbook
from harness.progress.playbook import Played
from harness.records import RecordsError

GUESTS = """\
  - {name: a, workload: mono, with: {high_mib: 430}, min_mib: 160, initial_mib: 300, max_mib: 800}
  - {name: b, workload: idle, min_mib: 160, initial_mib: 300, max_mib: 800}
"""
WELL = Played(done=True, stopped=False, trials_failed=False, failures=())


@dataclass(frozen=True)
class Said:
    """What the command left behind."""

    code: int
    out: str
    err: str


@dataclass
class World:
    """Experiments in a folder, and where their results go."""

    folder: Path
    capsys: pytest.CaptureFixture[str]
    monkeypatch: pytest.MonkeyPatch

    @property
    def out(self) -> Path:
        """Where results go."""
        return self.folder / "results"

    def experiment(self, name: str, more: str = "", policies: str = "[static, two-state]") -> str:
        """Write one of some seconds, and return its path."""
        path = self.folder / f"{name}.yml"
        path.write_text(f"name: {name}\npool_mib: 800\nduration_s: 20\npolicies: {policies}\nguests:\n{GUESTS}{more}")
        return str(path)

    def run(self, *words: str) -> Said:
        """Run the command in this process."""
        self.monkeypatch.setattr(sys, "argv", ["ballast", "run", "--out", str(self.out), "--jobs", "1", *words])
        try:
            code = int(main())
        except SystemExit as end:
            code = int(end.code or 0)
        out, err = self.capsys.readouterr()
        return Said(code, out, err)

    def runs(self) -> list[str]:
        """The runs that there are."""
        return sorted(str(path.parent.relative_to(self.out)) for path in self.out.glob("*/*/manifest.json"))


@pytest.fixture
def world(tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> World:
    return World(tmp_path, capsys, monkeypatch)


@pytest.fixture
def reported(monkeypatch: pytest.MonkeyPatch) -> list[list[str]]:
    """The experiments of every report that is asked for, of which none is made."""
    asked: list[list[str]] = []

    def build(paths: Sequence[Path], **_: object) -> Path:
        asked.append([path.parent.name for path in paths])
        return Path("report.pdf")

    monkeypatch.setattr(reports, "build", build)
    return asked


def test_all_of_them_are_repeated_as_often_as_is_asked_for() -> None:
    parts = series.parts(["quick", "e02-mono"], series.Where.LAB, 6)
    assert [part.experiment.repetitions for part in parts] == [6, 6]
    assert parts[0].most_s > series.parts(["quick"], series.Where.LAB)[0].most_s


def test_another_seed_is_other_blocks_of_the_same_experiment() -> None:
    [as_it_says], [other] = (series.parts(["quick"], series.Where.LAB, None, seed) for seed in (None, 7))
    assert (as_it_says.experiment.seed, other.experiment.seed) == (1, 7)
    assert as_it_says.experiment == other.experiment.model_copy(update={"seed": 1})
    assert {trial.seed for trial in plan(as_it_says.experiment)}.isdisjoint(t.seed for t in plan(other.experiment))


def test_several_experiments_come_to_one_report_and_the_same_command_again_takes_what_has_ended(world: World) -> None:
    first, second = world.experiment("first"), world.experiment("second")
    said = world.run("--simulate", first, second)
    assert said.code == 0, said.err
    lines = said.out.splitlines()
    assert lines[:3] == [
        "  first: on the simulator, about 1 s",
        "  second: on the simulator, about 1 s",
        "2 of 2 experiments to run, about 1 s",
    ], "first it says what it is going to do, and how long that takes"
    assert "experiment 2 of 2: second, on the simulator; about 1 s left" in lines
    report = Path(lines[-1])
    assert report.is_file()
    assert report.parent.parent == world.out / "reports"
    had = world.runs()
    again = world.run("--simulate", first, second)
    assert (again.code, world.runs()) == (0, had), "nothing ran again"
    assert again.out.count("taken as it is") == 2
    assert again.out.splitlines()[-1] == str(report)


def test_a_run_of_another_source_does_not_count_and_that_is_said(
    world: World, reported: list[list[str]], monkeypatch: pytest.MonkeyPatch
) -> None:
    first = world.experiment("first")
    assert world.run("--simulate", first).code == 0
    (had,) = world.runs()
    monkeypatch.setattr(runs, "source", lambda: {"commit": "f" * 40, "dirty": False})
    said = world.run("--simulate", first)
    assert len(world.runs()) == 2
    told = said.out.splitlines()[0]
    assert told.startswith(f"not taking {world.out / had}, which has ended")
    assert "the source is another" in told


def test_bad_input_in_any_of_them_ends_it_with_all_that_is_wrong_before_anything_starts(world: World) -> None:
    bad, worse = world.experiment("bad", "nonsense: 1\n"), world.experiment("worse", policies="[nobody]")
    said = world.run("--simulate", world.experiment("good"), bad, worse)
    assert said.code == 2
    assert "bad.yml" in said.err
    assert "there is no policy nobody" in said.err
    assert not world.out.exists()


def test_a_name_given_twice_and_names_beside_all_are_refused(world: World) -> None:
    path = world.experiment("one")
    assert "named twice" in world.run("--simulate", path, path).err
    assert world.run("--all", path).code == world.run("--simulate").code == 2
    said = world.run(path, world.experiment("two"), "-e", "results=/elsewhere")
    assert (said.code, "--out" in said.err) == (2, True)


@pytest.mark.parametrize(
    ("error", "code", "reason"),
    [
        (RecordsError("/x: no space left; make room"), 1, "/x: no space left"),
        (ZeroDivisionError("unforeseen"), 70, "unf"),
    ],
)
def test_one_failure_stops_nothing_and_is_a_line_with_its_reason(
    world: World, monkeypatch: pytest.MonkeyPatch, reported: list[list[str]], error: Exception, code: int, reason: str
) -> None:
    honest = command.simulated_with_bar

    def simulate(experiment: Any, *given: Any) -> Done:  # noqa: ANN401  # as they come
        if experiment.name == "second":
            raise error
        return honest(experiment, *given)

    monkeypatch.setattr(command, "simulated_with_bar", simulate)
    said = world.run("--simulate", *map(world.experiment, ("first", "second", "third")))
    assert said.code == code
    assert [name.partition("/")[0] for name in world.runs()] == ["first", "third"]
    assert reported == [["first", "third"]]
    assert re.search(rf"second +│ on the simulator +│ {re.escape(reason)}", said.out)


def test_a_trial_that_failed_is_a_reason_too_also_when_it_failed_before(
    world: World, monkeypatch: pytest.MonkeyPatch, reported: list[list[str]]
) -> None:
    monkeypatch.setattr(series.runs, "failed_trials", lambda _: 3)
    path = world.experiment("first")
    for _ in range(2):
        said = world.run("--simulate", path)
        assert (said.code, "3 of its trials failed" in said.out) == (1, True)
    assert reported == [["first"]] * 2


def test_ctrl_c_ends_all_of_it_and_the_same_command_goes_on(
    world: World, monkeypatch: pytest.MonkeyPatch, reported: list[list[str]]
) -> None:
    honest = command.simulated_with_bar
    began: list[str] = []

    def simulate(experiment: Any, *given: Any) -> Done:  # noqa: ANN401  # as they come
        began.append(experiment.name)
        if began == ["first", "second"]:
            raise KeyboardInterrupt
        return honest(experiment, *given)

    monkeypatch.setattr(command, "simulated_with_bar", simulate)
    words = ["--simulate", *map(world.experiment, ("first", "second", "third"))]
    said = world.run(*words)
    assert (said.code, reported) == (130, [])
    assert "the same command goes on" in said.err
    assert world.run(*words).code == 0
    assert began == ["first", "second", "second", "third"]
    assert reported == [["first", "second", "third"]]


@dataclass
class Playbook:
    """In the place of the playbook: what it was told, and what it comes to."""

    comes_to: Callable[[str], Played]
    told: list[str]

    def play(self, _: str, tell: object, *, inventories: object, extra_vars: Sequence[str]) -> Played:
        """Note the variables."""
        self.told += extra_vars
        return self.comes_to(extra_vars[-2])


@pytest.fixture
def played(monkeypatch: pytest.MonkeyPatch) -> Playbook:
    stands_for = Playbook(lambda _: WELL, [])
    monkeypatch.setattr(playbook, "play", stands_for.play)
    return stands_for


def test_what_only_the_simulator_can_run_runs_there_and_the_rest_by_the_playbook(
    world: World, played: Playbook, reported: list[list[str]], monkeypatch: pytest.MonkeyPatch
) -> None:
    for_all = "  - {name: c, workload: idle, min_mib: 1, initial_mib: 1, max_mib: 2, count: 12}\n"
    many = world.experiment("many", for_all)
    failed = replace(WELL, done=False, failures=("localhost: Preflight: no disk\nmore",))
    played.comes_to = lambda told: failed if "broken" in told else WELL
    there = world.out / "well" / "run"
    monkeypatch.setattr(series.runs, "failed_trials", lambda _: 0)
    honest = series.runs.finished

    def finished(experiment: Any, *given: Any) -> Path | None:  # noqa: ANN401  # as they come
        return there if experiment.name == "well" and played.told else honest(experiment, *given)

    monkeypatch.setattr(series.runs, "finished", finished)
    said = world.run(world.experiment("broken"), many, world.experiment("well"), "-e", "lab_clock=real")
    assert said.code == 1
    assert "many: on the simulator (it has 14 guests, and the lab has room for 12), about 1 s" in said.out
    assert re.search(r"broken: in the lab, at most \d+ min", said.out)
    assert [told for told in played.told if "experiment" in told] == [
        playbook.extra_var("experiment", str(world.folder / f"{name}.yml")) for name in ("broken", "well")
    ]
    assert playbook.extra_var("results", str(world.out)) in played.told
    assert "lab_clock=real" in played.told
    assert re.search(r"broken +│ in the lab +│ localhost: Preflight: no disk +│", said.out)
    assert reported == [["many", "well"]]


def test_a_playbook_that_is_stopped_ends_all_of_it(world: World, played: Playbook) -> None:
    played.comes_to = lambda _: replace(WELL, done=False, stopped=True)
    said = world.run(world.experiment("first"), world.experiment("second"))
    assert (said.code, len(played.told)) == (130, 2)


def test_one_experiment_by_itself_goes_the_way_it_always_went(world: World, played: Playbook) -> None:
    assert world.run(world.experiment("first")).code == 0
    assert [told.partition(":")[0] for told in played.told] == ['{"experiment"', '{"results"']


def test_of_all_experiments_those_that_cannot_be_simulated_are_left_out_and_named_ones_are_refused(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    assert len(series.parts(names(), Where.SIMULATOR, every=True)) > 30
    monkeypatch.setattr(effort, "not_simulated", lambda one: "no model" if one.name == "quick" else "")
    assert [part.named for part in series.parts(["quick", "e02-mono"], Where.SIMULATOR, every=True)] == ["e02-mono"]
    with pytest.raises(ConfigError, match="quick cannot be simulated: no model"):
        series.parts(["quick", "e02-mono"], Where.SIMULATOR)


def test_on_hosts_of_ones_own_nothing_is_done_to_guests() -> None:
    (part,) = series.parts(["e17-faults"], Where.HOSTS)
    assert (part.where, part.why) == (Where.SIMULATOR, "nothing is done to the guests of hosts of one's own")
    (part,) = series.parts(["e17-faults"], Where.LAB)
    assert part.where is Where.LAB


def test_what_an_experiment_takes_is_more_the_more_there_is_of_it() -> None:
    quick = load_experiment("quick")
    twice = quick.model_copy(update={"repetitions": 2 * quick.repetitions})
    for takes in (effort.hosts_most_s, effort.simulator_s):
        assert takes(twice) == pytest.approx(2 * takes(quick))
    assert effort.lab_most_s(twice) - effort.BUILD_S == pytest.approx(2 * (effort.lab_most_s(quick) - effort.BUILD_S))
    assert [effort.length(seconds) for seconds in (0.1, 80, 600, 9000)] == ["1 s", "80 s", "10 min", "2.5 h"]


def test_the_list_of_experiments_says_what_each_takes_in_the_lab_and_in_the_simulator() -> None:
    entries = {entry["name"]: entry for entry in catalog.all_experiments()}
    quick, scale = entries["quick"], entries["e15-scale"]
    assert quick["lab_most_min"] > quick["longest_min"] > quick["simulator_min"] > 0
    assert quick["only_simulated"] == ""
    assert (scale["lab_most_min"], scale["only_simulated"]) == (
        None, "it has 10002 guests, and the lab has room for 12",
    )  # fmt: skip
    assert all(entry["simulator_min"] for entry in entries.values()), "all of them can be simulated"
