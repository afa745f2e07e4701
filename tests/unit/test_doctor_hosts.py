"""`doctor --inventory` says of hosts and guests what a trial would stumble over, each with its remedy."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path

import pytest

from harness.cli import hosts
from harness.cli.doctor import Finding
from harness.cli.hosts import able, booted, examine, fits
from harness.experiment.config import Experiment
from harness.experiment.site import Site
from harness.xen.domains import Domain, HostState
from harness.xen.machine import Machine
from harness.xen.ssh import ConnectionFailed

MIB = 1024
EXPERIMENT = Experiment.model_validate({
    "name": "two", "pool_mib": 800, "reserve_mib": 64, "policies": ["static"], "duration_s": 5, "period_s": 1,
    "guests": [
        {"name": "g1", "workload": "mono", "min_mib": 200, "initial_mib": 400, "max_mib": 600, "type": "pvh"},
        {"name": "g2", "workload": "idle", "min_mib": 200, "initial_mib": 400, "max_mib": 600},
    ],
})  # fmt: skip
SITE = Site(
    dom0=Machine(name="dom0", address="192.0.2.1", known_hosts=Path("known")),
    guests=(
        Machine(name="g1", address="192.0.2.2", known_hosts=Path("known"), domain="Windows 10"),
        Machine(name="g2", address="192.0.2.3", known_hosts=Path("known")),
    ),
    lab=None,
)
GOOD = Domain(
    domid=1, current_kib=400 * MIB, max_kib=None, static_max_kib=600 * MIB, target_kib=400 * MIB, paused=False,
    dying=False, disks_kib={}, hvm=True,
)  # fmt: skip
STATE = HostState(
    total_kib=4096 * MIB, free_kib=100 * MIB, domains={"Windows 10": GOOD, "g2": replace(GOOD, domid=2, hvm=False)}
)
INFO = {"xen_version": "4.17", "xen_scheduler": "credit2", "xen_commandline": "placeholder dom0_mem=1024M,max:1024M"}


def wrong(found: Iterable[Finding]) -> list[str]:
    return [f"{finding.what}: {finding.remedy}" for finding in found if finding.remedy]


def test_a_host_and_guests_that_fit_are_not_complained_of() -> None:
    assert wrong(booted("dom0", INFO, ["systemd", "sshd", "libvirtd"])) == []
    assert wrong(fits(EXPERIMENT, SITE, STATE)) == []
    assert wrong(able(EXPERIMENT.guests[0], ["balloon", "pressure", "perl", "swap 409596"])) == []


def test_guests_that_are_yet_to_be_made_are_no_fault(monkeypatch: pytest.MonkeyPatch) -> None:
    yet = replace(SITE, guests=tuple(replace(machine, made=True) for machine in SITE.guests))
    none = replace(STATE, domains={})
    found = list(fits(EXPERIMENT, yet, none))
    assert wrong(found) == []
    assert "Xen has no domain Windows 10, g2 yet; playbooks/provision.yml makes it" in found[0].what
    assert "Xen has no domain Windows 10, g2; it has none" in wrong(fits(EXPERIMENT, SITE, none))[0]

    def away(machine: Machine, **_: object) -> None:
        raise ConnectionFailed(f"{machine.name} does not answer")

    monkeypatch.setattr(hosts, "connect", away)
    assert [said.partition(":")[0] for said in wrong(examine(EXPERIMENT, yet, enter=True))] == ["dom0 cannot be asked"]
    assert len(wrong(examine(EXPERIMENT, SITE, enter=True))) == 3


@pytest.mark.parametrize(
    ("info", "running", "said"),
    [
        ({}, [], "runs no Xen"),
        (INFO | {"xen_commandline": "placeholder no_dom0_mem=1"}, [], "no size of its own"),
        (INFO | {"xen_scheduler": "credit"}, [], "the scheduler is credit"),
        (INFO, ["xapi", "squeezed"], "squeezed .* is at work too"),
    ],
)
def test_what_is_wrong_with_a_host_is_told(info: dict[str, str], running: list[str], said: str) -> None:
    found = "\n".join(wrong(booted("dom0", info, running)))
    import re

    assert re.search(said, found)


@pytest.mark.parametrize(
    ("state", "said"),
    [
        (replace(STATE, domains={"g1": GOOD, "g2": GOOD}), "no domain Windows 10; it has g1, g2"),
        (replace(STATE, free_kib=10 * MIB), "810 MiB for these guests: pool_mib + reserve_mib is 864"),
        (replace(STATE, domains=STATE.domains | {"g2": replace(GOOD, static_max_kib=500 * MIB)}), "maxmem = 600"),
        (replace(STATE, domains=STATE.domains | {"Windows 10": replace(GOOD, hvm=False)}), "g1 is to be pvh"),
        (replace(STATE, domains=STATE.domains | {"g2": replace(GOOD, hvm=None)}), "bindings"),
    ],
)
def test_an_experiment_that_does_not_fit_the_host_is_told(state: HostState, said: str) -> None:
    assert said in "\n".join(wrong(fits(EXPERIMENT, SITE, state)))


@pytest.mark.parametrize(
    ("said", "remedy"),
    [
        (["pressure", "perl", "swap 409596"], "CONFIG_XEN_BALLOON"),
        (["balloon", "perl", "swap 409596"], "psi=1"),
        (["balloon", "pressure", "swap 409596"], "perl-base"),
        (["balloon", "pressure", "perl", "swap 204800"], "has 200 MiB of swap: give it 400 MiB"),
        (["balloon", "pressure", "perl", "swap 9999999999999999999999"], "has 0 MiB of swap"),
        ([], "has 0 MiB of swap"),
    ],
)
def test_what_a_guest_lacks_is_told(said: list[str], remedy: str) -> None:
    assert remedy in "\n".join(wrong(able(EXPERIMENT.guests[0], said)))


def test_without_entering_only_the_ways_are_told() -> None:
    found = list(examine(EXPERIMENT, SITE, enter=False))
    assert [finding.what.split(":")[0] for finding in found] == [
        "dom0 (root@192.0.2.1", "g1 (root@192.0.2.2", "g2 (root@192.0.2.3",
    ]  # fmt: skip
    assert wrong(found) == []
