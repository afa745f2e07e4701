"""`ballast`: every command. This and `cli_lab` are the only places that print."""

from __future__ import annotations

import sys
from typing import Annotated

import click
import typer

from harness import cli_lab, doctor
from harness.experiment.config import ConfigError, load_experiment
from harness.lab.image import LabError
from harness.policies import PolicyError
from harness.records import RecordsError
from harness.view import ViewError

DONE, SOME_TRIAL_FAILED, BAD_INPUT = 0, 1, 2
USER_ERRORS = (ConfigError, PolicyError, ViewError, RecordsError, LabError)

app = typer.Typer(
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    help="Balances memory among the guests of a Xen host, and proves how well.",
)
app.add_typer(cli_lab.app, name="lab")


@app.command("doctor")
def examine(
    experiment: Annotated[str, typer.Option(help="the experiment that is to run")] = "quick",
    lab: Annotated[bool, typer.Option(help="look at what the lab needs of this machine")] = True,
) -> None:
    """Is this machine fit? Each problem with its remedy."""
    wanted = load_experiment(experiment)
    print(f"experiment {wanted.name}: {len(wanted.guests)} guests, {len(wanted.policies)} policies, in order")
    wrong = 0
    for finding in doctor.examine_lab(wanted) if lab else ():
        print(f"{'WRONG' if finding.remedy else 'ok   '} {finding.what}")
        if finding.remedy:
            print(f"      remedy: {finding.remedy}")
            wrong += 1
    if wrong:
        raise typer.Exit(BAD_INPUT)


def main() -> int:
    """Run a command; what a user can mend is one message on standard error and exit 2."""
    try:
        result = app(standalone_mode=False)
        return result if isinstance(result, int) else DONE
    except USER_ERRORS as error:
        print(f"ballast: {error}", file=sys.stderr)
        return BAD_INPUT
    except click.ClickException as error:
        error.show()
        return BAD_INPUT
    except (KeyboardInterrupt, click.Abort):
        print("ballast: stopped", file=sys.stderr)
        return 130
