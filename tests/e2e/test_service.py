"""The service on real Xen: room for a guest that is created while it runs, and a service that is killed."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from harness.xen.host import LEASE_S
from tests.e2e.conftest import Lived
from tests.e2e.serving import Service, serving
from tests.e2e.test_control import until, xl_list_mib

pytestmark = pytest.mark.lab


@pytest.fixture
def service(lived: Lived, tmp_path: Path) -> Iterator[Service]:
    lived.restore()
    with serving(lived, tmp_path) as made:
        yield made


def test_a_guest_is_created_in_the_room_that_was_made_for_it_and_of_two_who_ask_one_is_refused(
    lived: Lived, service: Service
) -> None:
    lived.ask("dom0", "xl", "destroy", "g2")
    until(lambda: service.balanced().get("g1", 0) > 440, 120, "g1 has what g2 had")
    foretold = service.ballast("room", "288MiB", "--dry-run").communicate(timeout=120)[0]
    assert re.search(r"to pay: g1 [\d.]+ MiB", foretold), foretold
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
