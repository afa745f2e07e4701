"""How a live trial begins: all work gets ready, goes together, and whoever is not ready is a failed row."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Mapping
from contextlib import ExitStack
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest

from harness.clocks import SystemClock
from harness.experiment import live
from harness.experiment.config import Experiment
from harness.experiment.live import LiveTrial, TrialError
from harness.experiment.plan import Trial, plan
from harness.experiment.work import Work
from harness.experiment.workloads import load_workloads
from harness.records import Stamp
from harness.xen.client import GuestClient, Received
from harness.xen.domains import Domain, HostState
from harness.xen.facts import parse_sample
from harness.xen.machine import Machine

Happened = list[tuple[str, str]]


class Process:
    """Work in a guest that is ready after a while, or ends before, or neither."""

    def __init__(self, name: str, happened: Happened, *, ready_s: float, ended: int | None = None) -> None:
        self.name, self.happened = name, happened
        self.started_s = time.monotonic()
        self.went_s: float | None = None
        self.ended_s: float | None = None if ended is None else self.started_s
        self.exit_status = ended
        self.stdout, self.stderr = b"", b"filling\nstill filling\n"
        self._ready_s = self.started_s + ready_s

    @property
    def ended(self) -> bool:
        return self.ended_s is not None

    @property
    def ready(self) -> bool:
        return time.monotonic() >= self._ready_s

    def wait_ready(self, timeout_s: float) -> bool:
        time.sleep(max(0.0, min(timeout_s, self._ready_s - time.monotonic())))
        return self.ready

    def go(self) -> None:
        self.happened.append(("go", self.name))
        self.went_s = time.monotonic()

    def kill(self, *, timeout_s: float) -> bool:
        self.happened.append(("kill", self.name))
        self.ended_s = time.monotonic()
        return True


class Client:
    """A guest's ear that starts the given work."""

    def __init__(self, name: str, happened: Happened, make: Callable[[str, Happened], Process]) -> None:
        self.name, self.happened, self.period_s = name, happened, 0.05
        self._make, self._counted = make, 1
        self._hear()

    def _hear(self) -> None:
        line = f"B1 seq={self._counted} mono_ms={1000 * self._counted} pgmajfault={10 * self._counted}"
        self.newest = Received(sample=parse_sample(line.encode()), arrived_s=time.monotonic())
        self._counted += 1

    def run(self, argv: object) -> Process:
        return self._make(self.name, self.happened)

    def phase(self) -> None:
        self.happened.append(("phase", self.name))
        self._hear()


class Host:
    """Counts how often its lease is renewed."""

    leases = 0

    def renew_lease(self) -> None:
        self.leases += 1


class Writer:
    """Notes when the trial's time begins."""

    def __init__(self, happened: Happened) -> None:
        self.happened, self.started = happened, Stamp(utc="", mono_s=math.nan)

    def begin(self) -> None:
        self.happened.append(("begin", ""))
        self.started = Stamp.now()

    def event(self, event: str, *, guest: str | None = None, detail: str = "") -> None:
        self.happened.append((event, guest or ""))


EXPERIMENT = Experiment.model_validate({
    "name": "start", "pool_mib": 300, "reserve_mib": 0, "policies": ["static"], "duration_s": 5, "period_s": 0.1,
    "guests": [
        {"name": name, "workload": "mono", "min_mib": 50, "initial_mib": 100, "max_mib": 200}
        for name in ("g1", "g2", "g3")
    ],
})  # fmt: skip


def begin(monkeypatch: pytest.MonkeyPatch, **works: Mapping[str, Any]) -> tuple[LiveTrial, Happened, Host]:
    monkeypatch.setattr(live, "READY_S", 0.6)
    happened: Happened = []
    host = Host()
    workloads = load_workloads(names=["mono"])
    trial: Trial = plan(EXPERIMENT)[0]
    live_trial = LiveTrial(
        EXPERIMENT, trial, workloads, cast("Any", SimpleNamespace(lab=None, virtual=False)),
        cast("Any", Writer(happened)),
        lambda _: None, SystemClock(),
    )  # fmt: skip
    for guest in EXPERIMENT.guests:
        said = works[guest.name]
        client = Client(guest.name, happened, lambda name, log, said=said: Process(name, log, **said))  # type: ignore[misc]
        live_trial._works.append(
            Work(guest=guest, workload=workloads["mono"], client=cast("GuestClient", client))
        )  # fmt: skip
    with ExitStack() as stack:
        live_trial._begin(stack, cast("Any", host))
    return live_trial, happened, host


