"""What a Xen host says about itself, once a run, for the manifest."""

from __future__ import annotations

from collections.abc import Iterable

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


def xl_info(lines: Iterable[str]) -> dict[str, str]:
    """Read `xl info`: one `name : value` a line."""
    pairs = (line.partition(":") for line in lines)
    return {name.strip(): value.strip() for name, colon, value in pairs if colon}


def describe(dom0: Machine) -> dict[str, str]:
    """Ask dom0 which Xen this is.

    Raises:
        ConnectionFailed: it cannot be reached.
    """
    with connect(dom0) as connection:
        _, output, _ = connection.exec_command("xl info", timeout=60)
        told = xl_info(output.read().decode(errors="replace").splitlines())
    return {name: told[source] for name, source in NAMES.items() if source in told}
