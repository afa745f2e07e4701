"""The service as its file says: guests come and go, room is made, the file is read again."""

from __future__ import annotations

import json
import socket
import threading
import time
import urllib.request
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner

from harness.cli import app
from harness.governor import Plan
from harness.ports import Outcome
from harness.service import standing
from harness.service.door import DoorError, ask
from harness.service.journal import Journal
from harness.service.standing import Standing
from harness.view import HostView
from harness.xen.machine import Machine
from harness.xen.source import Terms
from harness.xen.ssh import ConnectionFailed
from tests.unit.test_roster import Ear
from tests.unit.views import MIB

FILE = """\
login: {{key_file: {folder}/key, known_hosts: {folder}/known}}
host: {{address: xen1}}
guests: [{{match: 'web-*', min_mib: 128, max_mib: 4096}}]
policy: equal
period_s: 0.1
take_mib_s: 100000
socket: {folder}/s
decisions: {folder}/lines.jsonl
"""


class Xen:
    """Stands for a host whose guests do at once as they are told."""

    def __init__(self) -> None:
        self.size_mib: dict[str, float] = {"web-1": 1000.0, "web-2": 600.0, "other": 300.0}
        self.free_mib = 256.0
        self.away = 0
        """So many attempts to connect fail."""
        self.safe: Mapping[str, int] = {}
        self.closed = False
        self.named: list[str] = []
        self.clients: tuple[Ear, ...] = ()
        self.terms: Mapping[str, Terms] = {}

    # As XenHost.
    def start(self) -> None:
        if self.away:
            self.away -= 1
            raise ConnectionFailed("dom0 (root@xen1:22): no route to host.")

    def close(self) -> None:
        self.closed = True

    def look_after(self, guests: Iterable[Machine]) -> None:
        self.named = [guest.name for guest in guests]

    def renew_lease(self, safe_kib: Mapping[str, int] | None = None) -> None:
        self.safe = safe_kib or self.safe

    def apply(self, plan: Plan) -> Outcome:
        for step in plan.steps:
            assert step.guest in self.named
            self.free_mib += self.size_mib[step.guest] - step.target_kib / MIB
            self.size_mib[step.guest] = step.target_kib / MIB
        return Outcome(applied_kib={step.guest: step.target_kib for step in plan.steps}, failed={})

    # As XenSource.
    @property
    def domains(self) -> tuple[str, ...]:
        return tuple(self.size_mib)

    def balance(self, clients: tuple[Ear, ...], terms: Mapping[str, Terms]) -> None:
        self.clients, self.terms = clients, terms

    def view(self) -> HostView:
        names = tuple(client.name for client in self.clients)
        size = np.array([self.size_mib.get(name, np.nan) for name in names]) * MIB
        return HostView(
            time_s=time.monotonic(), total_kib=1e7, free_kib=self.free_mib * MIB, reserve_kib=256.0 * MIB, names=names,
            current_kib=size, target_kib=size, mem_total_kib=size, mem_available_kib=size - 100 * MIB,
            min_kib=np.array([float(self.terms[name].min_kib) for name in names]),
            max_kib=np.array([float(self.terms[name].max_kib) for name in names]),
            shares=np.full(len(names), 1000.0), age_s=np.zeros(len(names)),
        )  # fmt: skip


class Running:
    """A service in a thread."""

    def __init__(self, folder: Path, xen: Xen) -> None:
        self.folder, self.xen, self.stop, self.hup = folder, xen, False, False
        self.events: list[tuple[str, str, str]] = []
        self.service = Standing(
            folder / "service.yml",
            lambda *event: self.events.append(event),
            stopped=lambda: self.stop,
            reload=self._hup,
        )
        self.thread = threading.Thread(target=self.service.run, args=({}, lambda *_: None))

    def _hup(self) -> bool:
        wanted, self.hup = self.hup, False
        return wanted

    def ask(self, op: str, **keys: object) -> dict[str, object]:
        return ask(self.folder / "s", {"op": op, **keys})

    def guests(self) -> list[str]:
        try:
            return [guest["name"] for guest in self.ask("show")["guests"]]  # type: ignore[attr-defined]
        except DoorError:
            return []

    def seen_mib(self) -> list[float]:
        return [guest["current_kib"] / MIB for guest in self.ask("show")["guests"]]  # type: ignore[attr-defined]

    def told(self, event: str) -> list[str]:
        return [detail for name, _, detail in self.events if name == event]


