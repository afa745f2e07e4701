"""`ballast run`: one experiment or several, from nothing to a report."""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Annotated

import typer
from rich.table import Table
from rich.text import Text

from harness.cli import series
from harness.cli.ending import Exit, stopped_by_signals, told
from harness.cli.screen import Screen
from harness.cli.series import Outcome, Part, Where
from harness.cli.show import RepetitionsOption, SeedOption, console, say
from harness.cli.simulate import simulated_with_bar
from harness.experiment.document import ConfigError
from harness.experiment.files import find, load_experiment, names
from harness.progress import playbook
from harness.progress.playbook import PROJECT
from harness.records import RecordsError
from harness.simulator import runner
from harness.simulator.machine import LAB, load_machine

MAIN = "run-experiment.yml"
RESULTS = PROJECT / "results"
"""Where the playbook puts them unless it is told otherwise."""
LAB_INVENTORY = PROJECT / "inventory" / "lab.yml"
OURS = ("experiment", "results")
"""Variables of the playbook that a series sets itself."""

app = typer.Typer()


@app.command()
def run(
    experiments: Annotated[
        list[str] | None, typer.Argument(metavar="[EXPERIMENT]...", help="names or paths; default: the inventory's")
    ] = None,
    every: Annotated[bool, typer.Option("--all", help="all experiments that there are")] = False,
    simulate: Annotated[
        bool, typer.Option("--simulate", help="on the simulator, whatever could run elsewhere")
    ] = False,
    repetitions: RepetitionsOption = None,
    seed: SeedOption = None,
    jobs: Annotated[int, typer.Option(min=1, help="simulated trials at a time")] = os.cpu_count() or 1,
    out: Annotated[
        Path | None, typer.Option(help="results go to OUT/<experiment>/<time>; default: results/ of the checkout")
    ] = None,
    inventory: Annotated[
        list[Path] | None, typer.Option("--inventory", "-i", help="your own hosts; default: the lab; repeatable")
    ] = None,
    extra: Annotated[
        list[str] | None, typer.Option("--extra-vars", "-e", metavar="KEY=VALUE", help="for the playbook; repeatable")
    ] = None,
) -> None:
    """Run experiments from nothing to a report: the playbook run-experiment.yml, with live progress.

    Of several, and with --simulate, one after the other: what has ended is taken as it is, what was stopped goes on,
    a failure stops nothing, and one report is made of all.
    Exit 1: some trial or experiment failed. Exit 2: it could not be run, and why. Exit 130: stopped by Ctrl-C.
    """
    wanted = list(experiments or ())
    if every and wanted:
        raise typer.BadParameter("give names or --all, not both")
    if simulate and not (every or wanted):
        raise typer.BadParameter("name the experiments that are to be simulated, or give --all")
    variables = [_variable(given) for given in extra or ()]
    for name, given in (("repetitions", repetitions), ("seed", seed)):
        if given is not None:
            variables.append(playbook.extra_var(name, str(given)))
    for path in inventory or ():
        if not path.exists():
            raise ConfigError(f"{path}: no such inventory; start from a copy of inventory/example.yml")
    if every or simulate or len(wanted) > 1:
        where = _where(inventory or (), simulate=simulate)
        parts = series.parts(names() if every else wanted, where, repetitions, seed, every=every)
        _series(parts, jobs, out or RESULTS, inventory or (), variables)
    else:
        _one(wanted[0] if wanted else None, repetitions, out, inventory or (), variables)


def _where(inventories: Sequence[Path], *, simulate: bool) -> Where:
    lab = all(path.resolve() == LAB_INVENTORY for path in inventories)
    return Where.SIMULATOR if simulate else Where.LAB if lab else Where.HOSTS


def _one(
    experiment: str | None, repetitions: int | None, out: Path | None, inventories: Sequence[Path], variables: list[str]
) -> None:
    if experiment is not None:
        load_experiment(experiment, repetitions).at()
        path = find(experiment)
        named = path.stem if experiment == path.stem else str(path.absolute())
        variables.append(playbook.extra_var("experiment", named))
    if out is not None:
        variables.append(playbook.extra_var("results", str(out.absolute())))
    with Screen() as screen:
        played = playbook.play(MAIN, screen.show, inventories=inventories, extra_vars=variables)
    if played.stopped:
        print("ballast: stopped; the same command goes on with the trial that was in flight", file=sys.stderr)
        raise typer.Exit(Exit.STOPPED)
    if not played.done:
        seen = sys.stdout.isatty() and sys.stderr.isatty()
        said = ["it did not come to its end; what FAILED says why"] if seen else played.failures
        print(*(f"ballast: {what}" for what in said), sep="\n", file=sys.stderr)
        raise typer.Exit(Exit.SOME_TRIAL_FAILED if played.trials_failed else Exit.BAD_INPUT)


