"""All trials of an experiment on real machines: in the plan's order, resumable, each from the same beginning."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from functools import partial
from itertools import chain
from pathlib import Path

from harness.experiment.away import HostAwayError, Patience
from harness.experiment.config import Experiment
from harness.experiment.live import LiveTrial
from harness.experiment.needs import library_of
from harness.experiment.plan import Trial, plan
from harness.experiment.repeating import Repeating
from harness.experiment.runs import Done, check_source, failed_trials, open_run
from harness.experiment.site import Site, Sites
from harness.experiment.together import Begin, Part, Watch, at_once, together
from harness.experiment.told import told_by_all
from harness.experiment.workloads import Workload
from harness.lab import disks, shape
from harness.lab.lab import Lab
from harness.policies import SIMULATED
from harness.ports import Clock
from harness.progress import Progress
from harness.records import RunFolder, Stamp, TickWriter, TrialKey, TrialRow, TrialWriter

BACKEND = "xen"
OVERHEAD_S = 15.0
"""What a trial takes beside its own time, as long as none has been measured."""
PATIENCE = Patience()


def run(experiment: Experiment, sites: Sites, out: Path, progress: Progress, patience: Patience = PATIENCE) -> Done:
    """Run every trial that has not ended yet, but for policies that only the simulator can run.

    In the lab the baseline runs twice in every block, unless the experiment says no. Where the guests are spread over
    several hosts, a trial is one of all of them, each with an arbiter of its own.

    Whoever interrupts this leaves a run that the next call goes on with; the guests are then at their safe targets. A
    trial that could not reach the host is not done: it is tried again for as long as `patience` says.

    Raises:
        HostAwayError: the host is away for longer; the run is not sealed.
        RecordsError: somebody else is at work on the run, it is damaged or not to be written, or the source was edited.
        ConfigError: guests are to behave as they cannot here, or want more memory than the host has.
        ConnectionFailed: the Xen host or a guest cannot even be asked what it is.
        LabError: the lab went away.
    """
    workloads = library_of(experiment)
    every = plan(experiment, repeat_baseline=experiment.repeat_baseline and all(site.lab for site in sites.values()))
    told = partial(told_by_all, experiment, workloads, sites)
    with open_run(experiment, every, out, BACKEND, told, say=progress.say) as folder:
        ended = folder.finished()
        repeating = Repeating(experiment=experiment, trials=every, folder=folder, simulated=False)
        if left_out := {choice.label for choice in experiment.policies if choice.name in SIMULATED}:
            progress.say(f"left out, for only the simulator can run it: {', '.join(sorted(left_out))}")
        total = sum(trial.policy.name not in SIMULATED for trial in every)
        if 0 < len(ended) < total:
            progress.say(f"going on with {folder.path}: {len(ended)} trials had ended")
        began_s, ran = time.monotonic(), 0
        for trial in _real(chain.from_iterable(repeating.portions())):
            if (trial.block, trial.order) in ended:
                continue
            check_source(folder)
            each_s = (time.monotonic() - began_s) / ran if ran else experiment.duration_s + OVERHEAD_S
            left = partial(_left, time.monotonic() + (total - len(ended) - ran) * each_s)
            most = "" if experiment.repeat_until is None else "at most "
            place = f"trial {len(ended) + ran + 1} of {most}{total}: {trial.policy.label}, block {trial.block}"
            progress.say(f"{place}; {left()}")
            attempt = partial(_run_trial, experiment, trial, workloads, sites, folder, progress, left)
            try:
                rows = patience.keep_trying(attempt, progress.say)
            except HostAwayError as error:
                said = f"{error} {folder.path} is not sealed; the same command goes on with {place}"
                raise HostAwayError(said) from error
            ran += 1
            progress.say(_told(trial, rows))
        folder = folder.update_manifest(repeating.told()) if repeating.told() else folder
        folder = folder.seal((trial.block, trial.order) for trial in _real(repeating.planned()))
        return Done(folder=folder.path, trials=ran, failed=failed_trials(folder.path))


def _real(trials: Iterable[Trial]) -> Iterator[Trial]:
    """Those of policies that a real host can run."""
    return (trial for trial in trials if trial.policy.name not in SIMULATED)


def _run_trial(
    experiment: Experiment,
    trial: Trial,
    workloads: Mapping[str, Workload],
    sites: Sites,
    folder: RunFolder,
    progress: Progress,
    left: Callable[[], str],
) -> list[TrialRow]:
    key = TrialKey(
        run=folder.run,
        block=trial.block,
        order=trial.order,
        policy=trial.policy.name,
        label=trial.policy.label,
        level=experiment.place(trial.level),
    )
    seen = [""]

    def watch(what: str) -> None:
        seen[0] = what

    clocks = {host: site.clock() for host, site in sites.items()}
    stamps = {host: partial(_stamp, clock) for host, clock in clocks.items()}

    def part(host: str, writer: TickWriter) -> Part:
        def run(begin: Begin, watch: Watch) -> list[TrialRow]:
            reset(one := parts[host], trial, workloads, sites[host], writer, watch)
            concrete = one.at(trial.level, trial.policy.name)
            return LiveTrial(
                experiment=concrete, trial=trial, workloads=workloads, writer=writer, watch=watch, begin=begin,
                site=sites[host].only([guest.name for guest in concrete.guests]), clock=clocks[host],
            ).run()  # fmt: skip

        return run

    parts = experiment.parts()
    with (
        TrialWriter(folder, key, stamp=stamps.get("", Stamp.now)) as writer,
        progress.alive(lambda: f"{trial.policy.label}: {seen[0]}; {left()}"),
    ):
        if "" in sites:
            rows = part("", writer)(at_once, watch)
        else:
            rows = together({host: part(host, writer.on(host, stamp)) for host, stamp in stamps.items()}, watch)
        writer.finish(rows)
    return rows


def _stamp(clock: Clock) -> Stamp:
    return Stamp.at(clock.now_s())


def reset(
    experiment: Experiment,
    trial: Trial,
    workloads: Mapping[str, Workload],
    site: Site,
    writer: TickWriter,
    watch: Watch,
) -> None:
    """Put a lab back to its snapshot, with the disks that the trial wants; a host of one's own is as it is."""
    if site.lab is not None:
        watch("the lab goes back to its snapshot")
        restore(Lab(site.lab), writer)
        disks.change(Lab(site.lab), shape.of(experiment, workloads), experiment.at(trial.level).lab, watch)


def restore(lab: Lab, writer: TickWriter) -> None:
    """Put the lab back to its snapshot. Whoever connects next waits until it answers."""
    lab.restore()
    writer.event("lab_restored")


def _left(end_s: float) -> str:
    """How long it still takes by the clock on the wall, as far as the trials before tell."""
    return f"about {max(0.0, end_s - time.monotonic()) / 60:.1f} min left"


def _told(trial: Trial, rows: list[TrialRow]) -> str:
    """What came of a trial, in a line."""
    parts: dict[str, str] = {}
    for row in rows:
        if row.status != "ok":
            parts[row.guest] = f"{row.guest} {row.status}: {row.reason.splitlines()[0][:80]}"
        elif row.value is not None:
            parts.setdefault(row.guest, f"{row.guest} {row.value:.4g} {row.unit}")
    return f"   {trial.policy.label}: {'; '.join(parts.values())}"
