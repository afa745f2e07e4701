"""`ballast simulate`: an experiment in virtual time, with the same files as on a real host."""

from __future__ import annotations

import os
import sys
import time
from functools import partial
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from rich.table import Table

import harness.compiled
from harness.cli.ending import Exit, stopped_by_signals
from harness.cli.show import RepetitionsOption, SeedOption, console, say
from harness.experiment.config import Experiment
from harness.experiment.files import load_experiment
from harness.experiment.runs import Done
from harness.lab.image import cache_root
from harness.records import RecordsError, read_run, write_whole
from harness.simulator import calibration, runner
from harness.simulator.cluster import map_on_cluster
from harness.simulator.machine import LAB, Machine, load_machine

CALIBRATION = "calibration"
"""The experiment from which costs are read."""

app = typer.Typer()

MachineOption = Annotated[
    Path, typer.Option(help="what the simulated machine costs; measured by playbooks/calibrate.yml")
]


@app.command()
def simulate(
    experiment: Annotated[str, typer.Argument(help="name or path of the experiment")],
    out: Annotated[Path, typer.Option(help="results go to OUT/<experiment>/<time>")] = Path("results"),
    jobs: Annotated[int, typer.Option(min=1, help="trials at a time")] = os.cpu_count() or 1,
    scheduler: Annotated[
        str | None, typer.Option(metavar="HOST:PORT", help="of a Dask cluster that shares OUT (docs/cluster.md)")
    ] = None,
    machine: MachineOption = LAB,
    repetitions: RepetitionsOption = None,
    seed: SeedOption = None,
    compiled: Annotated[
        bool,
        typer.Option("--compiled", help="compile what works guest by guest first; for hundreds of guests, here only"),
    ] = False,
) -> None:
    """Run all trials of an experiment on the simulator; prints the run's folder. Goes on where it was stopped."""
    wanted, simulated = load_experiment(experiment, repetitions, seed), load_machine(machine)
    if compiled:
        _become_compiled()
    spread = runner.one_by_one if jobs == 1 else runner.in_processes(jobs)
    if scheduler is not None:
        spread, out = partial(map_on_cluster, scheduler), out.absolute()  # its workers are started elsewhere
    began_s = time.monotonic()
    try:
        with stopped_by_signals():
            done = simulated_with_bar(wanted, out, simulated, spread, f"simulating {wanted.name}")
    except KeyboardInterrupt:
        print("stopped; the same command goes on where it was", file=sys.stderr)
        raise typer.Exit(Exit.STOPPED) from None
    print(f"{done.trials} trials in {time.monotonic() - began_s:.1f} s", file=sys.stderr)
    print(done.folder)
    if done.failed:
        print(f"{done.failed} trials failed; trials.csv says why", file=sys.stderr)
        raise typer.Exit(Exit.SOME_TRIAL_FAILED)


def simulated_with_bar(experiment: Experiment, out: Path, machine: Machine, spread: runner.Spread, title: str) -> Done:
    """Simulate all trials of an experiment that have not ended, with a bar on a terminal."""
    screen = Console(stderr=True)
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn("trials,"),
        TimeRemainingColumn(),
    )
    with Progress(*columns, console=screen, disable=not screen.is_terminal) as bar:
        task = bar.add_task(title)
        return runner.simulate(
            experiment, out, machine, spread,
            lambda number, total: bar.update(task, completed=number, total=total),
            say=lambda line: print(line, file=sys.stderr),
        )  # fmt: skip


def _become_compiled() -> None:
    """Begin this command anew with what is compiled of the present sources, unless that is what runs already."""
    folder = harness.compiled.place(cache_root())
    if os.environ.get(harness.compiled.ENVIRONMENT) == str(folder):
        return
    if not folder.exists():
        harness.compiled.require()
        print("compiling, once for these sources: about a minute", file=sys.stderr)
        harness.compiled.build(cache_root())
    sys.stdout.flush()
    os.execve(
        sys.executable, [sys.executable, *sys.orig_argv[1:]], {**os.environ, harness.compiled.ENVIRONMENT: str(folder)}
    )


@app.command()
def calibrate(
    run: Annotated[Path, typer.Argument(help="folder of a run of experiments/calibration.yml")],
    out: Annotated[Path | None, typer.Option(help="write the machine to this file")] = None,
    machine: MachineOption = LAB,
) -> None:
    """Read what a machine costs from a run on it: the parameters of the simulator, each with how it was read."""
    shown, known = read_run(run), load_machine(machine)
    for doubt in shown.doubts():
        say(doubt)
    if shown.manifest["experiment"]["name"] != CALIBRATION:
        raise RecordsError(f"{run} is no run of {CALIBRATION}; make one: ansible-playbook playbooks/calibrate.yml")
    found = calibration.calibrate(shown, known)
    table = Table("cost", "was", "measured", "samples", "how")
    for one in found:
        was = f"{getattr(known, one.name):.3g}"
        table.add_row(one.name, was, f"{one.value:.3g}", str(one.samples), one.how)
    console().print(table)
    kept = sorted(set(Machine.model_fields) - {one.name for one in found})
    print(f"not shown by this run, kept as they were: {', '.join(kept)}")
    if out is not None:
        measured = calibration.calibrated(known, found)
        lines = [
            f"# Read by `ballast calibrate` from run {shown.manifest['run']}, backend {shown.manifest['backend']}.\n"
        ]
        lines += [f"{name}: {value:g}\n" for name, value in measured.model_dump().items()]
        write_whole(out, "".join(lines))
        print(out)
