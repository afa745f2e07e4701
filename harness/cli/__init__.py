"""`ballast`: all commands together. This room is the only one that prints."""

from __future__ import annotations

import tomllib
from typing import Annotated

import typer

from harness.cli import ask, lab, live, replay, run, show, simulate, trials
from harness.cli.ending import USER_ERRORS, Exit, told
from harness.experiment.manifest import PROJECT, source

__all__ = ["USER_ERRORS", "app", "main"]

app = typer.Typer(
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    help="Balances memory among the guests of a Xen host, and proves how well.",
)
for part in (run, live, ask, show, simulate, replay, trials):
    app.add_typer(part.app)
app.add_typer(lab.app, name="lab")


def _say_version(wanted: bool) -> None:
    if wanted:
        project = tomllib.loads((PROJECT / "pyproject.toml").read_text())["project"]
        git = source()
        commit = f" ({git['commit'][:12]}{', changed since' if git['dirty'] else ''})" if git["commit"] else ""
        typer.echo(f"ballast {project['version']}{commit}")
        raise typer.Exit


@app.callback()
def ballast(
    version: Annotated[
        bool,
        typer.Option("--version", help="Say which version and commit it is.", callback=_say_version, is_eager=True),
    ] = False,
) -> None:
    """Take what belongs to no command."""


def main() -> int:
    """Run a command; what a user can mend is one message on standard error and exit 2."""
    try:
        app(prog_name="ballast")
    except SystemExit as end:
        if isinstance(end.__context__, BrokenPipeError):  # for which Click has a 1
            return Exit.UNHEARD
        raise
    except Exception as error:  # noqa: BLE001 - the last place where any of them can be told from a failed trial
        return told(error)
    return Exit.DONE
