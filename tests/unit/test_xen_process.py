"""A workload in a guest, over a real SSH connection: it says that it is ready, and is told to go."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import closing
from itertools import count
from pathlib import Path

import paramiko
import pytest

from harness.xen import client as xen_client
from harness.xen.client import GuestClient
from harness.xen.machine import Machine
from harness.xen.process import KEEP_BYTES, RemoteProcess
from tests.unit.guest_over_ssh import guest

WORKLOAD = 'echo before; echo ready; read -r word || { echo untold >&2; exit 1; }; echo "$word"; cat'


@pytest.fixture(name="connection")
def _connection() -> Iterator[paramiko.SSHClient]:
    with guest() as connection:
        yield connection


def start(
    connection: paramiko.SSHClient, script: str, clock: Callable[[], float] = time.monotonic
) -> closing[RemoteProcess]:
    transport = connection.get_transport()
    assert transport
    return closing(RemoteProcess(["sh", "-c", script], transport.open_session, name="g1", clock=clock))


def test_a_workload_waits_for_the_word_which_is_all_of_its_input(connection: paramiko.SSHClient) -> None:
    with start(connection, WORKLOAD) as process:
        assert process.wait_ready(10)
        assert process.ready
        assert not process.wait(0.3), "it waits"
        assert process.went_s is None
        process.go()
        process.go()
        assert process.wait(10)
        assert (process.exit_status, process.stdout) == (0, b"before\ngo\n")


def test_a_workload_that_is_let_go_of_before_the_word_has_no_input_any_more(
    connection: paramiko.SSHClient, tmp_path: Path
) -> None:
    with start(connection, f"{{ {WORKLOAD}; }} 2>{tmp_path}/said; :") as process:
        assert process.wait_ready(10)
    until_s = time.monotonic() + 10
    while "untold" not in (tmp_path / "said").read_text():
        assert time.monotonic() < until_s
        time.sleep(0.05)


def test_what_it_says_last_is_not_lost_where_it_comes_with_its_end(
    connection: paramiko.SSHClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    """All of it arrives between the look that finds no output and the look that finds the end."""
    there = paramiko.Channel.recv_ready
    began = time.monotonic()

    def until_the_end(channel: paramiko.Channel) -> bool:
        if found := there(channel):
            return found
        while not channel.closed and time.monotonic() - began < 20:
            time.sleep(0.01)
        return False

    monkeypatch.setattr(paramiko.Channel, "recv_ready", until_the_end)
    with start(connection, "sleep 1; echo the result") as process:
        assert process.wait(30)
        assert (process.exit_status, process.stdout) == (0, b"the result\n")


def test_a_workload_that_ends_or_says_nothing_is_not_ready(connection: paramiko.SSHClient) -> None:
    with start(connection, "echo already; echo ready or not; echo why >&2; exit 2") as process:
        began_s = time.monotonic()
        assert not process.wait_ready(30)
        assert time.monotonic() - began_s < 20, "its end is noticed"
        assert process.wait(10)
        assert (process.exit_status, process.stdout) == (2, b"already\nready or not\n")
        assert process.stderr == b"why\n"
    with start(connection, "read -r word") as process:
        assert not process.wait_ready(0.3)
        assert not process.ended


def test_only_the_first_line_that_says_ready_is_not_part_of_the_output(connection: paramiko.SSHClient) -> None:
    script = "printf rea; sleep 0.3; printf 'dy\\n'; read -r word; echo ready; echo 1"
    with start(connection, script) as process:
        assert process.wait_ready(10)
        process.go()
        assert process.wait(10)
        assert process.stdout == b"ready\n1\n"


def test_ready_is_heard_after_more_output_than_is_kept(connection: paramiko.SSHClient) -> None:
    with start(connection, f"head -c {2 * KEEP_BYTES} /dev/zero; echo; echo ready; cat") as process:
        assert process.wait_ready(10)
        assert len(process.stdout) == KEEP_BYTES


def test_the_moments_of_a_workload_are_on_the_clock_that_was_given(connection: paramiko.SSHClient) -> None:
    moments = count(1000)
    with start(connection, WORKLOAD, lambda: float(next(moments))) as process:
        assert process.wait_ready(10)
        process.go()
        assert process.wait(10)
        assert (process.started_s, process.went_s, process.ended_s) == (1000, 1001, 1002)


def test_to_tell_a_workload_whose_connection_has_gone_is_no_error(connection: paramiko.SSHClient) -> None:
    with start(connection, WORKLOAD) as process:
        assert process.wait_ready(10)
        connection.close()
        process.go()
        assert process.wait(20)
        assert process.lost


def test_a_workload_that_does_not_get_ready_can_be_killed(connection: paramiko.SSHClient) -> None:
    with start(connection, "sleep 60") as process:
        assert process.kill()
        assert process.wait(10)
        assert process.lost


@pytest.fixture(name="listening")
def _listening(connection: paramiko.SSHClient, monkeypatch: pytest.MonkeyPatch) -> Iterator[GuestClient]:
    monkeypatch.setattr(xen_client, "connect", lambda _: connection)
    machine = Machine(name="g1", address="a", key_file=Path("k"), known_hosts=Path("h"))
    with GuestClient(machine, period_s=1.0) as client:
        assert client.wait_for_sample(10)
        yield client


def test_a_guest_takes_a_sample_when_it_is_told_and_then_at_whole_periods_after(listening: GuestClient) -> None:
    time.sleep(0.4)
    assert listening.newest
    first = listening.newest.sample
    asked_s = time.monotonic()
    listening.phase()
    assert listening.wait_for_sample(10, after_s=asked_s)
    told, took_s = listening.newest.sample, time.monotonic() - asked_s
    assert took_s < 0.4, "at once, and not at the end of the period"
    assert listening.wait_for_sample(10, after_s=listening.newest.arrived_s)
    after = listening.newest.sample
    assert [first.seq, told.seq, after.seq] == [first.seq, first.seq + 1, first.seq + 2]
    assert after.mono_s - told.mono_s == pytest.approx(1.0, abs=0.15)


def test_a_client_gives_its_clock_to_what_it_runs(listening: GuestClient) -> None:
    listening._clock = lambda: 77.0
    with closing(listening.run(["true"])) as process:
        assert process.started_s == 77.0
        assert process.wait(10)
    listening._clock = time.monotonic


def test_a_client_without_a_sampler_has_nobody_to_tell() -> None:
    client = GuestClient(Machine(name="g1", address="a", key_file=Path("k"), known_hosts=Path("h")))
    client.phase()
    assert client.newest is None