def until(true: Callable[[], object], what: str) -> None:
    end_s = time.monotonic() + 30
    while not true():
        assert time.monotonic() < end_s, what
        time.sleep(0.02)


def write(folder: Path, text: str = FILE) -> None:
    for name in ("key", "known"):
        (folder / name).touch()
    (folder / "service.yml").write_text(text.format(folder=folder))


@pytest.fixture
def xen(monkeypatch: pytest.MonkeyPatch) -> Xen:
    made = Xen()
    monkeypatch.setattr(standing, "XenHost", lambda *_, **__: made)
    monkeypatch.setattr(standing, "XenSource", lambda *_, **__: made)
    monkeypatch.setattr(standing, "GuestClient", lambda machine, **_: Ear(machine))
    return made


@pytest.fixture
def running(tmp_path: Path, xen: Xen) -> Iterator[Running]:
    write(tmp_path)
    made = Running(tmp_path, xen)
    made.thread.start()
    try:
        until(lambda: made.guests(), "it answers")
        yield made
    finally:
        made.stop = True
        made.thread.join(10)
    assert not made.thread.is_alive()
    assert xen.closed


def test_the_guests_of_the_file_are_balanced_as_they_come_and_go(running: Running) -> None:
    until(lambda: running.guests() == ["web-1", "web-2"], "both are there, and nobody else")
    until(lambda: running.xen.size_mib["web-1"] == running.xen.size_mib["web-2"] == 800, "they are balanced")
    assert running.xen.size_mib["other"] == 300
    running.xen.size_mib["web-3"] = 200.0
    until(lambda: running.guests() == ["web-1", "web-2", "web-3"], "a third joins")
    until(lambda: running.xen.size_mib["web-3"] == 600, "and has its part")
    assert sum(running.xen.safe.values()) <= 1800 * MIB
    del running.xen.size_mib["web-3"]
    running.xen.free_mib += 600
    until(lambda: running.xen.size_mib["web-1"] == 900, "when it has gone the others have what it had")


def test_room_is_made_for_who_asks_at_the_door(running: Running) -> None:
    until(lambda: running.xen.size_mib["web-1"] == 800, "they are balanced")
    done = CliRunner().invoke(app, ["room", "500MiB", "--socket", str(running.folder / "s")])
    assert done.exit_code == 0, done.output
    assert "500 MiB are free for 60 s" in done.output
    running.xen.free_mib -= 500  # somebody starts
    running.xen.size_mib["newcomer"] = 500.0
    until(lambda: "taken" in " ".join(running.told("room")), "it is seen that he has taken it")
    assert running.xen.size_mib["web-1"] + running.xen.size_mib["web-2"] == 1100


def test_what_a_guest_had_that_is_stopped_is_kept_for_it_where_the_file_says_so(running: Running) -> None:
    write(running.folder, FILE.replace("max_mib: 4096", "max_mib: 4096, keep_s: 600"))
    running.hup = True
    until(lambda: running.told("reloaded"), "the new file counts")
    until(lambda: running.seen_mib() == [800, 800], "they are balanced, and the service has seen it")
    del running.xen.size_mib["web-2"]
    running.xen.free_mib += 800
    until(lambda: running.told("kept"), "its part is kept")
    assert running.told("kept") == ["800 MiB for 600 s: it has stopped"]
    until(lambda: any("ready" in told for told in running.told("room")), "and is there")
    assert running.ask("show")["host"]["kept_kib"] == 800 * MIB  # type: ignore[index]
    assert running.xen.size_mib["web-1"] == 800
    running.xen.size_mib["web-2"], running.xen.free_mib = 800.0, running.xen.free_mib - 800
    until(lambda: any("taken" in told for told in running.told("room")), "it has it again")


def test_a_new_file_counts_when_it_can_be_used_and_else_the_old_one_does(running: Running) -> None:
    write(running.folder, FILE.replace("'web-*'", "'*'").replace("period_s: 0.1", "period_s: 7"))
    running.hup = True
    until(lambda: "other" in running.guests(), "the new file speaks of everybody")
    assert running.told("reloaded") == ["restart it for what is new of period_s"]
    write(running.folder, FILE.replace("max_mib", "most_mib"))
    running.hup = True
    until(lambda: running.told("reload_failed"), "it says so")
    assert "service.yml:3" in running.told("reload_failed")[0]
    assert "other" in running.guests()


