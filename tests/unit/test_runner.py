"""All trials on real machines: which there are, in the lab and on hosts of one's own, and how a run goes on."""

from __future__ import annotations

import re
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field, replace
from pathlib import Path

import pytest

from harness.experiment import runner, told
from harness.experiment.config import Experiment
from harness.experiment.document import ConfigError
from harness.experiment.needs import library_of
from harness.experiment.plan import Trial
from harness.experiment.site import Site
from harness.progress import Progress
from harness.records import RunFolder, Stamp, TrialKey, TrialRow, TrialWriter, read_run
from harness.xen.machine import Machine

GUEST = {"name": "a", "workload": "idle", "min_mib": 160, "initial_mib": 200, "max_mib": 800}


def experiment(**keys: object) -> Experiment:
    policies = [{"name": name, "label": name} for name in ("static", "two-state")]
    fields = {"name": "small", "pool_mib": 900, "guests": [GUEST], "duration_s": 30, "policies": policies}
    return Experiment.model_validate({**fields, "repetitions": 2, **keys})


def site(lab: Path | None) -> Site:
    dom0 = Machine(
        name="dom0",
        address="127.0.0.1",
        port=22,
        user="root",
        key_file=Path("key"),
        known_hosts=Path("known"),
        domain="",
    )
    return Site(dom0=dom0, guests=(), lab=lab)


@dataclass
class Machines:
    """Stands for the machines: trials end at once, or are interrupted after so many."""

    last: int = 100
    lines: list[str] = field(default_factory=list)
    ran: list[Trial] = field(default_factory=list)

    def trial(
        self,
        experiment: object,
        trial: Trial,
        workloads: object,
        site: object,
        folder: RunFolder,
        progress: object,
        left: object,
    ) -> list[TrialRow]:
        """In the place of `_run_trial`."""
        if len(self.ran) == self.last:
            raise KeyboardInterrupt
        self.ran.append(trial)
        row = TrialRow(guest="a", workload="idle", status="ok", started=Stamp.now(), duration_s=1.0)
        policy = trial.policy
        key = TrialKey(run=folder.run, block=trial.block, order=trial.order, policy=policy.name, label=policy.label)
        with TrialWriter(folder, key) as writer:
            writer.finish([row])
        return [row]


@pytest.fixture
def run(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Callable[..., Machines]:
    def run(lab: Path | None, last: int = 100, **keys: object) -> Machines:
        machines = Machines(last=last)
        monkeypatch.setattr(runner, "_run_trial", machines.trial)
        monkeypatch.setattr(runner, "told_by_all", lambda *_: {"lab": lab is not None})
        with suppress(KeyboardInterrupt):
            runner.run(experiment(**keys), {"": site(lab)}, tmp_path, Progress(machines.lines.append))
        return machines

    return run


def labels(machines: Machines) -> list[str]:
    return sorted(f"{trial.block} {trial.policy.label}" for trial in machines.ran)


def test_in_the_lab_the_baseline_runs_twice_in_every_block_and_is_counted(run: Callable[..., Machines]) -> None:
    machines = run(Path("lab"))
    assert labels(machines) == [f"{n} {label}" for n in (1, 2) for label in ("static", "static (again)", "two-state")]
    assert [line for line in machines.lines if re.search("trial 6 of 6: ", line)]
    assert {trial.policy.name for trial in machines.ran if trial.policy.label == "static (again)"} == {"static"}


def test_on_hosts_of_ones_own_and_where_an_experiment_says_no_it_runs_once(run: Callable[..., Machines]) -> None:
    once = [f"{n} {label}" for n in (1, 2) for label in ("static", "two-state")]
    assert labels(run(None)) == once
    assert labels(run(Path("lab"), repeat_baseline=False)) == once


def test_what_was_stopped_goes_on_with_the_rest_of_the_same_plan(run: Callable[..., Machines], tmp_path: Path) -> None:
    first, second = run(Path("lab"), last=3), run(Path("lab"))
    assert [(t.block, t.order) for t in (*first.ran, *second.ran)] == [(b, o) for b in (1, 2) for o in (1, 2, 3)]
    together = labels(Machines(ran=[*first.ran, *second.ran]))
    assert together == [f"{n} {label}" for n in (1, 2) for label in ("static", "static (again)", "two-state")]
    assert [line for line in second.lines if "trial 4 of 6: " in line]


def test_a_run_of_the_lab_is_not_gone_on_with_elsewhere_where_there_are_fewer_trials(
    run: Callable[..., Machines], tmp_path: Path
) -> None:
    run(Path("lab"), last=1)
    assert len(run(None).ran) == 4
    runs = [read_run(path) for path in sorted((tmp_path / "small").iterdir())]
    assert sorted(len(one.manifest["seeds"]) for one in runs) == [4, 6]
    assert all(one.manifest["experiment"]["repeat_baseline"] for one in runs)


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Who was asked what it is."""
    names: list[str] = []

    def say(machine: Machine, *_: object) -> dict[str, str]:
        names.append(machine.name)
        return {"version": "4.17", "total_memory_mib": "4096"}

    monkeypatch.setattr(told, "describe", say)
    monkeypatch.setattr(told, "installed", say)
    return names


def tell(lab: Path | None, **keys: object) -> dict[str, object]:
    wanted, where = experiment(**keys), site(lab)
    guests = tuple(replace(where.dom0, name=guest.name) for guest in wanted.guests)
    return told.told_by(wanted, library_of(wanted), replace(where, guests=guests))


def test_the_machines_of_a_snapshot_are_asked_once_for_every_set_of_packages(asked: list[str], tmp_path: Path) -> None:
    (tmp_path / "frozen").mkdir()
    first = tell(tmp_path)
    assert asked == ["dom0", "a"]
    assert tell(tmp_path) == first
    assert asked == ["dom0", "a"]
    tell(tmp_path, guests=[{**GUEST, "workload": "7zip"}])
    assert asked == ["dom0", "a"] * 2
    for path in tmp_path.glob("told-*"):
        path.write_text("[cut o")
    assert tell(tmp_path) == first
    assert asked == ["dom0", "a"] * 3


@pytest.mark.parametrize("lab", [True, False])
def test_machines_that_can_change_are_asked_every_time(lab: bool, asked: list[str], tmp_path: Path) -> None:
    for _ in range(2):
        tell(tmp_path if lab else None)
    assert asked == ["dom0", "a"] * 2
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("kind", "lab", "said"),
    [
        ("paused", False, "guest a has a behaviour, and nothing is done to the guests of hosts of one's own"),
        (
            "slow",
            True,
            "guest a is to be slow, and the lab's guests can be babbling, claiming, flooding, lying, paused, rebooting",
        ),
    ],
)
@pytest.mark.usefixtures("asked")
def test_a_guest_is_made_to_misbehave_only_where_it_can_be(kind: str, lab: bool, said: str, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=said):
        tell(tmp_path if lab else None, guests=[{**GUEST, "behaviour": {"kind": kind}}])


def test_the_lab_pauses_a_guest_when_it_is_told_to(asked: list[str], tmp_path: Path) -> None:
    assert tell(tmp_path, guests=[{**GUEST, "behaviour": {"kind": "paused"}}])
    assert asked == ["dom0", "a"]
