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
from harness.lab.room import require_memory
from harness.lab.shape import Clock
from harness.progress import Progress
from harness.progress.owner import playbook_pid

app = typer.Typer(no_args_is_help=True, help="The lab: a real Xen host with guests inside QEMU on this machine.")


ClockOption = Annotated[
    Literal["instructions", "real"],
    typer.Option(help="the lab's time: instructions that its processor has executed, or the controller's"),
]


def labs_of(experiment_name: str, clock: Clock = "instructions") -> list[tuple[Lab, shape.Shape]]:
    """The labs that an experiment needs: one for each of its hosts."""
    experiment = load_experiment(experiment_name)
    wanted = shape.all_of(experiment, library_of(experiment), clock).values()
    return [(Lab.of(each), each) for each in wanted]


def running() -> tuple[Lab, ...]:
    """The labs that are up; raises LabError when none is."""
    labs = Lab.running()
    if not labs:
        raise LabError("no lab is up. Start one with: ballast lab up EXPERIMENT")
    for lab in labs:
        lab.wake()
    return labs


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
    """Start the lab, building what is missing; prints its machines as JSON. Of several hosts each is a lab."""
    labs = labs_of(experiment, clock)
    shapes = [wanted for _, wanted in labs]
    progress = Progress()
    were_up = [lab.state() is not None for lab, _ in labs]
    with progress.alive():
        require_memory([wanted for (_, wanted), up in zip(labs, were_up, strict=True) if not up])
        states = [
            lab.up(wanted, progress.say, None if keep else playbook_pid(), at_rest=not wait, beside=shapes)
            for lab, wanted in labs
        ]
        for (lab, wanted), state in zip(labs, states, strict=True):
            progress.say(f"lab {lab.folder.name}: {state.memory_mib} MiB, process {state.keeper}")
            if not lab.provisioned:
                access.wait({wanted.host: state.ports[wanted.host]}, progress.say)
            elif wait:
                lab.wake()  # it may have been up
                access.wait(state.ports, progress.say)
    print(
        json.dumps(
            {
                "started": not all(were_up),
                "provisioned": all(lab.provisioned for lab, _ in labs),
                "inventory": " ".join(str(lab.inventory) for lab, _ in labs),
                "machines": [machine for lab, _ in labs for machine in access.machines(lab)],
                "accelerator": states[0].accelerator,
            }
        )
    )


@app.command(name="wait")
def wait_for_machines() -> None:
    """Wait until dom0 and every guest of the lab answer over SSH."""
    labs = running()
    progress = Progress()
    with progress.alive():
        for lab in labs:
            state = lab.state()
            access.wait(state.ports if state else {}, progress.say)


@app.command()
def seal() -> None:
    """Take the snapshot from which every later start and every trial begins."""
    labs = [lab for lab in running() if not lab.provisioned]
    if not labs:
        raise LabError("the lab that is up has its snapshot already")
    for lab in labs:
        lab.seal()


@app.command()
def restore() -> None:
    """Put the running lab back to its snapshot."""
    for lab in running():
        lab.restore()


@app.command()
def status() -> None:
    """Show what is up, and what is kept in the cache."""
    labs = [(lab, state) for lab in Lab.running() if (state := lab.state()) is not None]
    if not labs:
        print("no lab is up")
        raise typer.Exit(1)
    for lab, state in labs:
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
    argv = access.ssh_command(access.with_machine(running(), machine), machine)
    words = command or []
    raise typer.Exit(subprocess.run([*argv, *words[words[:1] == ["--"] :]], check=False).returncode)


@app.command()
def console(
    host: Annotated[str | None, typer.Argument(help="whose, where several hosts are up")] = None,
) -> None:
    """Show the console of Xen and dom0 and type on it; Ctrl-] leaves it."""
    of = {name: lab for lab in running() if (state := lab.state()) for name in list(state.ports)[:1]}
    if host not in of and (host is not None or len(of) > 1):
        raise LabError(f"which console? Those that are up: {', '.join(of)}")
    lab = of[host] if host else next(iter(of.values()))
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
    labs = Lab.running()
    for lab in labs:
        lab.down()
    if not labs:
        raise typer.Exit(1)


@app.command()
def forget(
    experiment: Annotated[str, typer.Argument(help="name or path of the experiment")],
    clock: ClockOption = "instructions",
) -> None:
    """Remove an experiment's lab (disks and snapshot), so that the next start makes it anew; the image stays."""
    for lab, _ in labs_of(experiment, clock):
        lab.forget()
