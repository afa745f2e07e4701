"""`ballast simulate`: an experiment in virtual time, with the same files as on a real host."""

from __future__ import annotations

import os
import sys
import time
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from harness.experiment.config import load_experiment
from harness.simulator import runner
from harness.simulator.machine import LAB, load_machine

SOME_TRIAL_FAILED, STOPPED = 1, 130

app = typer.Typer()


@app.command()
def simulate(
    experiment: Annotated[str, typer.Argument(help="name or path of the experiment")],
    out: Annotated[Path, typer.Option(help="results go to OUT/<experiment>/<time>")] = Path("results"),
    jobs: Annotated[int, typer.Option(min=1, help="trials at a time")] = os.cpu_count() or 1,
    machine: Annotated[
        Path, typer.Option(help="what the simulated machine costs; measured: playbooks/calibrate.yml")
    ] = LAB,
) -> None:
    """Run all trials of an experiment on the simulator; prints the run's folder. Goes on where it was stopped."""
    wanted, simulated = load_experiment(experiment), load_machine(machine)
    spread = runner.one_by_one if jobs == 1 else runner.in_processes(jobs)
    began_s = time.monotonic()
    console = Console(stderr=True)
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn("trials,"),
        TimeRemainingColumn(),
    )
    try:
        with Progress(*columns, console=console, disable=not console.is_terminal) as bar:
            task = bar.add_task(f"simulating {wanted.name}")
            done = runner.simulate(
                wanted, out, simulated, spread, lambda number, total: bar.update(task, completed=number, total=total)
            )
    except KeyboardInterrupt:
        print("stopped; the same command goes on where it was", file=sys.stderr)
        raise typer.Exit(STOPPED) from None
    print(f"{done.trials} trials in {time.monotonic() - began_s:.1f} s", file=sys.stderr)
    print(done.folder)
    if done.failed:
        print(f"{done.failed} trials failed; trials.csv says why", file=sys.stderr)
        raise typer.Exit(SOME_TRIAL_FAILED)
