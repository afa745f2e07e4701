"""A campaign: who holds its run, which run it goes on with and why not, and a host that is away for a while."""

from __future__ import annotations

import json
import os
import re
import signal
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import Any, NoReturn, cast

import pytest

from harness.clocks import SystemClock
from harness.experiment import runner, runs
from harness.experiment.away import HostAwayError, Patience
from harness.experiment.config import Experiment
from harness.experiment.live import LiveTrial, TrialError
from harness.experiment.manifest import SOURCES, sources_sha256
from harness.experiment.plan import Trial, plan
from harness.experiment.workloads import load_workloads
from harness.lab.image import LabError
from harness.policies.equal import Equal
from harness.progress import Progress
from harness.records import HeldError, RecordsError, RunFolder, TrialRow, held, read_run
from harness.simulator import runner as simulator
from harness.simulator.machine import load_machine
from harness.view import HostView
from harness.xen.host import HostError, HostRefusedError
from harness.xen.ssh import ConnectionFailed
from tests.unit.test_kills import FORK, LONGEST_S, ended, started
from tests.unit.test_live_start import EXPERIMENT, Host, Writer
from tests.unit.test_runner import Machines, experiment, site
from tests.unit.test_view import GUEST, view_json


def holds(path: Path, known: Any) -> None:  # noqa: ANN401
    """In a process of its own: hold a run, fork one that lives on, and wait to be killed."""
    sys.argv = ["ballast", "trials", "quick"]
    with held(path):
        if os.fork() == 0:
            time.sleep(0.5)
            os._exit(0)
        known.set()
        signal.pause()


@pytest.fixture
def holder(tmp_path: Path) -> Iterator[BaseProcess]:
    known = FORK.Event()
    process = FORK.Process(target=holds, args=(tmp_path, known))
    process.start()
    assert known.wait(LONGEST_S)
    yield process
    process.kill()
    process.join()


def test_a_second_start_hears_who_is_at_work_on_the_run_since_when_and_how_to_go_on(
    holder: BaseProcess,
    tmp_path: Path,
) -> None:
    with pytest.raises(HeldError) as refused, held(tmp_path):
        pass
    said = str(refused.value)
    assert f"process {holder.pid} on " in said
    assert re.search(r"since \d{4}-\d\d-\d\dT.* \(ballast trials quick\)\. Wait .*kill \d+.*goes on", said)


def test_a_run_is_free_when_its_holder_was_killed_and_all_that_it_forked_have_ended(
    holder: BaseProcess,
    tmp_path: Path,
) -> None:
    holder.kill()
    holder.join()
    with pytest.raises(HeldError), held(tmp_path):
        pass
    time.sleep(1)
    with held(tmp_path):
        pass


def test_a_simulation_that_is_started_twice_runs_once_and_the_second_changes_nothing(tmp_path: Path) -> None:
    first = started(tmp_path)
    attempt, *_ = _wait_for(lambda: list((tmp_path / "small").glob("*/trials/*.new")))
    assert first.pid
    os.kill(first.pid, signal.SIGSTOP)
    try:
        assert ended(started(tmp_path)) == 2
    finally:
        os.kill(first.pid, signal.SIGCONT)
    assert ended(first) == 0
    assert f"process {first.pid} on" in (tmp_path / "said").read_text()
    assert read_run(attempt.parents[1]).changed_files == {}
    assert len(list((tmp_path / "small").iterdir())) == 1


def _wait_for(what: Callable[[], list[Path]]) -> list[Path]:
    until_s = time.monotonic() + LONGEST_S
    while not (found := what()):
        assert time.monotonic() < until_s
        time.sleep(0.005)
    return found


def test_starts_at_the_same_instant_never_work_on_one_run_at_the_same_time(tmp_path: Path) -> None:
    campaigns = [started(tmp_path), *(started(tmp_path) for _ in range(3))]
    assert {ended(campaign) for campaign in campaigns} <= {0, 2}
    assert "Traceback" not in (tmp_path / "said").read_text()
    for path in (tmp_path / "small").iterdir():
        assert RunFolder.open(path).sealed
        assert len(read_run(path).trials.groupby(["block", "order"])) == 6


