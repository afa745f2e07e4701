"""What a Xen host and its guests say about themselves, once a run, for the manifest."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterable, Sequence

from harness.xen.machine import Machine
from harness.xen.ssh import connect

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


def xl_info(lines: Iterable[str]) -> dict[str, str]:
    """Read `xl info`: one `name : value` a line."""
    pairs = (line.partition(":") for line in lines)
    return {name.strip(): value.strip() for name, colon, value in pairs if colon}


def dpkg_packages(lines: Iterable[str]) -> dict[str, tuple[str, tuple[str, ...]]]:
    """Read `dpkg-query` in the form of `DPKG`: package → its version, and what it depends on."""
    found = {}
    for line in lines:
        name, version, depends = (*line.split("\t"), "", "")[:3]
        if version:
            found[name] = version, tuple(re.findall(r"(?:^|[,|] *)([a-z0-9][a-z0-9+.-]+)", depends))
    return found


def installed(guest: Machine, packages: Sequence[str]) -> dict[str, str]:
    """Ask a guest for the versions of packages, and of what they directly depend on: many are only a name for others.

    Raises:
        ConnectionFailed: it cannot be reached.
    """
    if not packages:
        return {}
    with connect(guest) as connection:

        def query(names: Iterable[str]) -> dict[str, tuple[str, tuple[str, ...]]]:
            command = shlex.join(["dpkg-query", "--show", f"--showformat={DPKG}", *sorted(names)])
            _, output, _ = connection.exec_command(command, timeout=60)
            return dpkg_packages(output.read().decode(errors="replace").splitlines())

        found = query(packages)
        found |= query({name for _, depends in found.values() for name in depends} or packages)
    return {name: version for name, (version, _) in sorted(found.items())}


def describe(dom0: Machine) -> dict[str, str]:
    """Ask dom0 which Xen this is.

    Raises:
        ConnectionFailed: it cannot be reached.
    """
    with connect(dom0) as connection:
        _, output, _ = connection.exec_command("xl info", timeout=60)
        told = xl_info(output.read().decode(errors="replace").splitlines())
    return {name: told[source] for name, source in NAMES.items() if source in told}
