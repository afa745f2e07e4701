"""A running service on the lab, as the tests need one."""

from __future__ import annotations

import json
import signal
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from harness.experiment.sweep import Guest
from harness.service.door import DoorError, ask
from harness.xen.machine import Machine
from tests.e2e.conftest import BIN, PROJECT, Lived
from tests.e2e.test_control import until


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

    def lines(self) -> list[dict[str, Any]]:
        """What it has written so far: ticks, and what happened."""
        return [json.loads(line) for line in (self.folder / "lines.jsonl").read_text().splitlines()]

    def events(self) -> list[str]:
        return [f"{line['event']} {line['guest']} {line['detail']}" for line in self.lines() if "event" in line]


def wanted(lived: Lived, **others: object) -> dict[str, Any]:
    """What a service's file says that balances the guests of the lab by `equal`."""
    dom0 = lived.site.dom0
    return {
        "login": {"key_file": str(dom0.key_file), "known_hosts": str(dom0.known_hosts)},
        "host": {"address": dom0.address, "port": dom0.port},
        "guests": [_rule(*pair) for pair in zip(lived.site.guests, lived.experiment.guests, strict=True)],
        "policy": "equal",
        "pool_mib": lived.experiment.pool_mib,
        "reserve_mib": lived.experiment.reserve_mib,
    } | others


@contextmanager
def serving(lived: Lived, folder: Path, **others: object) -> Iterator[Service]:
    """Balance them for as long as it is wanted; `others`: what its file says besides."""
    said = wanted(lived, socket=str(folder / "s"), decisions=str(folder / "lines.jsonl"), **others)
    (folder / "service.yml").write_text(yaml.safe_dump(said))
    command = [str(BIN / "ballast"), "balance", "--config", str(folder / "service.yml")]
    with (folder / "log").open("w") as log:
        process = subprocess.Popen(command, stdout=log, stderr=log, text=True, cwd=PROJECT)
    made = Service(process=process, folder=folder)
    try:
        names = {guest["match"] for guest in said["guests"]}
        until(lambda: set(made.balanced()) == names, 120, "the service balances all guests")
        yield made
    finally:
        process.send_signal(signal.SIGTERM)
        process.wait(60)


def _rule(machine: Machine, guest: Guest) -> dict[str, object]:
    return {
        "match": machine.xen_name, "address": machine.address, "port": machine.port,
        "min_mib": guest.min_mib, "max_mib": guest.max_mib,
    }  # fmt: skip