def test_the_journal_has_ticks_and_events_and_can_be_turned_over(running: Running) -> None:
    lines = running.folder / "lines.jsonl"
    until(lambda: lines.exists() and len(lines.read_text().splitlines()) > 5, "it writes")
    lines.rename(running.folder / "old.jsonl")
    running.hup = True
    until(lambda: lines.exists() and len(lines.read_text().splitlines()) > 3, "it writes into a new one")
    old = [json.loads(line) for line in (running.folder / "old.jsonl").read_text().splitlines()]
    assert {"joined"} <= {line.get("event") for line in old}
    assert any("view" in line and "decision" in line for line in old)


def test_a_full_disk_costs_lines_and_is_said_once_and_balancing_goes_on(tmp_path: Path, xen: Xen) -> None:
    write(tmp_path, FILE.replace("{folder}/lines.jsonl", "/dev/full"))
    made = Running(tmp_path, xen)
    made.thread.start()
    until(lambda: xen.size_mib["web-1"] == 800, "it balances")
    made.stop = True
    made.thread.join(10)
    assert not made.thread.is_alive()
    assert len(made.told("journal_failed")) == 1
    assert "No space left on device" in made.told("journal_failed")[0]


def test_the_journal_says_how_many_lines_were_lost_when_there_is_room_again(tmp_path: Path) -> None:
    said: list[tuple[str, str, str]] = []
    (tmp_path / "lines").symlink_to("/dev/full")
    journal = Journal(tmp_path / "lines", lambda *what: said.append(what))
    for number in range(3):
        journal.write({"line": number})
    (tmp_path / "lines").unlink()
    for number in range(3, 5):
        journal.write({"line": number})
    journal.close()
    assert [event for event, _, _ in said] == ["journal_failed", "journal_resumed"]
    assert said[1][2] == "3 lines were lost"
    assert [json.loads(line)["line"] for line in (tmp_path / "lines").read_text().splitlines() if line] == [3, 4]


def test_the_journal_can_be_turned_over_while_many_write_into_it(tmp_path: Path) -> None:
    journal = Journal(tmp_path / "lines")
    threads = [threading.Thread(target=lambda: [journal.write({"line": n}) for n in range(500)]) for _ in range(4)]
    for thread in threads:
        thread.start()
    while any(thread.is_alive() for thread in threads):
        journal.close()
    journal.close()
    assert len([json.loads(line) for line in (tmp_path / "lines").read_text().splitlines()]) == 2000


def test_a_host_that_is_away_at_the_start_is_waited_for(
    tmp_path: Path, xen: Xen, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(standing, "FIRST_WAIT_S", 0.05)
    xen.away = 3
    write(tmp_path)
    made = Running(tmp_path, xen)
    made.thread.start()
    until(lambda: made.guests(), "it answers in the end")
    made.stop = True
    made.thread.join(10)
    assert len(made.told("host_unreachable")) == 3


def test_a_service_is_stopped_while_it_waits_for_its_host(tmp_path: Path, xen: Xen) -> None:
    xen.away = 1000
    write(tmp_path)
    made = Running(tmp_path, xen)
    made.thread.start()
    until(lambda: made.told("host_unreachable"), "it waits")
    made.stop = True
    made.thread.join(10)
    assert not made.thread.is_alive()


def test_prometheus_can_ask_it(tmp_path: Path, xen: Xen) -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    write(tmp_path, FILE + f"metrics: 127.0.0.1:{port}\n")
    made = Running(tmp_path, xen)
    made.thread.start()
    until(lambda: made.guests(), "it answers")
    text = urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics", timeout=10).read().decode()
    made.stop = True
    made.thread.join(10)
    assert 'ballast_guest_current_bytes{guest="web-1"}' in text
    assert 'ballast_events_total{event="joined"} 2.0' in text


def test_the_file_can_be_checked_without_a_host(tmp_path: Path) -> None:
    write(tmp_path)
    done = CliRunner().invoke(app, ["balance", "--check", "--config", str(tmp_path / "service.yml")])
    assert (done.exit_code, done.output) == (0, f"{tmp_path}/service.yml: xen1, 1 kinds of guests, equal decides\n")
