"""All trials of an experiment on real machines: in the plan's order, resumable, each from the same beginning."""

from __future__ import annotations

import contextlib
import secrets
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from harness.experiment.config import Experiment
from harness.experiment.document import ConfigError
from harness.experiment.live import LiveTrial
from harness.experiment.manifest import manifest, source
from harness.experiment.plan import Trial, plan
from harness.experiment.site import Site
from harness.experiment.workloads import Workload, load_workloads
from harness.lab import access
from harness.lab.lab import Lab
from harness.progress import Progress
from harness.records import RecordsError, RunFolder, TrialKey, TrialRow, TrialWriter, read_run
from harness.xen.describe import describe

BACKEND = "xen"
OVERHEAD_S = 15.0
"""What a trial takes beside its own time, as long as none has been measured."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Done:
    """What came of an experiment."""

    folder: Path
    trials: int
    """That ran now; others had ended before."""
    failed: int
    """Of all of the run's trials, those with a guest whose status is not ok."""


def open_run(experiment: Experiment, out: Path, xen: Callable[[], Mapping[str, Any]]) -> RunFolder:
    """Go on with the newest run of the same experiment and source that has not ended, or begin a new one.

    Raises:
        ConfigError: the experiment asks for more memory than the host has.

    """
    home = out / experiment.name
    for path in sorted(home.glob("*"), reverse=True):
        # A folder without a readable manifest is none of ours, or was killed at its very beginning.
        with contextlib.suppress(RecordsError):
            run = RunFolder.open(path)
            same = run.manifest["experiment"] == experiment.resolved() and run.manifest.get("git") == source()
            if same and run.backend == BACKEND and run.resumable and not run.manifest.get("finished_utc"):
                return run
    name = f"{datetime.now(UTC):%Y%m%dT%H%M%SZ}-{secrets.token_hex(2)}"
    told = xen()
    wanted_mib, total_mib = experiment.pool_mib + experiment.reserve_mib, int(told.get("total_memory_mib", 0))
    if total_mib and wanted_mib > total_mib:
        said = f"pool_mib + reserve_mib is {wanted_mib}, and the Xen host has {total_mib} MiB in all; lower pool_mib"
        raise ConfigError(f"experiment {experiment.name}: {said}")
    return RunFolder.create(home / name, manifest(name, experiment, BACKEND, told))


def run(experiment: Experiment, site: Site, out: Path, progress: Progress) -> Done:
    """Run every trial that has not ended yet.

    Whoever interrupts this leaves a run that the next call goes on with; the guests are then at their safe targets.

    Raises:
        ConnectionFailed: the Xen host cannot even be asked what it is.
        LabError: the lab went away.
    """
    workloads = load_workloads(names=[guest.workload for guest in experiment.guests])
    folder = open_run(experiment, out, lambda: describe(site.dom0) | _lab_facts(site))
    ended = folder.finished()
    todo = [trial for trial in plan(experiment) if (trial.block, trial.order) not in ended]
    if ended and todo:
        progress.say(f"going on with {folder.path}: {len(ended)} trials had ended")
    began_s, total = time.monotonic(), len(todo) + len(ended)
    for number, trial in enumerate(todo):
        each_s = (time.monotonic() - began_s) / number if number else experiment.duration_s + OVERHEAD_S
        left = f"about {(len(todo) - number) * each_s / 60:.1f} min left"
        progress.say(f"trial {len(ended) + number + 1} of {total}: {trial.policy.label}, block {trial.block}; {left}")
        rows = _run_trial(experiment, trial, workloads, site, folder, progress)
        progress.say(_told(trial, rows))
    folder = folder.seal()
    return Done(folder=folder.path, trials=len(todo), failed=_failed(folder))


def _run_trial(
    experiment: Experiment,
    trial: Trial,
    workloads: Mapping[str, Workload],
    site: Site,
    folder: RunFolder,
    progress: Progress,
) -> list[TrialRow]:
    key = TrialKey(
        run=folder.run, block=trial.block, order=trial.order, policy=trial.policy.name, label=trial.policy.label
    )
    seen = [""]

    def watch(what: str) -> None:
        seen[0] = what

    with TrialWriter(folder, key) as writer, progress.alive(lambda: f"{trial.policy.label}: {seen[0]}"):
        if site.lab is not None:
            watch("the lab goes back to its snapshot")
            restore(Lab(site.lab), writer)
        rows = LiveTrial(
            experiment=experiment, trial=trial, workloads=workloads, site=site, writer=writer, watch=watch
        ).run()
        writer.finish(rows)
    return rows


def restore(lab: Lab, writer: TrialWriter) -> None:
    """Put the lab back to its snapshot, and wait until all of it answers."""
    lab.restore()
    state = lab.state()
    access.wait(state.ports if state else {}, lambda _: None)
    writer.event("lab_restored")


def _lab_facts(site: Site) -> dict[str, Any]:
    state = Lab(site.lab).state() if site.lab else None
    if state is None:
        return {"lab": False}
    return {"lab": True, "accelerator": state.accelerator, "accelerator_why": state.why, "memory_mib": state.memory_mib}


def _told(trial: Trial, rows: list[TrialRow]) -> str:
    """What came of a trial, in a line."""
    parts: dict[str, str] = {}
    for row in rows:
        if row.status != "ok":
            parts[row.guest] = f"{row.guest} {row.status}: {row.reason.splitlines()[0][:80]}"
        elif row.value is not None:
            parts.setdefault(row.guest, f"{row.guest} {row.value:.4g} {row.unit}")
    return f"   {trial.policy.label}: {'; '.join(parts.values())}"


def _failed(folder: RunFolder) -> int:
    trials = read_run(folder.path).trials
    return int(trials.loc[trials.status != "ok", ["block", "order"]].drop_duplicates().shape[0])
