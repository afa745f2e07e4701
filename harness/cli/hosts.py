"""Are the hosts of an inventory fit for an experiment? Each problem with its remedy; nothing is changed."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor

from harness.cli.doctor import Finding
from harness.experiment.config import Experiment
from harness.experiment.connection import KIB_PER_MIB
from harness.experiment.live import TrialError, check_types
from harness.experiment.site import Site
from harness.experiment.sweep import Guest
from harness.xen.describe import answer, xl_info
from harness.xen.domains import HostState, StateError
from harness.xen.link import AgentLink, LinkError, NoAnswerError
from harness.xen.machine import Machine
from harness.xen.ssh import ConnectionFailed, connect
from harness.xen.wire import Dom0Wire

ANSWER_S = 60.0
OTHERS = {
    "xapi": "XenServer's toolstack", "squeezed": "XenServer's balancer", "xenopsd-xc": "XenServer's toolstack",
    "qmemman": "Qubes' balancer", "libvirtd": "libvirt",
}  # fmt: skip
"""Programs in dom0 that set guests' memory too."""
HARMLESS = frozenset({"libvirtd"})
"""With its autoballoon off, which roles/xen_host sees to."""
LOOK = """
cat /sys/devices/system/xen_memory/xen_memory0/target_kb >/dev/null 2>&1 && echo balloon
grep -q '^some ' /proc/pressure/memory 2>/dev/null && echo pressure
command -v perl >/dev/null && echo perl
sed -n 's/^SwapTotal: *\\([0-9]*\\) kB$/swap \\1/p' /proc/meminfo
"""


def examine(experiment: Experiment, site: Site, *, enter: bool) -> Iterator[Finding]:
    """Say how each machine is entered and, with `enter`, what it is found to be, as a trial would meet it."""
    if not enter:
        yield from (Finding(what=_way(machine)) for machine in (site.dom0, *site.guests))
        return
    with ThreadPoolExecutor(len(site.guests) + 1) as pool:
        host = pool.submit(lambda: list(_host(experiment, site)))
        guests = pool.map(lambda each: list(_guest(*each)), zip(experiment.guests, site.guests, strict=True))
        yield from host.result()
        for findings in guests:
            yield from findings


def _way(machine: Machine) -> str:
    sudo = ", root by sudo" if machine.sudo else ""
    keys = str(machine.key_file or "the keys of ~/.ssh")
    agent = " and the SSH agent" if machine.agent and os.environ.get("SSH_AUTH_SOCK") else ""
    return f"{machine}: {keys}{agent}{sudo}; hosts of {machine.known_hosts}"


def _host(experiment: Experiment, site: Site) -> Iterator[Finding]:
    dom0 = site.dom0
    try:
        with connect(dom0, wire=Dom0Wire) as connection:
            info = xl_info(answer(dom0, connection, dom0.privileged(["xl", "info"])))
            running = answer(dom0, connection, ["ps", "-eo", "comm="])
        yield Finding(what=_way(dom0))
        yield from booted(dom0.name, info, running)
        if "xen_version" not in info:
            return
        link = AgentLink(dom0)
        try:
            state = HostState.told(link.ask({"op": "state"}, ANSWER_S))
            link.ask({"op": "bye", "restore": False}, ANSWER_S)
        finally:
            link.close()
    except (ConnectionFailed, LinkError, NoAnswerError, StateError) as error:
        yield Finding(what=f"{dom0.name} cannot be asked", remedy=str(error))
        return
    yield from fits(experiment, site, state)


def booted(name: str, info: Mapping[str, str], running: Sequence[str]) -> Iterator[Finding]:
    """Judge what `xl info` says, and who runs in dom0."""
    if "xen_version" not in info:
        yield Finding(what=f"{name} runs no Xen", remedy="playbooks/provision.yml makes one of it (docs/hosts.md)")
        return
    yield Finding(what=f"{name}: Xen {info['xen_version']}, {info.get('xen_scheduler', '?')}")
    if not re.search(r"(^| )dom0_mem=", info.get("xen_commandline", "")):
        said = "set xen_host_boot: true for roles/xen_host, or write dom0_mem into GRUB_CMDLINE_XEN, and boot"
        yield Finding(what=f"{name}: dom0 has no size of its own (dom0_mem)", remedy=said)
    if info.get("xen_scheduler") != "credit2":
        said = "take sched= out of Xen's command line; weights and caps are set by xl sched-credit2"
        yield Finding(what=f"{name}: the scheduler is {info.get('xen_scheduler')}", remedy=said)
    for program in sorted({word.strip() for word in running} & (OTHERS.keys() - HARMLESS)):
        said = "stop it: two that set targets undo each other's"
        yield Finding(what=f"{name}: {program} ({OTHERS[program]}) is at work too", remedy=said)


