"""All trials of an experiment on the simulator, several at a time; resumable, with the files of a real run."""

from __future__ import annotations

import gc
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from harness.experiment.config import Experiment
from harness.experiment.document import ConfigError
from harness.experiment.plan import Trial, plan
from harness.experiment.repeating import Repeating
from harness.experiment.runs import Done, failed_trials, open_run
from harness.experiment.workloads import Workload, load_workloads
from harness.records import RunFolder, TrialKey, TrialRow, TrialWriter
from harness.simulator.loads import ModelError, load_of
from harness.simulator.machine import Machine
from harness.simulator.trial import SimulatedTrial, VirtualStamp
from harness.simulator.workers import map_in_processes

BACKEND = "simulator"


@dataclass(frozen=True, slots=True, kw_only=True)
class Task:
    """What a process needs to simulate one trial."""

    folder: RunFolder
    """Handed over as it is: to open it would put its files together anew for every trial."""
    experiment: Experiment
    trial: Trial
    workloads: Mapping[str, Workload]
    """As they were read when the campaign began: what is edited meanwhile is for the next."""
    machine: Machine


Spread = Callable[[Callable[[Task], Trial], Sequence[Task]], Iterable[Trial]]
"""How trials are spread over processors; yields those that have ended."""


def simulate(
    experiment: Experiment,
    out: Path,
    machine: Machine,
    spread: Spread,
    ended: Callable[[int, int], None],
    say: Callable[[str], None] = lambda _: None,
) -> Done:
    """Simulate every trial that has not ended yet. `ended` is told how many have, and of how many.

    Whoever interrupts this leaves a run that the next call goes on with.

    Raises:
        ConfigError: a workload has no model.
        RecordsError: somebody else is at work on the run, it is damaged, or it cannot be written.

    """
    machine = machine.but(experiment.machine)
    workloads = load_workloads(names=[guest.workload for level in experiment.levels() for guest in level.guests])
    for level in experiment.levels():
        check_models(level, workloads)
    host = {"machine": machine.model_dump()}
    trials = plan(experiment)  # with the same seed the baseline would do the same again
    with open_run(experiment, trials, out, BACKEND, lambda: host, lambda told: told == host, say) as folder:
        finished, ran = folder.finished(), 0
        repeating = Repeating(experiment=experiment, trials=trials, folder=folder, simulated=True)
        ended(len(finished), len(trials))
        for portion in repeating.portions():
            todo = [
                Task(folder=folder, experiment=experiment, trial=trial, workloads=workloads, machine=machine)
                for trial in portion
                if (trial.block, trial.order) not in finished
            ]
            for _ in spread(run_task, todo) if todo else ():
                ran += 1
                ended(len(finished) + ran, len(trials))
        folder = folder.update_manifest(repeating.told()) if repeating.told() else folder
        folder = folder.seal((trial.block, trial.order) for trial in repeating.planned())
        return Done(folder=folder.path, trials=ran, failed=failed_trials(folder.path))


def run_task(task: Task) -> Trial:
    """Simulate one trial into its own folder; it joins the run's files at the next commit."""
    trial, experiment = task.trial, task.experiment
    key = TrialKey(
        run=task.folder.run, block=trial.block, order=trial.order, policy=trial.policy.name, label=trial.policy.label,
        level=experiment.place(trial.level),
    )  # fmt: skip
    whole = VirtualStamp()
    with _uncollected(), TrialWriter(task.folder, key, stamp=whole, at_once=False) as writer:
        rows: list[TrialRow] = []
        for host, part in experiment.parts().items():
            stamp = VirtualStamp() if host else whole
            rows += SimulatedTrial(
                experiment=part.at(trial.level, trial.policy.name), trial=trial, workloads=task.workloads,
                machine=task.machine, writer=writer.on(host, stamp) if host else writer, stamp=stamp,
            ).run()  # fmt: skip
        writer.finish(rows, commit=False)
    return trial


@contextmanager
def _uncollected() -> Iterator[None]:
    """Do not look for cycles of garbage: a tick makes and drops thousands of objects, and none of them in a cycle."""
    was = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was:
            gc.enable()


def one_by_one(work: Callable[[Task], Trial], tasks: Sequence[Task]) -> Iterator[Trial]:
    """In this process."""
    return map(work, tasks)


def in_processes(jobs: int) -> Spread:
    """Over processes of this machine."""
    return partial(map_in_processes, jobs)


def check_models(experiment: Experiment, workloads: Mapping[str, Workload]) -> None:
    """Read the model of every guest's workload.

    Raises:
        ConfigError: one has none, or one that the simulator does not know.

    """
    checked: dict[str, Any] = {}
    for guest in experiment.guests:
        said = workloads[guest.workload].modelled(guest.parameters)
        if checked.get(guest.workload) == said:
            continue
        checked[guest.workload] = said
        try:
            load_of(said, "")
        except ModelError as error:
            raise ConfigError(f"workloads/{guest.workload}.yml: {error}") from error
