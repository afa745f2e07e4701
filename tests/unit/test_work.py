"""What came of one guest's work: killed, and by whom; a number that cannot be; a guest's own words."""

from __future__ import annotations

from dataclasses import replace
from types import SimpleNamespace
from typing import cast

import numpy as np
import pytest

from harness.experiment.sweep import Guest
from harness.experiment.work import Work
from harness.experiment.workloads import load_workloads
from harness.records import Stamp, TrialRow
from harness.view import HostView
from harness.xen.client import GuestClient
from harness.xen.facts import Sample
from harness.xen.process import RemoteProcess

FIRST = Sample(seq=0, mono_s=1.0, oom_kills=3.0)
NOW = Stamp(utc="2026-01-01T00:00:00.000+00:00", mono_s=9.0)


def work(*, status: int, kills: float = 0.0, out: bytes = b"", err: bytes = b"") -> Work:
    newest = replace(FIRST, mono_s=9.0, oom_kills=FIRST.oom_kills + kills)
    process = SimpleNamespace(
        exit_status=status, ended=False, ended_s=9.0, went_s=1.0, stdout=out, stderr=err, ready=True,
    )  # fmt: skip
    made = Work(
        guest=Guest(name="g1", workload="mono", min_mib=50, initial_mib=100, max_mib=200),
        workload=load_workloads(names=["mono"])["mono"],
        client=cast("GuestClient", SimpleNamespace(newest=SimpleNamespace(sample=newest))),
        process=cast("RemoteProcess", process),
        first=FIRST,
    )
    made.started = NOW
    return made


def seen(made: Work, *, available: float) -> Work:
    """The last view while it ran."""
    made.note(SimpleNamespace(
        names=("g1",), current_kib=np.array([1000.0]), mem_total_kib=np.array([1000.0]),
        mem_available_kib=np.array([1000.0 * available]),
    ))  # type: ignore[arg-type]  # fmt: skip
    return made


def row(made: Work) -> TrialRow:
    return next(made.rows(NOW))


@pytest.mark.parametrize("status", [137, 143])
def test_what_earlyoom_kills_is_killed_for_want_of_memory(status: int) -> None:
    for made in (work(status=status), seen(work(status=status), available=0.07)):
        assert row(made).status == "oom"
        assert "earlyoom" in row(made).reason
    assert "7%" in row(seen(work(status=status), available=0.07)).reason


def test_a_program_of_a_driver_that_earlyoom_kills_is_too() -> None:
    assert row(work(status=1, err=b"failed: sysbench was killed by signal 9: it said nothing\n")).status == "oom"


def test_what_is_killed_with_ample_memory_is_not() -> None:
    found = row(seen(work(status=137), available=0.6))
    assert found.status == "failed"
    assert "60% of the guest's memory" in found.reason


def test_what_the_guests_kernel_kills_is_told_as_that() -> None:
    found = row(seen(work(status=137, kills=1), available=0.6))
    assert found.status == "oom"
    assert "kernel" in found.reason


def test_a_number_that_cannot_be_is_a_failed_row_and_not_the_end_of_the_campaign() -> None:
    for number in (b"9" * 400, b"1e308", b"-1"):
        for found in work(status=0, out=b'{"work_s": %s, "turns_per_s": %s}\n' % (number, number)).rows(NOW):
            assert found.status == "failed"
            assert found.reason


def test_what_a_workload_says_on_its_standard_error_reaches_no_terminal_as_a_command() -> None:
    reason = row(work(status=3, err=b"\x1b]0;owned\x07\x1b[2J\x9b31m\nforged: line\r" + b"x" * 60_000)).reason
    assert reason.isprintable()
    assert len(reason) < 700


def test_work_in_a_guest_that_xen_has_no_more_is_given_up_at_once_and_its_row_says_so() -> None:
    made = work(status=0)
    made.process = cast("RemoteProcess", SimpleNamespace(ended=False, exit_status=None, went_s=1.0, ended_s=None,
                                                         stdout=b"", stderr=b"", ready=True))  # fmt: skip
    there, away = (
        cast("HostView", SimpleNamespace(names=("g1",), current_kib=np.array([kib]), time_s=5.0))
        for kib in (1000.0, np.nan)
    )
    assert not made.vanished(there)
    assert made.vanished(away)
    assert not made.running
    assert not made.vanished(away), "said once"
    assert row(made).status == "lost"
    assert "gone from Xen 4 s after the work began" in row(made).reason


def test_work_that_had_ended_when_its_guest_went_keeps_its_number() -> None:
    made = work(status=0, out=b'{"touched_mib_per_s": 1, "passes_per_s": 1, "lost_s": 0}\n')
    made.process.ended = True  # type: ignore[union-attr, misc]
    away = cast("HostView", SimpleNamespace(names=("g1",), current_kib=np.array([np.nan]), time_s=5.0))
    assert not made.vanished(away)
    assert row(made).status == "ok"