def _series(parts: Sequence[Part], jobs: int, out: Path, inventories: Sequence[Path], variables: Sequence[str]) -> None:
    for name in OURS:
        if any(given.startswith(f"{name}=") for given in variables):
            raise ConfigError(f"-e {name}=…: of several experiments give names and --out instead")
    out, say = out.absolute(), partial(print, flush=True)
    there = {part.experiment.name: run for part in parts if (run := part.finished(out, say)) is not None}
    on_xen = partial(_on_xen, out=out, inventories=inventories, variables=variables)
    ways = {Where.LAB: on_xen, Where.HOSTS: on_xen, Where.SIMULATOR: partial(_on_simulator, out=out, jobs=jobs)}
    try:
        for line in series.announced(parts, there):
            say(line)
        outcomes = series.run(parts, ways, there, say)
        _show(outcomes)
        with stopped_by_signals():
            _report(outcomes)
    except KeyboardInterrupt:
        print("ballast: stopped; the same command goes on where it was", file=sys.stderr)
        raise typer.Exit(Exit.STOPPED) from None
    if any(outcome.reason for outcome in outcomes):
        raise typer.Exit(Exit.OUR_FAULT if any(one.ours for one in outcomes) else Exit.SOME_TRIAL_FAILED)


def _on_xen(part: Part, out: Path, inventories: Sequence[Path], variables: Sequence[str]) -> Outcome:
    """By the playbook, as one experiment alone."""
    own = [playbook.extra_var("experiment", part.named), playbook.extra_var("results", str(out))]
    with Screen() as screen:
        screen.place = f"{part.experiment.name}: "
        played = playbook.play(MAIN, screen.show, inventories=inventories, extra_vars=[*variables, *own])
    if played.stopped:
        raise KeyboardInterrupt
    run = part.finished(out)
    if run is not None and (played.done or played.trials_failed):
        return series.ended(part, run)
    said = played.failures[0].splitlines()[0] if played.failures else f"no run of it that has ended is in {out}"
    return Outcome(part=part, reason=said)


def _on_simulator(part: Part, out: Path, jobs: int) -> Outcome:
    spread = runner.one_by_one if jobs == 1 else runner.in_processes(jobs)
    title = f"simulating {part.experiment.name}"
    try:
        with stopped_by_signals():
            done = simulated_with_bar(part.experiment, out, load_machine(LAB), spread, title)
    except Exception as error:  # noqa: BLE001 - whatever it is, the others are not to be stopped by it
        ours = told(error) is Exit.OUR_FAULT
        return Outcome(part=part, reason=str(error).partition("\n")[0] or type(error).__name__, ours=ours)
    return series.ended(part, done.folder)


def _show(outcomes: Sequence[Outcome]) -> None:
    table = Table("experiment", "where", "what came of it", "run")
    for one in outcomes:
        said = one.reason or ("had ended before" if one.before else "done")
        table.add_row(*map(Text, (one.part.experiment.name, one.part.where, said, str(one.run or ""))))
    console().print(table)


def _report(outcomes: Sequence[Outcome]) -> None:
    """Make one report of all runs that have ended, and print where it is."""
    import reports  # takes a second, which no other command is to wait for

    paths = [one.run for one in outcomes if one.run is not None]
    if not paths:
        print("ballast: none of them has ended, so there is nothing to report", file=sys.stderr)
        return
    try:
        print(reports.build(paths, say=say))
    except reports.ReportError as error:
        raise RecordsError(str(error)) from error


def _variable(given: str) -> str:
    """An extra variable; a file's path as it is meant here, since Ansible runs in the checkout."""
    if given.startswith("@"):
        path = Path(given[1:])
        if not path.is_file():
            raise ConfigError(f"-e {given}: no such file")
        return f"@{path.absolute()}"
    if "=" not in given and not given.lstrip().startswith("{"):
        raise ConfigError(f"-e {given}: give it as KEY=VALUE, @FILE or a JSON object")
    return given
