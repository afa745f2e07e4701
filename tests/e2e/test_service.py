"""The service on real Xen: room for a guest that is created while it runs, and a service that is killed."""

from __future__ import annotations

import json
import signal
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
import yaml

from harness.experiment.sweep import Guest
from harness.service.door import DoorError, ask
from harness.xen.host import LEASE_S
from harness.xen.machine import Machine
from tests.e2e.conftest import BIN, PROJECT, Lived
from tests.e2e.test_control import until, xl_list_mib

pytestmark = pytest.mark.lab


@dataclass(frozen=True, slots=True, kw_only=True)
class Service:
    """A running `ballast balance --config`."""

    process: subprocess.Popen[str]
    folder: Path

    def ballast(self, *argv: str) -> subprocess.Popen[str]:
        command = [str(BIN / "ballast"), *argv, "--socket", str(self.folder / "s")]
        return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, cwd=PROJECT)

    def balanced(self) -> dict[str, float]:
        """Guests that take part, and what they have (MiB)."""
        try:
            shown = ask(self.folder / "s", {"op": "show"})
        except DoorError:
            return {}
        return {guest["name"]: guest["current_kib"] / 1024 for guest in shown["guests"] if guest["balanced"]}

    def events(self) -> list[str]:
        lines = (json.loads(line) for line in (self.folder / "lines.jsonl").read_text().splitlines())
        return [f"{line['event']} {line['guest']} {line['detail']}" for line in lines if "event" in line]


@pytest.fixture
def service(lived: Lived, tmp_path: Path) -> Iterator[Service]:
    lived.restore()
    dom0 = lived.site.dom0
    said = {
        "login": {"key_file": str(dom0.key_file), "known_hosts": str(dom0.known_hosts)},
        "host": {"address": dom0.address, "port": dom0.port},
        "guests": [_rule(*pair) for pair in zip(lived.site.guests, lived.experiment.guests, strict=True)],
        "policy": "equal",
        "pool_mib": lived.experiment.pool_mib,
        "reserve_mib": lived.experiment.reserve_mib,
        "socket": str(tmp_path / "s"),
        "decisions": str(tmp_path / "lines.jsonl"),
    }
    (tmp_path / "service.yml").write_text(yaml.safe_dump(said))
    command = [str(BIN / "ballast"), "balance", "--config", str(tmp_path / "service.yml")]
    with (tmp_path / "log").open("w") as log:
        process = subprocess.Popen(command, stdout=log, stderr=log, text=True, cwd=PROJECT)
    made = Service(process=process, folder=tmp_path)
    try:
        until(lambda: set(made.balanced()) == {"g1", "g2"}, 120, "the service balances both guests")
        yield made
    finally:
        process.send_signal(signal.SIGTERM)
        process.wait(60)


def _rule(machine: Machine, guest: Guest) -> dict[str, object]:
    return {
        "match": machine.xen_name, "address": machine.address, "port": machine.port,
        "min_mib": guest.min_mib, "max_mib": guest.max_mib,
    }  # fmt: skip


def test_a_guest_is_created_in_the_room_that_was_made_for_it_and_of_two_who_ask_one_is_refused(
    lived: Lived, service: Service
) -> None:
    lived.ask("dom0", "xl", "destroy", "g2")
    until(lambda: service.balanced().get("g1", 0) > 440, 120, "g1 has what g2 had")
    asking = [service.ballast("room", "288MiB", "--for", "10min") for _ in range(2)]
    answers = [process.communicate(timeout=300)[0] for process in asking]
    granted, refused = sorted(answers, key=lambda text: "cannot be had" in text)
    assert "288 MiB are free for 600 s" in granted
    assert "cannot be had now" in refused
    assert sorted(process.returncode for process in asking) == [0, 1]
    info = dict(line.split(":", 1) for line in lived.ask("dom0", "xl", "info").splitlines() if ":" in line)
    free_mib = next(int(value) for key, value in info.items() if key.strip() == "free_memory")
    assert free_mib >= 288 + lived.experiment.reserve_mib
    lived.ask("dom0", "xl", "create", "/etc/xen/ballast/g2.cfg")
    until(lambda: any("taken" in event for event in service.events()), 120, "it is seen that the newcomer has it")
    until(lambda: set(service.balanced()) == {"g1", "g2"}, 240, "the newcomer is balanced")


def test_a_service_that_is_killed_leaves_its_guests_what_they_have(lived: Lived, service: Service) -> None:
    until(lambda: min(service.balanced().values(), default=0) > 310, 120, "each has half of the pool")
    before = xl_list_mib(lived)
    service.process.kill()
    service.process.wait(30)
    lived.ask("dom0", "sleep", str(LEASE_S + 10))  # by its own clock: dom0 has done by then what it does by itself
    after = xl_list_mib(lived)
    assert {name: after[name] for name in ("g1", "g2")} == pytest.approx(
        {name: before[name] for name in ("g1", "g2")}, abs=2
    )
