"""Guests of the lab that do not behave: they are paused, gone, deaf to their targets, silent, or say what they like.

Each fault is a short script that waits for the word like a workload, and then goes by the clock of the machine on which
it runs: the same moment of every trial. The texts are fixed; what differs are their arguments.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

import paramiko

from harness.experiment.site import Site
from harness.experiment.sweep import Behaviour, Guest, Kind
from harness.experiment.work import Work
from harness.ports import Clock
from harness.xen.process import RemoteProcess
from harness.xen.ssh import ConnectionFailed, connect, transport

READY_S = 60.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Fault:
    """What is done to a guest, and how it is undone; `$1` is its domain, `$4` how much of it, `$5` the text."""

    begins: str
    ends: str
    inside: bool = False
    """Done in the guest; else in dom0."""
    text: str = ""
    """Of the program that it puts into the guest, if it does."""

    def command(self, behaviour: Behaviour, domain: str) -> Sequence[str]:
        """What waits for the word, does this at its time, and undoes it if the time for that is said."""
        undone = f'; sleep "$3"; {self.ends}' if behaviour.for_s is not None else ""
        script = f'echo ready; read -r go || exit 1; sleep "$2"; {self.begins}{undone}'
        times = f"{behaviour.at_s:g}", f"{behaviour.for_s or 0:g}"
        return "sh", "-c", script, "sh", domain, *times, f"{behaviour.factor:g}", self.text


_MAY_READ = 'id=$(xl domid "$1"); xenstore-chmod "/local/domain/$id/memory/target" n0'
"""A guest's balloon goes where the guest reads in xenstore that it should."""
_SAMPLER = "'^perl - '"
_IMPOSTOR = Path(__file__).with_name("impostor.pl").read_text()


def _impostor(kind: Kind) -> Fault:
    """Another answers to the sampler's name."""
    return Fault(
        begins=(
            "mv /usr/bin/perl /usr/bin/perl.own; "
            'printf %s "$5" | install -m 644 /proc/self/fd/0 /run/impostor.pl; '
            f'printf \'#!/bin/sh\\nexec /usr/bin/perl.own /run/impostor.pl {kind} %s "$@"\\n\' "$4" '
            f"| install -m 755 /proc/self/fd/0 /usr/bin/perl; pkill -KILL -f {_SAMPLER}"
        ),
        ends="mv -f /usr/bin/perl.own /usr/bin/perl; pkill -KILL -f '^(/usr/bin/perl.own /run/impostor.pl|yes$)'",
        inside=True,
        text=_IMPOSTOR,
    )


FAULTS: Mapping[Kind, Fault] = {
    "paused": Fault(begins='xl pause "$1"', ends='xl unpause "$1"'),
    "rebooting": Fault(begins='xl destroy "$1"', ends='xl create -q "/etc/xen/ballast/$1.cfg"'),
    "stuck": Fault(begins=_MAY_READ, ends=f'{_MAY_READ} "r$id"'),
    "stale": Fault(begins=f"pkill -STOP -f {_SAMPLER}", ends=f"pkill -CONT -f {_SAMPLER}", inside=True),
    **{kind: _impostor(kind) for kind in ("lying", "claiming", "babbling", "flooding")},
}
"""What the lab can do to a guest; of the other kinds only the simulator's guests are capable."""


@contextmanager
def standing_by(site: Site, works: Sequence[Work], clock: Clock) -> Iterator[Faults]:
    """Have every fault that the guests' behaviour asks for wait for the word; left, none of them goes on.

    Raises:
        ConnectionFailed: one could not be started.

    """
    faulted = [work for work in works if work.guest.behaviour is not None]
    faults = Faults([])
    if not faulted:
        yield faults
        return
    domains = {machine.name: machine.xen_name for machine in site.guests}
    with connect(site.dom0) as connection:
        try:
            for work in faulted:
                argv = _command(work.guest, domains[work.guest.name])
                if _fault(work.guest).inside:
                    faults.processes.append(work.client.run(argv))
                else:
                    wire = transport(connection)
                    faults.processes.append(RemoteProcess(argv, wire.open_session, name="fault", clock=clock.now_s))
            if not all(process.wait_ready(READY_S) for process in faults.processes):
                raise ConnectionFailed(f"{site.dom0}: a fault that was asked for is not ready within {READY_S:.0f} s")
            yield faults
        finally:
            for process in faults.processes:
                with suppress(paramiko.SSHException, OSError, EOFError):
                    if not process.ended:
                        process.kill(timeout_s=READY_S)


@dataclass(frozen=True, slots=True)
class Faults:
    """Faults that wait for the word."""

    processes: list[RemoteProcess]

    def go(self) -> None:
        """Give it."""
        for process in self.processes:
            process.go()


def _fault(guest: Guest) -> Fault:
    assert guest.behaviour is not None
    return FAULTS[guest.behaviour.kind]


def _command(guest: Guest, domain: str) -> Sequence[str]:
    assert guest.behaviour is not None
    return _fault(guest).command(guest.behaviour, domain)