Begin = Callable[..., tuple[Path, list[str]]]


@pytest.fixture
def begin(tmp_path: Path) -> Begin:
    """Run two trials of a small experiment, or so many; returns the run's folder and what was said."""

    def begin(last: int = 2, **keys: object) -> tuple[Path, list[str]]:
        lines: list[str] = []
        with runs.open_run(
            experiment(**keys), (trials := plan(experiment(**keys))), tmp_path, "xen", dict, say=lines.append
        ) as folder:
            machines = Machines(last=last)
            todo = [trial for trial in trials if (trial.block, trial.order) not in folder.finished()]
            with suppress(KeyboardInterrupt):
                for trial in todo:
                    machines.trial(None, trial, None, None, folder, None, None)
                folder.seal()
        return folder.path, lines

    return begin


def test_an_edited_source_begins_a_new_run_and_it_is_said_why_the_old_one_is_not_gone_on_with(
    begin: Begin, monkeypatch: pytest.MonkeyPatch
) -> None:
    first, _ = begin()
    assert begin(last=0) == (first, [])
    monkeypatch.setattr(runs, "sources_sha256", lambda: "another")
    second, said = begin()
    assert second != first
    assert said == [
        f"not going on with {first}, of which 2 trials have ended: files of harness/ or workloads/ are others"
    ]


