"""Are the hosts of an inventory fit for an experiment? Each problem with its remedy; nothing is changed."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

from harness.cli.doctor import Finding
from harness.experiment.config import Experiment
from harness.experiment.site import Site
from harness.xen.machine import Machine
from harness.xen.ssh import ConnectionFailed, connect
from harness.xen.wire import Dom0Wire, Wire


def examine(experiment: Experiment, site: Site, *, enter: bool) -> Iterator[Finding]:
    """Say how each machine is entered and, with `enter`, whether it lets us in, as a trial would be."""
    machines = (site.dom0, *site.guests)
    if not enter:
        yield from (Finding(what=_way(machine)) for machine in machines)
        return
    with ThreadPoolExecutor(len(machines)) as pool:
        yield from pool.map(_entered, machines, [Dom0Wire, *([Wire] * len(site.guests))])


def _way(machine: Machine) -> str:
    sudo = ", root by sudo" if machine.sudo else ""
    keys = str(machine.key_file or "the keys of ~/.ssh")
    return f"{machine}: {keys}{' and the SSH agent' if machine.agent else ''}{sudo}; hosts of {machine.known_hosts}"


def _entered(machine: Machine, wire: type[Wire]) -> Finding:
    try:
        connect(machine, wire=wire).close()
    except ConnectionFailed as error:
        return Finding(what=f"{machine.name} cannot be entered", remedy=str(error))
    return Finding(what=_way(machine))