def fits(experiment: Experiment, site: Site, state: HostState) -> Iterator[Finding]:
    """Judge whether the experiment fits what Xen has."""
    names = {machine.name: machine.xen_name for machine in site.guests}
    to_be_made = [machine.xen_name for machine in site.guests if machine.made and machine.xen_name not in state.domains]
    if to_be_made:
        yield Finding(what=f"Xen has no domain {', '.join(to_be_made)} yet; playbooks/provision.yml makes it")
        return
    if missing := [name for name in names.values() if name not in state.domains]:
        has = ", ".join(name for name, domain in state.domains.items() if domain.domid)
        yield Finding(
            what=f"Xen has no domain {', '.join(missing)}; it has {has or 'none'}",
            remedy="start it, or set xen_domain; of several domains with one name none is meant",
        )
        return
    domains = {name: state.domains[xen_name] for name, xen_name in names.items()}
    if any(domain.hvm is None for domain in domains.values()):
        yield Finding(
            what="Xen's Python bindings are missing in dom0", remedy="install xen-utils-… of the Xen that runs"
        )
    for guest in experiment.guests:
        most_kib = domains[guest.name].static_max_kib
        if most_kib is not None and most_kib < guest.max_mib * KIB_PER_MIB:
            said = f"start it with maxmem = {guest.max_mib}, or lower max_mib"
            yield Finding(what=f"{guest.name} was created for {most_kib // KIB_PER_MIB} MiB", remedy=said)
    try:
        check_types(experiment, domains)
    except TrialError as error:
        yield Finding(what="a guest is of another type", remedy=str(error))
    room_mib = (state.free_kib + sum(domain.current_kib for domain in domains.values())) // KIB_PER_MIB
    needed_mib = experiment.pool_mib + experiment.reserve_mib
    if needed_mib > room_mib:
        said = f"pool_mib + reserve_mib is {needed_mib}; lower pool_mib, or end other domains"
        yield Finding(what=f"the host has {room_mib} MiB for these guests", remedy=said)
    else:
        yield Finding(what=f"the host has {room_mib} MiB for these guests, which want {needed_mib}")


def _guest(guest: Guest, machine: Machine) -> Iterator[Finding]:
    try:
        with connect(machine) as connection:
            said = answer(machine, connection, ["sh", "-c", LOOK])
    except ConnectionFailed as error:
        if machine.made:
            yield Finding(what=f"{machine.name} does not answer yet; playbooks/provision.yml makes it or starts it")
        else:
            yield Finding(what=f"{machine.name} cannot be entered", remedy=str(error))
        return
    yield Finding(what=_way(machine))
    yield from able(guest, said)


def able(guest: Guest, said: Sequence[str]) -> Iterator[Finding]:
    """Judge what a guest says of itself, in the words of `LOOK`; it is not believed further than that."""
    if "balloon" not in said:
        yield Finding(what=f"{guest.name} has no balloon", remedy="boot a kernel with CONFIG_XEN_BALLOON")
    if "pressure" not in said:
        yield Finding(what=f"{guest.name} tells no pressure", remedy="boot its kernel with psi=1")
    if "perl" not in said:
        yield Finding(what=f"{guest.name} has no perl", remedy="install perl-base, in which the sampler is written")
    sizes = [int(found[1]) for line in said if (found := re.fullmatch(r"swap ([0-9]{1,12})", line))]
    swap_mib, wanted_mib = sum(sizes[:1]) // KIB_PER_MIB, guest.max_mib - guest.min_mib
    if swap_mib < wanted_mib - 1:  # the header of a swap area takes a page
        said_so = f"give it {wanted_mib} MiB (max_mib - min_mib): it is killed where squeezed memory has nowhere to go"
        yield Finding(what=f"{guest.name} has {swap_mib} MiB of swap", remedy=said_so)
