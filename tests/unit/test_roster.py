"""Who is balanced, as guests come and go."""

from __future__ import annotations

from pathlib import Path
from typing import cast

import pytest

from harness.service.file import Service
from harness.service.roster import GONE_S, Roster
from harness.xen.client import GuestClient
from harness.xen.machine import Machine


class Ear:
    """Stands for a connection to a guest."""

    def __init__(self, machine: Machine) -> None:
        self.machine, self.name = machine, machine.name
        self.started = self.closed = False

    def start(self) -> None:
        self.started = True

    def close(self) -> None:
        self.closed = True


def service(*guests: dict[str, object], user: str = "root") -> Service:
    return Service.model_validate(
        {
            "login": {"key_file": Path("key"), "known_hosts": Path("known"), "user": user},
            "host": {"address": "xen1"},
            "guests": guests or [{"match": "web-*", "min_mib": 100, "max_mib": 400}],
            "policy": "equal",
        }
    )


class Said:
    """What the roster made and told."""

    def __init__(self) -> None:
        self.events: list[tuple[str, str]] = []
        self.ears: list[Ear] = []

    def hear(self, machine: Machine) -> GuestClient:
        self.ears.append(Ear(machine))
        return cast("GuestClient", self.ears[-1])

    def event(self, event: str, guest: str, _: str) -> None:
        self.events.append((event, guest))


@pytest.fixture
def said() -> Said:
    return Said()


@pytest.fixture
def roster(said: Said) -> Roster:
    return Roster(service(), said.hear, said.event)


def names(roster: Roster) -> list[str]:
    return [client.name for client in roster.clients]


def test_whom_the_file_speaks_of_is_heard_as_soon_as_xen_has_him(roster: Roster, said: Said) -> None:
    assert roster.look(["Domain-0", "web-2", "db"], now_s=0)
    assert roster.look(["Domain-0", "web-1", "web-2"], now_s=2)
    assert not roster.look(["web-2", "web-1"], now_s=4)
    assert names(roster) == ["web-2", "web-1"]
    assert (roster.terms["web-1"].min_kib, all(ear.started for ear in said.ears)) == (100 * 1024, True)
    assert said.events == [("joined", "web-2"), ("joined", "web-1")]


def test_a_guest_that_reboots_stays_and_one_that_is_gone_for_long_is_let_go(roster: Roster, said: Said) -> None:
    roster.look(["web-1", "web-2"], now_s=0)
    assert not roster.look(["web-1"], now_s=GONE_S)
    assert not roster.look(["web-1", "web-2"], now_s=GONE_S + 1)
    assert roster.look(["web-1"], now_s=2 * GONE_S + 2)
    assert names(roster) == ["web-1"]
    assert said.events[-1] == ("left", "web-2")
    roster.close()
    assert all(ear.closed for ear in said.ears)


def test_a_new_file_changes_what_is_promised_without_hearing_anybody_anew(roster: Roster, said: Said) -> None:
    roster.look(["web-1"], now_s=0)
    roster.reload(service({"match": "*", "min_mib": 200, "max_mib": 400}))
    assert roster.look(["web-1", "db"], now_s=2)
    assert (roster.terms["web-1"].min_kib, len(said.ears)) == (200 * 1024, 2)


def test_a_new_file_lets_go_whom_it_does_not_speak_of_and_hears_anew_whom_it_reaches_otherwise(
    roster: Roster, said: Said
) -> None:
    roster.look(["web-1", "web-2"], now_s=0)
    roster.reload(service({"match": "web-1", "min_mib": 100, "max_mib": 400}, user="ballast"))
    roster.look(["web-1", "web-2"], now_s=2)
    assert names(roster) == ["web-1"]
    assert [(ear.name, ear.machine.user) for ear in said.ears] == [
        ("web-1", "root"), ("web-2", "root"), ("web-1", "ballast"),
    ]  # fmt: skip
    roster.close()
