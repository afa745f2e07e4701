"""Waiting for the machines of a lab, and ways in for a person."""

from __future__ import annotations

import socket
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

import yaml

from harness.lab.image import LabError
from harness.lab.lab import Lab

BOOT_S = 240.0
"""A machine that has not answered by then never will; measured: 15 to 60 s without hardware virtualisation."""


def machines(lab: Lab) -> list[dict[str, Any]]:
    """The machines of a running lab with their group and variables, as Ansible's add_host takes them."""
    tree = yaml.safe_load(lab.inventory.read_text())
    return [
        {"name": name, "group": group, "variables": content["vars"] | own}
        for group, content in tree.items()
        for name, own in content["hosts"].items()
    ]


def wait(ports: Mapping[str, int], say: Callable[[str], None], timeout_s: float = BOOT_S) -> None:
    """Return when an SSH server answers behind every one of these ports.

    Raises:
        LabError: one has not answered within `timeout_s`; the message says where its console is.
    """
    start_s = time.monotonic()
    missing = dict(ports)
    while missing:
        for name, port in list(missing.items()):
            if _greets(port):
                say(f"{name} answers")
                del missing[name]
        if time.monotonic() - start_s > timeout_s:
            raise LabError(
                f"no answer from {', '.join(missing)} within {timeout_s:.0f} s; "
                "the console tells why: ballast lab console, and /var/log/xen in dom0 for the guests'"
            )
        time.sleep(0.2)


def _greets(port: int) -> bool:
    """Whether a server says SSH. QEMU takes any connection; only a machine that is up sends a greeting."""
    with suppress(OSError), socket.create_connection(("127.0.0.1", port), timeout=2.0) as connection:
        return connection.recv(4) == b"SSH-"
    return False


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