def test_all_work_is_told_to_go_together_once_the_last_is_ready_and_the_trial_begins_then(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    trial, happened, host = begin(monkeypatch, g1={"ready_s": 0}, g2={"ready_s": 0.4}, g3={"ready_s": 0.1})
    names = ("g1", "g2", "g3")
    assert happened == [
        *(("phase", name) for name in names), ("begin", ""), *(("go", name) for name in names),
        *(("work_started", name) for name in names),
    ]  # fmt: skip
    processes = [work.process for work in trial._works if work.process]
    went = [process.went_s for process in processes if process.went_s is not None]
    assert min(went) - processes[0].started_s >= 0.4
    assert max(went) - min(went) < 0.1
    assert host.leases >= 3, "dom0 must not take the controller for dead while work gets ready"
    assert {work.started for work in trial._works} == {trial.writer.started}
    assert trial._working()


def test_what_guests_count_they_count_from_the_sample_that_comes_with_the_word(monkeypatch: pytest.MonkeyPatch) -> None:
    trial, _, _ = begin(monkeypatch, g1={"ready_s": 0}, g2={"ready_s": 0}, g3={"ready_s": 0})
    assert [work.first and work.first.seq for work in trial._works] == [2, 2, 2]
    for work in trial._works:
        cast("Any", work.client)._hear()
    assert [next(work.rows(Stamp.now())).major_faults for work in trial._works] == [10, 10, 10]


def test_a_guest_that_is_not_ready_in_time_is_killed_and_a_failed_row_and_the_others_go_on(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    trial, happened, _ = begin(monkeypatch, g1={"ready_s": 60}, g2={"ready_s": 0}, g3={"ready_s": 0.1})
    assert happened[0] == ("kill", "g1")
    assert [name for what, name in happened if what == "go"] == ["g2", "g3"]
    rows = list(trial._works[0].rows(Stamp.now()))
    assert {(row.status, row.reason) for row in rows} == {("failed", "not ready within 1 s: still filling")}
    assert all(math.isnan(row.duration_s) for row in rows)
    assert trial._working()


@pytest.mark.parametrize(
    ("status", "reason"),
    [
        (1, "exit 1: before it was told to go: filling | still filling"),
        (0, "exit 0: before it was told to go: filling | still filling"),
    ],
)
def test_work_that_ends_before_it_is_ready_has_failed_whatever_it_says(
    monkeypatch: pytest.MonkeyPatch, status: int, reason: str
) -> None:
    trial, happened, _ = begin(
        monkeypatch, g1={"ready_s": 0}, g2={"ready_s": 0, "ended": status}, g3={"ready_s": 0}
    )  # fmt: skip
    assert [name for what, name in happened if what == "go"] == ["g1", "g3"]
    row = next(trial._works[1].rows(Stamp.now()))
    assert (row.status, row.reason) == ("failed", reason)


def test_the_time_of_the_work_counts_from_the_word(monkeypatch: pytest.MonkeyPatch) -> None:
    trial, _, _ = begin(monkeypatch, g1={"ready_s": 0.3}, g2={"ready_s": 0}, g3={"ready_s": 0})
    process = cast("Any", trial._works[0].process)
    process.ended_s, process.exit_status, process.stdout = process.went_s + 2, 0, b'{"touched_mib_per_s": 7}'
    row = next(iter(trial._works[0].rows(Stamp.now())))
    assert (row.status, row.value, row.duration_s) == ("ok", 7, pytest.approx(2))
    process.ended_s = None
    monkeypatch.setattr(time, "monotonic", lambda: process.went_s + EXPERIMENT.duration_s + live.GRACE_S - 0.1)
    assert trial._working()
    monkeypatch.setattr(time, "monotonic", lambda: process.went_s + EXPERIMENT.duration_s + live.GRACE_S + 1)
    assert not trial._working()


def test_a_guest_that_is_destroyed_while_the_guests_settle_is_a_row_with_its_reason(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    there = dict.fromkeys(("g1", "g2", "g3"), 150 * 1024)

    def state() -> HostState:
        domains = {
            name: Domain(
                domid=1, current_kib=kib, max_kib=None, static_max_kib=None, target_kib=None, paused=False, dying=False,
                disks_kib={}, hvm=False,
            )
            for name, kib in there.items()
        }  # fmt: skip
        return HostState(total_kib=1 << 20, free_kib=1 << 20, domains=domains)

    def leave(_: Mapping[str, int]) -> None:
        del there["g2"]

    machines = tuple(Machine(name=name, address="a", known_hosts=Path("h")) for name in there)
    host = SimpleNamespace(state=state, restore=leave, renew_lease=lambda: None)
    trial = LiveTrial(
        EXPERIMENT, plan(EXPERIMENT)[0], load_workloads(names=["mono"]), cast("Any", SimpleNamespace(guests=machines)),
        cast("Any", Writer([])), lambda _: None, SystemClock(),
    )  # fmt: skip
    with pytest.raises(TrialError, match="no domain g2 any more: it ended while the guests settled"):
        trial._settle(cast("Any", host))
    monkeypatch.setattr(LiveTrial, "_connect", lambda *_: SimpleNamespace(host=host))
    there["g2"] = 150 * 1024
    assert {(row.guest, row.status) for row in trial.run()} == {("g1", "lost"), ("g2", "lost"), ("g3", "lost")}
