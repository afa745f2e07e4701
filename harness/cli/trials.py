"""`ballast doctor`, `trials`, `report`, `needs`: what the playbooks call, step by step."""

from __future__ import annotations

import json
import os
import signal
import sys
from collections.abc import Sequence
from dataclasses import asdict
from itertools import chain
from pathlib import Path
from typing import Annotated

import typer

from harness.cli import doctor, hosts
from harness.cli.ending import Exit, stopped_by_signals
from harness.cli.show import RepetitionsOption, SeedOption, say
from harness.experiment import runner, site
from harness.experiment.config import Experiment
from harness.experiment.document import Document
from harness.experiment.files import find, load_experiment
from harness.experiment.inventory import told
from harness.experiment.needs import library_of
from harness.experiment.needs import needs as needed
from harness.progress import Progress
from harness.progress.owner import on_death, playbook_pid
from harness.records import RecordsError

app = typer.Typer()

MachinesOption = Annotated[
    typer.FileText | None,
    typer.Option(help="instead of an inventory: what playbooks/machines.yml has found, as JSON; - is standard input"),
]


@app.command("doctor")
def examine(
    experiment: Annotated[str, typer.Option(help="the experiment that is to run")] = "quick",
    lab: Annotated[bool, typer.Option(help="look at what the lab needs of this machine")] = True,
    inventory: Annotated[
        list[Path] | None,
        typer.Option("--inventory", "-i", help="look at the Xen host and the guests of this one; repeatable"),
    ] = None,
    machines: MachinesOption = None,
    deep: Annotated[
        bool, typer.Option("--deep", help="also keep the lab that is up busy for 20 s, and check it")
    ] = False,
) -> None:
    """Is this machine fit, and with --inventory: are those? Each problem with its remedy; exit 2 if there is one."""
    wanted = load_experiment(experiment)
    guests = len(wanted.envelope().guests)
    print(f"experiment {wanted.name}: {guests} guests, {len(wanted.policies)} policies, in order")
    wrong = 0
    with Progress().alive(lambda: "asking the machines"):
        where = located(wanted, inventory, machines)
        parts = wanted.parts()
        found = [
            doctor.examine_lab(wanted, Document(find(experiment))) if lab and where is None else (),
            *(hosts.examine(parts[host].envelope(), one, enter=bool(inventory)) for host, one in (where or {}).items()),
            doctor.examine_deep() if deep else (),
        ]
        for finding in chain.from_iterable(found):
            print(f"{'WRONG' if finding.remedy else 'ok   '} {finding.what}")
            if finding.remedy:
                print(f"      remedy: {finding.remedy}")
                wrong += 1
    if wrong:
        raise typer.Exit(Exit.BAD_INPUT)


@app.command()
def trials(
    experiment: Annotated[str, typer.Argument(help="name or path of the experiment")],
    inventory: Annotated[
        list[Path] | None,
        typer.Option("--inventory", "-i", help="Ansible inventory of the Xen host and its guests; repeatable"),
    ] = None,
    machines: MachinesOption = None,
    out: Annotated[Path, typer.Option(help="results go to OUT/<experiment>/<time>")] = Path("results"),
    repetitions: RepetitionsOption = None,
    seed: SeedOption = None,
) -> None:
    """Run the trials that have not ended yet; prints the run's folder. The playbook calls this."""
    wanted = load_experiment(experiment, repetitions, seed)
    try:
        with stopped_by_signals():
            stop_with_playbook()
            where = located(wanted, inventory, machines)
            if where is None:
                raise typer.BadParameter("give the inventory: --inventory FILE")
            done = runner.run(wanted, where, out, Progress())
    except KeyboardInterrupt:
        print("stopped; the same command goes on with the trial that was in flight", file=sys.stderr)
        raise typer.Exit(Exit.STOPPED) from None
    print(done.folder)
    if done.failed:
        print(f"{done.failed} trials failed; trials.csv says why", file=sys.stderr)
        raise typer.Exit(Exit.SOME_TRIAL_FAILED)


@app.command()
def report(
    context: typer.Context,
    runs: Annotated[list[Path], typer.Argument(help="folders of runs")],
    baseline: Annotated[
        str | None, typer.Option(help="the policy that the others are compared with; else the experiment's, or static")
    ] = None,
    out: Annotated[
        Path | None,
        typer.Option(help="write it into this folder instead of the run's, or of several runs their common one"),
    ] = None,
    language: Annotated[str, typer.Option(help="the language of what is written for people: en or zh")] = "en",
    check: Annotated[
        Path | None,
        typer.Option(metavar="BASELINE", help="write nothing; hold the numbers against this earlier report"),
    ] = None,
    tolerance: Annotated[
        float, typer.Option(min=0, max=1000, help="how far a number may be from the baseline's, as a share of it")
    ] = 0.02,
) -> None:
    """Write PDF, HTML, CSV and LaTeX into the run's folder, of several runs into reports/ beside theirs.

    With --check nothing is written, and a number that moved ends it with 1.
    """
    import reports  # takes a second, which no other command is to wait for

    _refuse_idle(context, checking=check is not None)
    try:
        if check is not None:
            moved, count = reports.compare(runs, check, tolerance, baseline, say)
            print(*moved, f"{len(moved)} of {count} numbers moved by more than {100 * tolerance:g} %", sep="\n")
            raise typer.Exit(Exit.SOME_TRIAL_FAILED if moved else Exit.DONE)
        print(reports.build(runs, baseline, out, say, language))
    except reports.LanguageError as error:
        raise typer.BadParameter(str(error), param_hint="--language") from error
    except reports.ReportError as error:
        raise RecordsError(str(error)) from error


def _refuse_idle(context: typer.Context, *, checking: bool) -> None:
    """Refuse an option that would do nothing."""
    idle, why = (
        (("out", "language"), "with --check nothing is written; leave it out")
        if checking
        else (("tolerance",), "is for --check; name the earlier report by it, or leave this out")
    )
    for name in idle:
        source = context.get_parameter_source(name)
        if source is not None and source.name == "COMMANDLINE":
            raise typer.BadParameter(why, param_hint=f"--{name}")


@app.command()
def needs(experiment: Annotated[str, typer.Argument(help="name or path of the experiment")]) -> None:
    """Print as JSON what each guest's workload needs, and how large it is to be; the playbook asks for this."""
    wanted = load_experiment(experiment)
    sizes = {
        guest.name: {
            "min_mib": guest.min_mib, "initial_mib": guest.initial_mib, "max_mib": guest.max_mib, "type": guest.type,
        }
        for guest in wanted.envelope().guests
    }  # fmt: skip
    print(
        json.dumps({guest: asdict(need) | sizes[guest] for guest, need in needed(wanted, library_of(wanted)).items()})
    )


def located(
    experiment: Experiment, inventories: Sequence[Path] | None, machines: typer.FileText | None
) -> site.Sites | None:
    """Find the machines of an experiment at all of its levels; None where nobody says where to look.

    Raises:
        ConfigError: they are not there, or cannot be entered.

    """
    if machines is not None:
        try:
            text = machines.read()
        except UnicodeDecodeError:
            text = ""
        return site.sites(told(text), experiment.envelope(), "the inventory")
    return site.all_from_inventory(inventories, experiment.envelope()) if inventories else None


def stop_with_playbook() -> None:
    """Stop as by SIGTERM when the playbook that called us ends.

    Ctrl-C reaches us twice then, from Ansible and by its end; only the first counts, and the setting of safe targets is
    not disturbed.
    """
    if (pid := playbook_pid()) is not None:
        on_death(pid, lambda: os.kill(os.getpid(), signal.SIGTERM))
