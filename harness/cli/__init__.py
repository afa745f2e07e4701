"""`ballast`: all commands together. This room is the only one that prints."""

from __future__ import annotations

import sys

import typer

from harness.cli import ask, lab, live, replay, show, simulate, trials
from harness.compiled import CompileError
from harness.experiment.document import ConfigError
from harness.lab.image import LabError
from harness.policies import PolicyError
from harness.records import RecordsError
from harness.service.door import DoorError
from harness.simulator.cluster import ClusterError
from harness.view import ViewError
from harness.xen.host import HostError
from harness.xen.ssh import ConnectionFailed

DONE, BAD_INPUT = 0, 2
USER_ERRORS = (
    ConfigError,
    PolicyError,
    ViewError,
    RecordsError,
    LabError,
    HostError,
    ConnectionFailed,
    ClusterError,
    CompileError,
    DoorError,
)

app = typer.Typer(
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    help="Balances memory among the guests of a Xen host, and proves how well.",
)
for part in (live, ask, show, simulate, replay, trials):
    app.add_typer(part.app)
app.add_typer(lab.app, name="lab")


def main() -> int:
    """Run a command; what a user can mend is one message on standard error and exit 2."""
    try:
        app(prog_name="ballast")
    except USER_ERRORS as error:
        print(f"ballast: {error}", file=sys.stderr)
        return BAD_INPUT
    return DONE
