"""`ballast lab`: the lab as a person and the playbooks handle it."""

from __future__ import annotations

import json
import os
import select
import subprocess
import sys
from typing import Annotated, Literal

import typer

from harness.experiment.files import load_experiment
from harness.experiment.needs import library_of
from harness.lab import access, shape
from harness.lab.image import LabError
from harness.lab.lab import Lab
from harness.lab.shape import Clock
from harness.progress import Progress
from harness.progress.owner import playbook_pid

app = typer.Typer(no_args_is_help=True, help="The lab: a real Xen host with guests inside QEMU on this machine.")


ClockOption = Annotated[
    Literal["instructions", "real"],
    typer.Option(help="the lab's time: instructions that its processor has executed, or the controller's"),
]


def lab_of(experiment_name: str, clock: Clock = "instructions") -> tuple[Lab, shape.Shape]:
    """The lab that an experiment needs."""
    experiment = load_experiment(experiment_name)
    wanted = shape.of(experiment, library_of(experiment), clock)
    return Lab.of(wanted), wanted


def running() -> Lab:
    """The lab that is up; raises LabError when none is."""
    lab = Lab.running()
    if lab is None:
        raise LabError("no lab is up. Start one with: ballast lab up EXPERIMENT")
    lab.wake()
    return lab


@app.command()
def up(
    experiment: Annotated[str, typer.Argument(help="name or path of the experiment whose guests it is to have")],
    keep: Annotated[bool, typer.Option(help="stay up when the playbook that calls this has ended")] = False,
    clock: ClockOption = "instructions",
    wait: Annotated[
        bool,
        typer.Option(help="until its machines answer; else one with a snapshot stands still there until it is used"),
    ] = True,
) -> None:
    """Start the lab, building what is missing; prints its machines as JSON."""
    lab, wanted = lab_of(experiment, clock)
    progress = Progress()
    was_up = lab.state() is not None
    with progress.alive():
        state = lab.up(wanted, progress.say, None if keep else playbook_pid(), at_rest=not wait)
        progress.say(f"lab {lab.folder.name}: {state.memory_mib} MiB, process {state.keeper}")
        if not lab.provisioned:
            access.wait({"dom0": state.ports["dom0"]}, progress.say)
        elif wait:
            lab.wake()  # it may have been up
            access.wait(state.ports, progress.say)
    print(
        json.dumps(
            {
                "started": not was_up,
                "provisioned": lab.provisioned,
                "inventory": str(lab.inventory),
                "machines": access.machines(lab),
                "accelerator": state.accelerator,
            }
        )
    )


@app.command(name="wait")
def wait_for_machines() -> None:
    """Wait until dom0 and every guest of the lab answer over SSH."""
    lab = running()
    state = lab.state()
    progress = Progress()
    with progress.alive():
        access.wait(state.ports if state else {}, progress.say)


@app.command()
def seal() -> None:
    """Take the snapshot from which every later start and every trial begins."""
    running().seal()


@app.command()
def restore() -> None:
    """Put the running lab back to its snapshot."""
    running().restore()


@app.command()
def status() -> None:
    """Show what is up, and what is kept in the cache."""
    lab = Lab.running()
    if lab is None or (state := lab.state()) is None:
        print("no lab is up")
        raise typer.Exit(1)
    print(f"lab {lab.folder}\n  process {state.keeper}, {state.memory_mib} MiB, {state.accelerator} ({state.why})")
    print("  provisioned snapshot: " + ("yes" if lab.provisioned else "not yet"))
    for name, port in state.ports.items():
        print(f"  {name:10} ssh on 127.0.0.1:{port}    ballast lab ssh {name}")


@app.command(context_settings={"ignore_unknown_options": True, "allow_interspersed_args": False})
def ssh(
    machine: Annotated[str, typer.Argument(help="dom0 or a guest")],
    command: Annotated[list[str] | None, typer.Argument(help="what to run there; nothing: a shell")] = None,
) -> None:
    """Open a shell on a machine of the lab, or run a command there: its words go to the shell there, as with ssh."""
    argv = access.ssh_command(running(), machine)
    words = command or []
    raise typer.Exit(subprocess.run([*argv, *words[words[:1] == ["--"] :]], check=False).returncode)


@app.command()
def console() -> None:
    """Show the console of Xen and dom0 and type on it; Ctrl-] leaves it."""
    lab = running()
    print((lab.folder / "console.log").read_text(errors="replace")[-4000:])
    with access.console(lab.folder) as connection:
        while True:
            ready, _, _ = select.select([connection, sys.stdin], [], [])
            if connection in ready:
                data = connection.recv(4096)
                if not data:
                    return
                os.write(sys.stdout.fileno(), data)
            if sys.stdin in ready:
                typed = os.read(sys.stdin.fileno(), 4096)
                if not typed or b"\x1d" in typed:
                    return
                connection.sendall(typed)


@app.command()
def down() -> None:
    """End the lab; its image and snapshot stay. Exit 1 when none was up."""
    lab = Lab.running()
    if lab is None or not lab.down():
        raise typer.Exit(1)


@app.command()
def forget(
    experiment: Annotated[str, typer.Argument(help="name or path of the experiment")],
    clock: ClockOption = "instructions",
) -> None:
    """Remove an experiment's lab (disks and snapshot), so that the next start makes it anew; the image stays."""
    lab, _ = lab_of(experiment, clock)
    lab.forget()
