"""What guests say and do reaches logs and terminals plain, in a measure, and never ends the one who tells."""

from __future__ import annotations

import errno
import io
import sys
import threading
import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.cli import screen, serve
from harness.progress.plain import CUT, LONGEST_CHARS, one_line, plain
from harness.progress.playbook import Kind, Line
from harness.xen.client import GuestClient
from harness.xen.events import AT_ONCE, KINDS, PER_S, Reporter
from tests.unit.test_xen_client import client as unconnected

HOSTILE = "\x1b]0;owned\x07\x1b[2J\x9b31mred\nforged 2026 line\r\u202etxt.exe\u2028\u200b end"

Told = list[tuple[str, str, str]]


class Clock:
    """Time that passes only when it is told to."""

    def __init__(self) -> None:
        self.now_s = 0.0

    def __call__(self) -> float:
        return self.now_s


@given(st.text())
def test_what_is_plain_commands_no_terminal_and_forges_no_line(text: str) -> None:
    assert not {unicodedata.category(char) for char in plain(text)} & {"Zl", "Zp"}
    assert all(char in "\n\t" or unicodedata.category(char) != "Cc" for char in plain(text))
    line = one_line(text)
    assert "\n" not in line
    assert len(line) <= LONGEST_CHARS


def test_a_long_text_keeps_its_begin_and_its_end() -> None:
    line = one_line("begin " + "x" * 10**6 + " end")
    assert line.startswith("begin")
    assert line.endswith("end")
    assert CUT in line


def test_a_guest_in_which_everything_happens_at_once_writes_no_log_full() -> None:
    told: Told = []
    clock = Clock()
    report = Reporter(lambda *event: told.append(event), clock)
    for _ in range(24 * 3600):
        clock.now_s += 1
        for _ in range(5):
            report("rebooted", "g1", "x" * 10_000)
            report("oom_kill", "g1", HOSTILE)
    report("oom_kill", "g2", "1")
    report.close()
    assert len(told) < 2 * (AT_ONCE + 24 * 3600 * PER_S) + 5
    assert sum(len(detail) for _, _, detail in told) < 5_000_000, "a day's worth"
    assert ("oom_kill", "g2", "1") in told, "the others are told of as ever"
    assert any(detail.endswith("more were left out)") for _, _, detail in told)
    assert all(detail.isprintable() for _, _, detail in told)


def test_names_without_end_share_one_measure() -> None:
    told: Told = []
    report = Reporter(lambda *event: told.append(event), Clock())
    for number in range(3 * KINDS):
        report("trace_failed", f"guest-{number}", "")
    assert len(told) <= KINDS + AT_ONCE


def test_what_cannot_be_written_is_counted_and_said_when_it_can_be() -> None:
    told: Told = []
    full = [True]

    def write(*event: str) -> None:
        if full[0]:
            raise OSError(errno.ENOSPC, "No space left on device")
        told.append(event)  # type: ignore[arg-type]

    report = Reporter(write)
    for _ in range(3):
        report("silent", "g1", "")
    full[0] = False
    report("heard", "g1", "")
    assert [event for event, _, _ in told] == ["events_lost", "heard"]
    assert told[0][2].startswith("3 events could not be written")
    assert "No space left" in told[0][2]


class Broken(io.TextIOBase):
    """A pipe that nobody reads any more."""

    def write(self, text: str) -> int:
        raise BrokenPipeError(errno.EPIPE, "Broken pipe")


@pytest.mark.parametrize("stderr", [Broken(), None])
def test_a_guests_thread_outlives_a_standard_error_that_is_closed(
    stderr: io.TextIOBase | None, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys, "stderr", stderr)
    guest = GuestClient(unconnected().machine, events=serve.tell)
    guest._receive(b"B1 seq=0 mono_ms=5000 oom_kill=0")
    guest._receive(b"B1 seq=1 mono_ms=6000 oom_kill=2")
    assert guest.newest
    assert guest.newest.sample.seq == 1
    serve.say("stopped")
    assert capsys.readouterr().out == "", "and nothing strays into the decisions"


def test_a_line_of_the_log_is_one_line_whatever_a_guest_says(capsys: pytest.CaptureFixture[str]) -> None:
    serve.tell("sampler_ended", "g1", HOSTILE)
    (line,) = capsys.readouterr().err.splitlines()
    assert line.isprintable()
    assert "owned" in line


def test_what_a_playbook_hands_on_of_a_guest_is_plain(capsys: pytest.CaptureFixture[str]) -> None:
    from harness.progress.playbook import _plain

    screen.Screen().show(Line(kind=Kind.FAILED, text=_plain(f"g1: \x1b[31mred\x1b[0m {HOSTILE}")))
    out = capsys.readouterr().out
    assert all(char == "\n" or char.isprintable() for char in out)
    assert "g1: red" in out


def test_an_exception_that_nobody_foresaw_does_not_end_a_guests_thread(monkeypatch: pytest.MonkeyPatch) -> None:
    told: Told = []
    tried = threading.Event()
    attempts: list[int] = []

    def connect(_: object) -> None:
        attempts.append(1)
        if len(attempts) == 3:
            tried.set()
        raise KeyError(200)

    monkeypatch.setattr("harness.xen.client.connect", connect)
    monkeypatch.setattr("harness.xen.client.FIRST_WAIT_S", 0.01)
    with GuestClient(unconnected().machine, events=lambda *event: told.append(event)):
        assert tried.wait(10)
    assert ("disconnected", "g1", "KeyError: 200") in told
