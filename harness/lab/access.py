"""Waiting for the machines of a lab, and ways in for a person."""

from __future__ import annotations

import socket
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

import yaml

from harness.lab.image import LabError
from harness.lab.lab import Lab

BOOT_S = 400.0
"""A machine that has not answered by then never will; measured: 15 to 120 s without hardware virtualisation."""
FIRST_PATIENCE_S = 2.0
"""For a greeting; twice as long each time."""


def machines(lab: Lab) -> list[dict[str, Any]]:
    """The machines of a running lab with their group and variables, as Ansible's add_host takes them."""
    tree = yaml.safe_load(lab.inventory.read_text())
    return [
        {"name": name, "group": group, "variables": own, "provisioned": lab.provisioned}
        for group, content in tree.items()
        for name, own in content["hosts"].items()
    ]


def wait(ports: Mapping[str, int], say: Callable[[str], None], timeout_s: float = BOOT_S) -> None:
    """Return when an SSH server answers behind every one of these ports.

    Raises:
        LabError: one has not answered within `timeout_s`; the message says where its console is.
    """
    deadline_s = time.monotonic() + timeout_s
    calls = {name: _Call(port) for name, port in ports.items()}
    try:
        while calls and time.monotonic() < deadline_s:
            answered = [name for name, call in calls.items() if call.answered()]
            for name in answered:
                calls.pop(name).hang_up()
            if answered:
                left = f"; waiting for {', '.join(calls)}" if calls else ""
                say(f"{', '.join(answered)} answer{'s' if len(answered) == 1 else ''}{left}")
            time.sleep(0.2)
    finally:
        for call in calls.values():
            call.hang_up()
    if calls:
        raise LabError(
            f"no answer from {', '.join(calls)} within {timeout_s:.0f} s; "
            "the console tells why: ballast lab console, and /var/log/xen in dom0 for the guests'"
        )


class _Call:
    """One machine, asked for its greeting. QEMU takes any connection; only a machine that is up says SSH.

    A machine under load is given longer each time: every call has it start a process, and calls that nobody waits for
    to the end would be what keeps it from answering.
    """

    def __init__(self, port: int) -> None:
        self._port, self._patience_s = port, FIRST_PATIENCE_S
        self._connection: socket.socket | None = None
        self._given_up_s = 0.0

    def answered(self) -> bool:
        """Look whether it has answered by now; call again when it hung up, or when patience is at its end."""
        if self._connection is None:
            with suppress(OSError):
                self._connection = socket.create_connection(("127.0.0.1", self._port), timeout=FIRST_PATIENCE_S)
                self._connection.setblocking(False)
                self._given_up_s = time.monotonic() + self._patience_s
            return False
        try:
            if self._connection.recv(4) == b"SSH-":
                return True
            self.hang_up()
        except BlockingIOError:
            if time.monotonic() > self._given_up_s:
                self.hang_up()
                self._patience_s *= 2
        except OSError:
            self.hang_up()
        return False

    def hang_up(self) -> None:
        """End the call, if there is one."""
        if self._connection is not None:
            self._connection.close()
            self._connection = None


def with_machine(labs: Sequence[Lab], name: str) -> Lab:
    """The one of these labs that has a machine of this name.

    Raises:
        LabError: none has.
    """
    known = {machine["name"]: lab for lab in labs for machine in machines(lab)}
    if name not in known:
        raise LabError(f"the lab has no {name}; it has {', '.join(known)}")
    return known[name]


def ssh_command(lab: Lab, name: str) -> list[str]:
    """The ssh command that opens a shell on a machine of the lab.

    Raises:
        LabError: there is no such machine.
    """
    known = {machine["name"]: machine["variables"] for machine in machines(lab)}
    if name not in known:
        raise LabError(f"the lab has no {name}; it has {', '.join(known)}")
    variables = known[name]
    return [
        "ssh", "-p", str(variables["ansible_port"]), "-i", variables["ansible_ssh_private_key_file"],
        *variables["ansible_ssh_common_args"].split(), f"{variables['ansible_user']}@{variables['ansible_host']}",
    ]  # fmt: skip


def console(folder: Path) -> socket.socket:
    """Connect to the console of Xen and dom0; what it said before is in console.log beside it."""
    connection = socket.socket(socket.AF_UNIX)
    connection.connect(str(folder / "console.sock"))
    return connection
