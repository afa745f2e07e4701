"""What Prometheus is told of the running service, and systemd."""

from __future__ import annotations

import json
import os
import re
import socket
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from prometheus_client.parser import text_string_to_metric_families

from harness.balancer import Tick
from harness.governor import Governor, Limits
from harness.policies import make
from harness.ports import Outcome
from harness.service.metrics import Metrics, served
from harness.service.notify import Notify
from harness.view import HostView
from tests.unit.views import MIB, make_view


def ticked(view: HostView) -> Tick:
    governor, policy = Governor(Limits()), make("equal")
    fresh = governor.fresh(view)
    allocation = policy.decide(fresh)
    plan = governor.plan(view, allocation)
    outcome = Outcome(applied_kib={step.guest: step.target_kib for step in plan.steps}, failed={})
    timing = {"collect_s": 0.25, "decide_s": 0.5, "apply_s": 1.0}
    return Tick(view=view, names=fresh.names, allocation=allocation, plan=plan, outcome=outcome, timing=timing)


VIEW = make_view([300, 100], pool=500, lo=64, mem_available_kib=np.array([200.0 * MIB, np.nan]))


def scraped(metrics: Metrics) -> dict[tuple[str, ...], float]:
    with served(metrics, "127.0.0.1", 0) as port:
        text = urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics", timeout=10).read().decode()
    samples = [sample for family in text_string_to_metric_families(text) for sample in family.samples]
    return {(sample.name, *sample.labels.values()): sample.value for sample in samples}


def test_a_scrape_tells_the_newest_tick_in_base_units_and_leaves_out_what_is_not_known() -> None:
    metrics = Metrics("equal")
    metrics.note(ticked(VIEW), at_s=1700000000.5)
    told = scraped(metrics)
    assert told["ballast_guest_current_bytes", "g1"] == 300 * MIB * 1024
    assert told["ballast_guest_available_bytes", "g1"] == 200 * MIB * 1024
    assert ("ballast_guest_available_bytes", "g2") not in told
    assert told["ballast_host_pool_bytes",] == 500 * MIB * 1024
    assert told["ballast_last_tick_timestamp_seconds",] == 1700000000.5
    assert told["ballast_policy_info", "equal", ""] == 1
    assert (told["ballast_guest_balanced", "g1"], told["ballast_busy_seconds_total", "decide"]) == (1, 0.5)


def test_counters_go_on_and_a_guest_that_is_gone_is_gone() -> None:
    metrics = Metrics("equal")
    metrics.note(ticked(VIEW), at_s=1.0)
    metrics.note(ticked(VIEW.select(np.array([True, False]))), at_s=3.0)
    for _ in range(3):
        metrics.event("reconnected", "g1\n# evil 7", "whatever it says")
    told = scraped(metrics)
    assert (told["ballast_ticks_total",], told["ballast_events_total", "reconnected"]) == (2, 3)
    assert ("ballast_guest_current_bytes", "g2") not in told
    assert not [key for key in told if "evil" in "".join(key)]


def test_a_scrape_before_the_first_tick_says_that_there_was_none() -> None:
    assert scraped(Metrics("equal"))["ballast_ticks_total",] == 0


@pytest.fixture
def systemd(tmp_path: Path) -> Iterator[socket.socket]:
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as listener:
        listener.bind(str(tmp_path / "notify"))
        listener.settimeout(10)
        yield listener


def test_systemd_hears_that_the_service_is_ready_and_lives(systemd: socket.socket) -> None:
    environment = {
        "NOTIFY_SOCKET": systemd.getsockname(),
        "WATCHDOG_USEC": "30000000",
        "WATCHDOG_PID": str(os.getpid()),
    }
    notify = Notify(environment)
    assert notify.watchdog_s == 30
    notify.ready()
    notify.lives("price: g1 300 MiB\nREADY=0")
    notify.reloading(1.5)
    notify.stopping()
    assert [systemd.recv(4096).decode() for _ in range(4)] == [
        "READY=1", "WATCHDOG=1\nSTATUS=price: g1 300 MiB", "RELOADING=1\nMONOTONIC_USEC=1500000", "STOPPING=1",
    ]  # fmt: skip


def test_a_watchdog_of_another_process_is_not_ours_and_without_systemd_nothing_is_said(tmp_path: Path) -> None:
    assert Notify({"WATCHDOG_USEC": "30000000", "WATCHDOG_PID": "1"}).watchdog_s == 0
    for environment in ({}, {"NOTIFY_SOCKET": str(tmp_path / "gone")}, {"NOTIFY_SOCKET": "vsock:2:1"}):
        Notify(environment).ready()


ROLE = Path(__file__).parents[2] / "roles/service/files"


@pytest.mark.parametrize("file", ["ballast-dashboard.json", "ballast-alerts.yml"])
def test_dashboard_and_alerts_ask_only_for_what_there_is(file: str) -> None:
    metrics = Metrics("equal")
    metrics.note(ticked(make_view([300], pool=500, used=[100], swap_fill=[0.5], **EVERYTHING)), at_s=1.0)
    metrics.event("left", "g1", "")
    there = {key[0] for key in scraped(metrics)}
    asked = set(re.findall(r"ballast_[a-z_]+", (ROLE / file).read_text()))
    assert asked
    assert asked <= there


EVERYTHING = {
    name: np.array([1.0])
    for name in ("mem_available_kib", "committed_kib", "swap_in_kib_s", "swap_out_kib_s", "stall_some")
}


def test_the_dashboard_shows_every_panel_in_its_own_place() -> None:
    panels = json.loads((ROLE / "ballast-dashboard.json").read_text())["panels"]
    places = [(panel["gridPos"]["x"], panel["gridPos"]["y"]) for panel in panels]
    assert len(set(places)) == len(panels) == len({panel["id"] for panel in panels})
