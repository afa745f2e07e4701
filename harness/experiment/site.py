"""Where an experiment runs: the machines that an Ansible inventory names, seen with the harness's eyes."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from harness.clocks import SystemClock
from harness.experiment import entered
from harness.experiment.config import Experiment
from harness.experiment.document import ConfigError
from harness.experiment.entered import Facts
from harness.experiment.inventory import machines
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


Sites = Mapping[str, Site]
"""By the names of the hosts that the experiment spreads its guests over; of one that does not, one called nothing."""


def from_inventory(inventories: Sequence[Path], experiment: Experiment) -> Site:
    """Ask Ansible where an experiment runs by this inventory, one whose guests are on one host.

    Raises:
        ConfigError: it cannot be read, does not name one Xen host and every guest of the experiment, or has one of
            them entered in a way that we do not have.
    """
    return site(machines(inventories), experiment, ", ".join(map(str, inventories)))


def all_from_inventory(inventories: Sequence[Path], experiment: Experiment) -> Sites:
    """Ask Ansible where each part of an experiment runs by this inventory.

    Raises:
        ConfigError: as above.
    """
    return sites(machines(inventories), experiment, ", ".join(map(str, inventories)))


def sites(known: Mapping[str, Facts], experiment: Experiment, said: str) -> Sites:
    """Find the machines of each part of an experiment, which has its own host.

    Raises:
        ConfigError: as above.
    """
    found = {host: site(known, part, said) for host, part in experiment.parts().items()}
    of: dict[tuple[str, int, Sequence[str]], str] = {}
    for host, one in found.items():
        place = (one.dom0.address, one.dom0.port, one.dom0.proxy)
        if (other := of.setdefault(place, host)) != host:
            raise ConfigError(f"{said}: {other} and {host} are one machine ({one.dom0}); correct ansible_host or port")
    return found


def site(known: Mapping[str, Facts], experiment: Experiment, said: str) -> Site:
    """Find the experiment's machines among those that Ansible tells of; `said` is where it has them from.

    Raises:
        ConfigError: as above.
    """
    guests = [guest.name for guest in experiment.guests]
    there = {name: facts for name, facts in known.items() if "fault" in facts or "xen_guests" in facts["groups"]}
    if missing := [name for name in guests if name not in there]:
        names = ", ".join(name for name in there if "fault" not in there[name])
        raise ConfigError(
            f"{said}: {experiment.name} needs the guest {missing[0]}, and group xen_guests has "
            f"{names or 'none'}; add it there, or rename it in the experiment"
        )
    _sound(there, guests, said)
    host = _host(known, experiment, said)
    _sound(known, [host], said)
    lab = known[host]["lab"]
    of = {name: _machine(known[name], said) for name in (host, *guests)}
    domains: dict[str, str] = {}
    for name in guests:
        if (other := domains.setdefault(of[name].xen_name, name)) != name:
            both = f"{other} and {name} are both the domain {of[name].xen_name} on {host}"
            raise ConfigError(f"{said}: guests {both}; correct xen_domain")
    return Site(
        dom0=of[host],
        guests=tuple(of[name] for name in guests),
        lab=Path(lab) if lab else None,
        virtual=bool(lab) and known[host]["lab_clock"] == "instructions",
    )


def _host(known: Mapping[str, Facts], experiment: Experiment, said: str) -> str:
    """The one Xen host that all guests of an experiment, or of a part of it, are on."""
    hosts = [host for host, facts in known.items() if "xen_hosts" in facts.get("groups", ())]
    named: dict[str, str] = {}
    """Host → who says that it is on it, and how."""
    for guest in experiment.guests:
        of_inventory = known[guest.name]["host_of"]
        if guest.host and of_inventory and of_inventory != guest.host:
            raise ConfigError(
                f"{said}: guest {guest.name} has xen_host: {of_inventory}, and in {experiment.name} it is on "
                f"{guest.host}; correct one of them"
            )
        named[guest.host or of_inventory] = f"guest {guest.name} has {'host' if guest.host else 'xen_host'}"
    for wanted, told in named.items():
        if wanted and wanted not in hosts:
            _sound(known, [wanted], said)
            raise ConfigError(f"{said}: {told}: {wanted}, and group xen_hosts has {', '.join(hosts) or 'none'}")
    if len(named) > 1:
        raise ConfigError(
            f"{said}: the guests of {experiment.name} are on several hosts ({', '.join(sorted(named))}), and memory "
            "does not cross hosts; give each guest of the experiment its `host`, and each host has its own pool"
        )
    (wanted,) = named
    if not wanted and len(hosts) != 1:
        _sound(known, known, said)
        raise ConfigError(
            f"{said}: group xen_hosts has {len(hosts)} hosts, and an experiment runs on exactly one; "
            "say on which each guest is: xen_host"
        )
    return wanted or hosts[0]


def _sound(known: Mapping[str, Facts], names: Iterable[str], said: str) -> None:
    for name in names:
        if fault := known.get(name, {}).get("fault"):
            raise ConfigError(f"{said}: {name}: {fault}; correct its variables")


def _machine(facts: Facts, said: str) -> Machine:
    try:
        return entered.machine(facts, entered.ask_openssh(facts))
    except ConfigError as error:
        raise ConfigError(f"{said}: {facts['name']} {error}") from None
