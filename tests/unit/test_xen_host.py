"""XenHost: plans reach dom0 under Xen's names, what fails is told, and a lost agent is replaced in the background."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from harness.governor import Governor, Plan, Step
from harness.policies.base import Allocation
from harness.view import HostView
from harness.xen import host as host_module
from harness.xen.agent import Agent
from harness.xen.host import HostError, XenHost
from harness.xen.link import LinkError, NoAnswerError
from harness.xen.machine import Machine
from harness.xen.source import Terms, XenSource
from harness.xen.ssh import ConnectionFailed
from tests.unit.test_xen_agent import FakeXen
from tests.unit.test_xen_source import FakeClient

SAFE = {"web": 300_000, "db": 300_000}


def machine(name: str, domain: str = "") -> Machine:
    return Machine(name=name, address="a", key_file=Path("k"), known_hosts=Path("h"), domain=domain)


def plan(**targets: int) -> Plan:
    steps = (Step(guest=guest, from_kib=0, target_kib=kib, asked_kib=kib, reason="") for guest, kib in targets.items())
    return Plan(steps=tuple(steps), held={})


class FakeLink:
    """A connection to a real agent with no Xen under it; it can be cut, or fall silent."""

    made: list[FakeLink]  # its own name, known by the time it is read
    reachable = True
    xen = FakeXen()

    def __init__(self, _: Machine) -> None:
        if not type(self).reachable:
            raise ConnectionFailed("dom0 is away")
        self.agent, self.cut, self.silent, self.closed = Agent(type(self).xen), False, False, False  # type: ignore[arg-type]
        self.late: list[bytes] | None = None
        """What was asked while dom0 stands still: it is done when that goes on, and nobody waits for the answer."""
        self.made.append(self)

    def ask(self, request: Mapping[str, Any], _: float, stepper: object = None) -> dict[str, Any]:
        if self.cut:
            raise LinkError("it was cut")
        if self.silent:
            raise NoAnswerError("it is silent")
        if self.late is not None:
            self.late.append(json.dumps(request).encode())
            raise NoAnswerError("it is late")
        return json.loads(json.dumps(self.agent.answer(json.dumps(request).encode())))  # type: ignore[no-any-return]

    def goes_on(self) -> None:
        for line in self.late or ():
            self.agent.answer(line)
        self.late = None

    def wait_for_end(self, timeout_s: float) -> None:
        pass

    def close(self) -> None:
        self.closed = True


@pytest.fixture
def links(monkeypatch: pytest.MonkeyPatch) -> type[FakeLink]:
    fresh = type("Links", (FakeLink,), {"made": [], "reachable": True, "xen": FakeXen()})
    monkeypatch.setattr(host_module, "AgentLink", fresh)
    monkeypatch.setattr(host_module, "FIRST_WAIT_S", 0.01)
    return fresh


@pytest.fixture
def host(links: type[FakeLink]) -> Iterator[XenHost]:
    with XenHost(machine("dom0"), [machine("web", "g1"), machine("db", "g2")], safe_kib=SAFE) as host:
        yield host


def soon(what: Callable[[], bool]) -> bool:
    end_s = time.monotonic() + 5
    while not what() and time.monotonic() < end_s:
        time.sleep(0.005)
    return what()


def test_a_plan_is_carried_out_under_the_names_that_xen_has(host: XenHost, links: type[FakeLink]) -> None:
    outcome = host.apply(plan(web=200_000, db=400_000))
    assert outcome.applied_kib == {"web": 200_000, "db": 400_000}
    assert links.xen.sent == [(1, 200_000), (2, 400_000)]


def test_what_cannot_be_set_is_in_the_outcome_with_the_reason(host: XenHost) -> None:
    outcome = host.apply(plan(web=900_000, db=200_000, stranger=1))
    assert outcome.applied_kib == {"db": 200_000}
    assert "800000" in outcome.failed["web"]
    assert "inventory" in outcome.failed["stranger"]


def test_caps_are_set_with_the_targets(host: XenHost, links: type[FakeLink]) -> None:
    outcome = host.apply(replace(plan(web=300_000), caps_kib={"web": 300_000, "stranger": 5}))
    assert outcome.applied_kib == {"web": 300_000}
    assert outcome.failed == {"stranger": "no such guest in the inventory"}
    assert links.xen.sent == [(1, 300_000)]
    assert links.xen.max_kib == {1: 300_000}


def test_caps_alone_begin_a_lease(host: XenHost, links: type[FakeLink]) -> None:
    host.apply(replace(plan(), caps_kib={"web": 300_000}))
    assert links.made[0].agent.lease_ends_s is not None


def test_an_empty_plan_asks_nothing_and_begins_no_lease(host: XenHost, links: type[FakeLink]) -> None:
    host.apply(plan())
    host.renew_lease()
    assert links.made[0].agent.lease_ends_s is None


def test_the_agent_knows_the_safe_targets_before_anything_is_set(host: XenHost, links: type[FakeLink]) -> None:
    assert links.made[0].agent.safe_kib == {"g1": 300_000, "g2": 300_000}


def test_the_lease_carries_the_safe_targets_of_now_and_a_new_agent_begins_with_them(
    host: XenHost, links: type[FakeLink]
) -> None:
    host.apply(plan(web=200_000))
    host.renew_lease({"web": 310_000, "db": 290_000})
    assert links.made[0].agent.safe_kib == {"g1": 310_000, "g2": 290_000}
    host.renew_lease()
    assert links.made[0].agent.safe_kib == {"g1": 310_000, "g2": 290_000}
    links.made[0].cut = True
    with pytest.raises(HostError):
        host.state()
    assert soon(lambda: len(links.made) == 2 and links.made[1].agent.safe_kib == {"g1": 310_000, "g2": 290_000})


def test_memory_of_a_set_that_is_answered_late_is_not_given_twice(host: XenHost, links: type[FakeLink]) -> None:
    """Two guests of 300,000 KiB share 800,000; the first is sent 200,000 more just when dom0 stands still."""
    now_s = [0.0]
    clients = [FakeClient("web"), FakeClient("db")]
    for client, domain in zip(clients, ("g1", "g2"), strict=True):
        client.machine = machine(client.name, domain)
    terms = {name: Terms(min_kib=100_000, max_kib=700_000) for name in SAFE}
    source = XenSource(
        host, clients, terms, reserve_kib=0, pool_kib=800_000, clock=lambda: now_s[0],  # type: ignore[arg-type]
    )  # fmt: skip
    governor, agent = Governor(), links.made[0]

    def ask(web_kib: float, db_kib: float) -> dict[str, int]:
        for client in clients:
            client.says(now_s[0], mem_total_kib=300_000.0, mem_available_kib=290_000.0)
        view = source.view()
        wishes = np.array([web_kib, db_kib])
        done = governor.plan(view, Allocation(targets_kib=wishes, reasons=("", "")))
        outcome = host.apply(done)
        governor.failed(outcome.failed)
        now_s[0] += 2
        return {step.guest: step.target_kib for step in done.steps}

    seen = source.view

    def view_then_stop() -> HostView:
        view = seen()
        agent.late = []
        return view

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(source, "view", view_then_stop)
        assert ask(500_000, 300_000) == {"web": 500_000}
    assert ask(300_000, 500_000) == {}, "dom0 has said nothing since"
    agent.goes_on()
    assert ask(300_000, 500_000) == {"web": 300_000}, "it was set after all"
    promised = [int(links.xen.store[domid, "memory/target"]) for domid in (1, 2)]
    assert sum(promised) <= 800_000
    assert ask(300_000, 500_000) == {"db": 500_000}


def test_restore_sets_the_safe_targets_and_ends_the_lease(host: XenHost, links: type[FakeLink]) -> None:
    host.apply(plan(web=200_000))
    host.restore({"web": 310_000, "db": 290_000})
    assert links.xen.store[1, "memory/target"] == "310000"
    assert links.made[0].agent.safe_kib == {"g1": 310_000, "g2": 290_000}
    assert links.made[0].agent.lease_ends_s is None


def test_restore_is_an_error_when_a_target_cannot_be_set(host: XenHost) -> None:
    with pytest.raises(HostError, match="800000"):
        host.restore({"web": 900_000})


def test_while_dom0_is_away_plans_fail_with_the_reason_and_nothing_else_happens(
    host: XenHost, links: type[FakeLink]
) -> None:
    links.reachable = False
    links.made[0].cut = True
    assert host.apply(plan(web=200_000)).failed == {"web": "it was cut"}
    host.renew_lease()
    with pytest.raises(HostError):
        host.state()


def test_a_lost_agent_is_replaced_and_the_new_one_begins_with_a_lease(host: XenHost, links: type[FakeLink]) -> None:
    host.apply(plan(web=200_000))
    links.made[0].cut = True
    with pytest.raises(HostError, match="cut"):
        host.state()
    assert soon(lambda: len(links.made) == 2 and bool(host.apply(plan(db=200_000)).applied_kib))
    assert links.made[1].agent.lease_ends_s is not None
    assert links.made[0].closed


def test_one_answer_that_is_late_is_no_reason_to_give_an_agent_up_three_are(
    host: XenHost, links: type[FakeLink]
) -> None:
    links.made[0].silent = True
    for _ in range(2):
        with pytest.raises(HostError):
            host.state()
    links.made[0].silent = False
    host.state()
    assert len(links.made) == 1
    links.made[0].silent = True
    for _ in range(3):
        with pytest.raises(HostError):
            host.state()
    assert soon(lambda: len(links.made) == 2)


def test_a_host_that_cannot_be_reached_is_an_error_at_the_start(links: type[FakeLink]) -> None:
    links.reachable = False
    with pytest.raises(ConnectionFailed, match="away"):
        XenHost(machine("dom0"), [], safe_kib={}).start()
