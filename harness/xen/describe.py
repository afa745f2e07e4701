"""What a Xen host and its guests say about themselves, once a run, for the manifest."""

from __future__ import annotations

import re
import shlex
import time
from collections.abc import Iterable, Sequence
from itertools import islice

import paramiko

from harness.xen.machine import Machine
from harness.xen.ssh import PATIENCE_S, ConnectionFailed, connect, execute, transport
from harness.xen.wire import Dom0Wire

NAMES = {
    "version": "xen_version",
    "scheduler": "xen_scheduler",
    "capabilities": "xen_caps",
    "command_line": "xen_commandline",
    "dom0_kernel": "release",
    "total_memory_mib": "total_memory",
    "cpus": "nr_cpus",
}
"""What the manifest calls it → what `xl info` does."""


DPKG = r"${Package}\t${Version}\t${Depends}\n"
MOST_PACKAGES = 1000
LONGEST_ANSWER, ANSWER_S = 1 << 20, 60.0
"""Bytes and seconds for all of it: a guest that answers without end is none that answers."""
_NAME, _VERSION = re.compile(r"[a-z0-9][a-z0-9+.-]{0,99}"), re.compile(r"[A-Za-z0-9.+:~-]{1,99}")
"""Debian Policy §5.6.1 and §5.6.12; what is named otherwise is none of its packages."""


def xl_info(lines: Iterable[str]) -> dict[str, str]:
    """Read `xl info`: one `name : value` a line."""
    pairs = (line.partition(":") for line in lines)
    return {name.strip(): value.strip() for name, colon, value in pairs if colon}


def dpkg_packages(lines: Iterable[str]) -> dict[str, tuple[str, tuple[str, ...]]]:
    """Read `dpkg-query` in the form of `DPKG`: package → its version, and what it depends on."""
    found = {}
    for line in islice(lines, MOST_PACKAGES):
        name, version, depends = (*line.split("\t"), "", "")[:3]
        if _VERSION.fullmatch(version) and _NAME.fullmatch(name):
            found[name] = version, tuple(re.findall(r"(?:^|[,|] *)([a-z0-9][a-z0-9+.-]+)", depends))
    return found


def answer(machine: Machine, connection: paramiko.SSHClient, argv: Sequence[str]) -> list[str]:
    """Return the lines that a command prints.

    Raises:
        ConnectionFailed: it takes or prints too much, or the connection broke.

    """
    until_s, said = time.monotonic() + ANSWER_S, bytearray()
    try:
        with transport(connection).open_session(timeout=PATIENCE_S) as channel:
            channel.settimeout(PATIENCE_S)
            execute(channel, shlex.join(argv))
            while (piece := channel.recv(1 << 16)) and len(said) <= LONGEST_ANSWER and time.monotonic() < until_s:
                said += piece
    except (paramiko.SSHException, OSError, EOFError) as error:
        raise ConnectionFailed(f"{machine}: {argv[0]} gave no answer ({error}). Try again.") from error
    if piece:
        raise ConnectionFailed(f"{machine}: {argv[0]} does not end; look at what it prints there.")
    return said.decode(errors="replace").splitlines()


def installed(guest: Machine, packages: Sequence[str]) -> dict[str, str]:
    """Ask a guest for the versions of packages, and of what they directly depend on: many are only a name for others.

    Raises:
        ConnectionFailed: it cannot be reached.
    """
    if not packages:
        return {}
    with connect(guest) as connection:

        def query(names: Iterable[str]) -> dict[str, tuple[str, tuple[str, ...]]]:
            argv = ["dpkg-query", "--show", f"--showformat={DPKG}", *sorted(names)]
            return dpkg_packages(answer(guest, connection, argv))

        found = query(packages)
        found |= query({name for _, depends in found.values() for name in depends} or packages)
    return {name: version for name, (version, _) in sorted(found.items())}


def describe(dom0: Machine) -> dict[str, str]:
    """Ask dom0 which Xen this is.

    Raises:
        ConnectionFailed: it cannot be reached.
    """
    with connect(dom0, wire=Dom0Wire) as connection:
        told = xl_info(answer(dom0, connection, dom0.privileged(["xl", "info"])))
    return {name: told[source] for name, source in NAMES.items() if source in told}