def test_a_source_that_is_edited_between_two_trials_stops_the_campaign_and_the_run_stays_of_one_source(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    machines, _, _, run = campaign(monkeypatch, tmp_path, away=0)
    real = runs.sources_sha256
    monkeypatch.setattr(runs, "sources_sha256", lambda: "edited" if len(machines.ran) == 2 else real())
    with pytest.raises(RecordsError, match=r"edited while it ran.*undo that"):
        run()
    monkeypatch.setattr(runs, "sources_sha256", real)
    run()
    assert len(machines.ran) == 4
    (path,) = (tmp_path / "small").iterdir()
    assert RunFolder.open(path).sealed


@pytest.mark.parametrize("keys", [{"duration_s": 40}, {"repetitions": 3}])
def test_another_experiment_begins_a_new_run_and_that_is_said_too(begin: Begin, keys: dict[str, object]) -> None:
    first, _ = begin()
    second, said = begin(**keys)
    assert second != first
    assert "the experiment is another" in said[0]


def test_what_decides_what_a_trial_does_is_in_the_digest_and_what_editors_leave_is_not(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    assert {folder.name for folder in SOURCES} == {"harness", "workloads"}
    monkeypatch.setattr("harness.experiment.manifest.PROJECT", tmp_path)
    monkeypatch.setattr("harness.experiment.manifest.SOURCES", [tmp_path / "policies"])
    (tmp_path / "policies" / "__pycache__").mkdir(parents=True)
    policy = tmp_path / "policies" / "price.py"
    policy.write_text("tax = 1\n")
    before = sources_sha256()
    (tmp_path / "policies" / "__pycache__" / "price.pyc").touch()
    (tmp_path / "policies" / ".price.py.swp").touch()
    assert sources_sha256() == before
    policy.write_text("tax = 2\n")
    assert sources_sha256() != before


def cut(manifest: Path) -> None:
    manifest.write_text(manifest.read_text()[:200])


@pytest.mark.parametrize("harm", [cut, Path.unlink, lambda path: path.write_bytes(b"\0" * 99)])
def test_a_damaged_manifest_of_the_newest_run_is_said_and_nothing_is_begun_in_its_place(
    begin: Begin, harm: Callable[[Path], object], tmp_path: Path
) -> None:
    path, _ = begin()
    harm(path / "manifest.json")
    with pytest.raises(RecordsError, match=r"manifest.json is .*2 of its trials have ended.*move .* away"):
        begin()
    path.rename(tmp_path / "away")
    assert RunFolder.open(begin()[0]).finished() == {(1, 1), (1, 2)}


def test_a_run_that_was_killed_before_its_first_trial_holds_up_nobody(begin: Begin) -> None:
    path, _ = begin(last=0)
    (path / "manifest.json").unlink()
    again, said = begin()
    assert (again != path, said) == (True, [])


def test_a_damaged_trial_is_said_when_the_campaign_goes_on_and_the_run_is_not_abandoned(begin: Begin) -> None:
    path, _ = begin(last=3)
    (path / "trials" / "001-02" / "samples.csv").write_bytes(b"")
    (path / "trials.csv").write_bytes(b"\0" * 50)
    (path / "trials" / "notes").mkdir()
    again, said = begin(last=9)
    assert again == path
    assert [line.partition(": ")[0] for line in said] == [str(path / "trials" / name) for name in ("001-02", "notes")]
    assert len(read_run(path).trials) == 4


class Time:
    """A clock that goes on by what is slept."""

    def __init__(self) -> None:
        self.now_s, self.slept = 1000.0, list[float]()

    def sleep(self, seconds: float) -> None:
        self.slept.append(seconds)
        self.now_s += seconds


def campaign(
    monkeypatch: pytest.MonkeyPatch, out: Path, away: int
) -> tuple[Machines, list[str], Time, Callable[[], object]]:
    """A campaign on a host that is away for so many attempts at its second trial."""
    machines, lines, clock, left = Machines(), list[str](), Time(), [away]

    def trial(*given: Any) -> list[TrialRow]:  # noqa: ANN401
        if len(machines.ran) == 1 and left[0]:
            left[0] -= 1
            raise HostAwayError("dom0: no route.")
        return machines.trial(*given)

    monkeypatch.setattr(runner, "_run_trial", trial)
    monkeypatch.setattr(runner, "told_by_all", lambda *_: {})
    patience = Patience(now_s=lambda: clock.now_s, sleep=clock.sleep)
    run = lambda: runner.run(experiment(), {"": site(None)}, out, Progress(lines.append), patience)  # noqa: E731
    return machines, lines, clock, run


def test_a_host_that_is_away_is_waited_for_with_growing_pauses_and_no_trial_is_lost_over_it(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    machines, lines, clock, run = campaign(monkeypatch, tmp_path, away=4)
    run()
    assert clock.slept == [5, 10, 20, 40]
    assert sum("not done, tried again in" in line and "no route" in line for line in lines) == 4
    assert len(machines.ran) == 4
    assert set(read_run(next((tmp_path / "small").iterdir())).trials["status"]) == {"ok"}


def test_a_host_that_stays_away_ends_the_campaign_unsealed_with_the_reason_and_it_is_gone_on_with(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    machines, _, clock, run = campaign(monkeypatch, tmp_path, away=1000)
    with pytest.raises(HostAwayError, match=r"no route\. It was tried again for 10 min\. .* is not sealed; .* trial 2"):
        run()
    assert sum(clock.slept) == 600
    assert len(machines.ran) == 1
    (path,) = (tmp_path / "small").iterdir()
    assert RunFolder.open(path).finished() == {(1, 1)}
    assert not RunFolder.open(path).sealed
    machines, _, _, run = campaign(monkeypatch, tmp_path, away=0)
    run()
    assert (len(machines.ran), RunFolder.open(path).sealed) == (3, True)


class Events(Writer):
    """Keeps what was told in words too."""

    def event(self, event: str, *, guest: str | None = None, detail: str = "") -> None:
        self.happened.append((event, detail))


def live_trial() -> LiveTrial:
    trial: Trial = plan(EXPERIMENT)[0]
    return LiveTrial(
        EXPERIMENT, trial, load_workloads(names=["mono"]), cast("Any", None), cast("Any", Events([])), lambda _: None,
        SystemClock(),
    )  # fmt: skip


def raising(error: Exception) -> Callable[..., NoReturn]:
    def fail(*_: object) -> NoReturn:
        raise error

    return fail


@pytest.mark.parametrize(
    "error",
    [
        ConnectionFailed("dom0: another agent is at work there"),
        HostError("dom0: no answer"),
        LabError("held by another"),
    ],
)
def test_a_trial_that_could_not_reach_dom0_has_no_rows(monkeypatch: pytest.MonkeyPatch, error: Exception) -> None:
    monkeypatch.setattr(LiveTrial, "_connect", raising(error))
    with pytest.raises(HostAwayError, match=str(error)):
        live_trial().run()


@pytest.mark.parametrize("error", [TrialError("no sample from g1"), HostRefusedError("dom0: xl failed")])
def test_a_trial_that_fails_while_dom0_answers_is_lost_unless_dom0_was_lost_too(
    monkeypatch: pytest.MonkeyPatch, error: Exception
) -> None:
    monkeypatch.setattr(LiveTrial, "_connect", raising(error))
    rows = live_trial().run()
    assert {(row.status, row.reason) for row in rows} == {("lost", str(error))}
    cut_off = live_trial()
    cut_off._tell("host_lost", "", "cut off")
    with pytest.raises(HostAwayError, match=f"{error}, when dom0 was lost too: cut off"):
        cut_off.run()


def test_a_policy_that_raises_is_a_failed_row_of_a_live_trial_with_exception_and_place(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    seen = HostView.from_json(view_json({**GUEST, "name": "g1", "age_s": 0.1}))
    ports = type("Ports", (), {"host": Host(), "source": type("Source", (), {"view": lambda self: seen})()})()
    for name in ("_settle", "_begin", "_stop_work"):
        monkeypatch.setattr(LiveTrial, name, lambda *_: None)
    monkeypatch.setattr(LiveTrial, "_connect", lambda *_: ports)
    monkeypatch.setattr(LiveTrial, "_working", lambda _: True)
    trial = live_trial()
    monkeypatch.setattr(type(trial.trial.policy), "make", lambda _: Raising())
    rows = trial.run()
    assert [row.guest for row in rows] == ["g1", "g2", "g3"]
    assert {row.status for row in rows} == {"failed"}
    assert re.search(r"equal raised ZeroDivisionError: .* \(.*\.py:\d+ in decide\)", rows[0].reason)


class Raising(Equal):
    """It divides by nothing."""

    def __init__(self) -> None:
        super().__init__(cast("Any", None))

    def decide(self, view: HostView) -> Any:  # noqa: ANN401
        return len(view) // 0


def test_a_policy_that_raises_is_a_trial_of_its_own_that_fails_and_the_campaign_goes_on(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    wanted = Experiment.model_validate({
        "name": "small", "pool_mib": 900, "duration_s": 20, "repetitions": 2, "guests": [
            {"name": "a", "workload": "mono", "min_mib": 160, "initial_mib": 300, "max_mib": 800},
            {"name": "b", "workload": "idle", "min_mib": 160, "initial_mib": 300, "max_mib": 800},
        ], "policies": [{"name": name, "label": name} for name in ("static", "equal", "oracle")],
    })  # fmt: skip
    monkeypatch.setattr(Equal, "decide", Raising.decide)
    done = simulator.simulate(wanted, tmp_path, load_machine(), simulator.one_by_one, lambda *_: None)
    assert (done.trials, done.failed) == (6, 2)
    run = read_run(done.folder)
    status = run.trials.groupby("label")["status"].unique().map(list).to_dict()
    assert status == {"static": ["ok"], "equal": ["failed"], "oracle": ["ok"]}
    reasons = set(run.trials.loc[run.trials["label"] == "equal", "reason"])
    assert re.fullmatch(r"the policy equal raised ZeroDivisionError: .* \(.*:\d+ in decide\)", reasons.pop())
    assert run.events["event"].tolist() == ["trial_failed"] * 2
    assert json.loads((done.folder / "manifest.json").read_text())["finished_utc"]
