"""Where an experiment runs: the machines that an Ansible inventory names, seen with the harness's eyes."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from harness.clocks import SystemClock
from harness.experiment.composed import composed
from harness.experiment.config import Experiment
from harness.experiment.document import ConfigError
from harness.ports import Clock
from harness.xen.clock import Dom0Clock
from harness.xen.machine import Machine


@dataclass(frozen=True, slots=True, kw_only=True)
class Site:
    """One Xen host and the guests of the experiment, in the experiment's order."""

    dom0: Machine
    guests: tuple[Machine, ...]
    lab: Path | None
    """The folder of the lab, when it is one: every trial then starts from its snapshot."""

    virtual: bool = False
    """Whether that lab's time is its own, and not the controller's."""

    def clock(self) -> Clock:
        """Whose time it is here: the one place where that is decided."""
        return Dom0Clock() if self.virtual else SystemClock()

    def only(self, names: Sequence[str]) -> Site:
        """Return the site with these guests alone, in this order."""
        of = {machine.name: machine for machine in self.guests}
        return replace(self, guests=tuple(of[name] for name in names))


def from_inventory(inventories: Sequence[Path], experiment: Experiment) -> Site:
    """Read an inventory with Ansible's own reader.

    Raises:
        ConfigError: it cannot be read, or does not name one Xen host and every guest of the experiment.
    """
    said = ", ".join(map(str, inventories))
    for path in inventories:
        if not path.exists():
            raise ConfigError(f"{path}: no such inventory; start from a copy of inventory/example.yml")
        if path.is_file() and path.suffix in (".yml", ".yaml"):
            composed(path)  # Ansible would write out whatever its aliases stand for
    program = Path(sys.executable).with_name("ansible-inventory")
    command = [str(program), *(f"--inventory={path}" for path in inventories), "--list"]
    read = subprocess.run(command, capture_output=True, text=True, check=False)
    if read.returncode:
        raise ConfigError(f"{said}: Ansible cannot read it: {read.stderr.strip()[-500:]}")
    tree = json.loads(read.stdout)
    hosts = tree.get("xen_hosts", {}).get("hosts", [])
    if len(hosts) != 1:
        raise ConfigError(f"{said}: group xen_hosts has {len(hosts)} hosts; an experiment runs on exactly one")
    known = tree.get("xen_guests", {}).get("hosts", [])
    missing = [guest.name for guest in experiment.guests if guest.name not in known]
    if missing:
        raise ConfigError(
            f"{said}: {experiment.name} needs the guest {missing[0]}, and group xen_guests has "
            f"{', '.join(known) or 'none'}; add it there, or rename it in the experiment"
        )
    variables: Mapping[str, Mapping[str, Any]] = tree["_meta"]["hostvars"]
    lab = variables[hosts[0]].get("ballast_lab")
    return Site(
        dom0=_machine(hosts[0], variables[hosts[0]], said),
        guests=tuple(_machine(guest.name, variables[guest.name], said) for guest in experiment.guests),
        lab=Path(lab) if lab else None,
        virtual=bool(lab) and variables[hosts[0]].get("ballast_lab_clock") == "instructions",
    )


def _machine(name: str, variables: Mapping[str, Any], said: str) -> Machine:
    for needed in ("ansible_ssh_private_key_file", "ballast_known_hosts"):
        if needed not in variables:
            raise ConfigError(f"{said}: {name} has no {needed}; inventory/example.yml shows it")
    return Machine(
        name=name,
        address=str(variables.get("ansible_host", name)),
        port=int(variables.get("ansible_port", 22)),
        user=str(variables.get("ansible_user", "root")),
        key_file=Path(variables["ansible_ssh_private_key_file"]).expanduser(),
        known_hosts=Path(variables["ballast_known_hosts"]).expanduser(),
        domain=str(variables.get("xen_domain", "")),
    )
