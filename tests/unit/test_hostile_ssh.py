"""Whatever a guest's SSH server does: it costs the arbiter little memory, is said once, and hurts no other guest."""

from __future__ import annotations

import socket
import struct
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import replace
from itertools import pairwise
from pathlib import Path

import paramiko
import pytest

from harness.xen import client as client_module
from harness.xen import wire
from harness.xen.client import GuestClient
from harness.xen.machine import Machine
from harness.xen.ssh import ConnectionFailed, connect, transport
from tests.unit import hostile_guest

MIB = 1 << 20
MOST_BYTES = 8 * MIB
"""What a guest may cost: windows, packets, and what Python keeps of what it has freed."""
WATCHED_S = 3.0

Told = list[tuple[str, str, str]]


def resident_bytes() -> int:
    return int(Path("/proc/self/statm").read_text().split()[1]) * 4096


@pytest.fixture(scope="module", name="keys")
def _keys(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    folder = tmp_path_factory.mktemp("keys")
    for name in ("ours", "theirs"):
        paramiko.ECDSAKey.generate().write_private_key_file(str(folder / name))
    return folder / "ours", folder / "theirs"


@contextmanager
def guest(how: str, keys: tuple[Path, Path], folder: Path) -> Iterator[Machine]:
    """A hostile guest in a process of its own."""
    argv = [sys.executable, hostile_guest.__file__, str(keys[1]), how]
    with subprocess.Popen(argv, stdout=subprocess.PIPE) as process:
        try:
            assert process.stdout
            port = int(process.stdout.readline())
            key = paramiko.ECDSAKey.from_private_key_file(str(keys[1]))
            known = folder / f"known-{how}"
            known.write_text(f"[127.0.0.1]:{port} {key.get_name()} {key.get_base64()}\n")
            yield Machine(name=how, address="127.0.0.1", port=port, key_file=keys[0], known_hosts=known)
        finally:
            process.kill()


def until(happened: object, timeout_s: float = 20.0) -> None:
    end_s = time.monotonic() + timeout_s
    while not happened():  # type: ignore[operator]
        assert time.monotonic() < end_s, "it did not happen in time"
        time.sleep(0.02)


@pytest.mark.parametrize("how", ["stdout", "stderr"])
def test_a_guest_that_ignores_windows_and_floods_costs_little_memory_and_the_others_are_heard_as_ever(
    how: str, keys: tuple[Path, Path], tmp_path: Path
) -> None:
    told: Told = []
    with (
        guest(how, keys, tmp_path) as bad,
        guest("honest", keys, tmp_path) as good,
        GuestClient(good, period_s=0.1) as honest,
    ):
        assert honest.wait_for_sample(20)
        before = resident_bytes()
        with GuestClient(bad, period_s=0.1, events=lambda *event: told.append(event)):
            heard, largest = {0.0}, 0
            end_s = time.monotonic() + WATCHED_S
            while time.monotonic() < end_s:
                heard.add(honest.newest.arrived_s if honest.newest else 0.0)
                largest = max(largest, resident_bytes() - before)
                time.sleep(0.02)
            until(lambda: any(event == "disconnected" for event, _, _ in told))
    assert largest < MOST_BYTES
    assert len(heard) > WATCHED_S / 0.1 / 3, "of thirty samples; the machine may have other things to do"
    why = next(detail for event, _, detail in told if event == "disconnected")
    assert "more than it was allowed" in why
    assert len(told) < 20, "it is tried again, ever more rarely"


@pytest.mark.parametrize("how", ["unknown", "no-utf-8", "no-request", "extensions"])
def test_a_message_that_is_not_as_ssh_has_it_is_an_event_and_the_guest_is_tried_again(
    how: str, keys: tuple[Path, Path], tmp_path: Path
) -> None:
    told: Told = []
    with (
        guest(how, keys, tmp_path) as bad,
        GuestClient(bad, period_s=0.1, events=lambda *event: told.append(event)),
    ):
        until(lambda: sum(event == "connected" for event, _, _ in told) >= 2)
    assert any(event == "disconnected" and detail for event, _, detail in told)


@pytest.mark.parametrize("how", ["unknown", "no-utf-8"])
def test_what_such_a_message_provokes_is_an_error_of_ssh_for_whoever_meets_it(
    how: str, keys: tuple[Path, Path], tmp_path: Path
) -> None:
    with (
        guest(how, keys, tmp_path) as bad,
        connect(bad) as connection,
        pytest.raises(paramiko.SSHException, match="does not speak SSH as it should"),
    ):
        transport(connection).open_session(timeout=10)


@pytest.mark.parametrize("how", ["banner", "lines", "packet", "noise"])
def test_before_it_has_shown_its_key_a_machine_can_neither_take_memory_nor_hold_us_up(
    how: str, keys: tuple[Path, Path], tmp_path: Path
) -> None:
    before, began_s = resident_bytes(), time.monotonic()
    with guest(how, keys, tmp_path) as bad, pytest.raises(ConnectionFailed):
        connect(bad)
    assert time.monotonic() - began_s < 10
    assert resident_bytes() - before < MOST_BYTES


def test_messages_are_read_no_faster_than_a_measure_however_small_they_are() -> None:
    ignored = struct.pack(">IB", 12, 6) + b"\x02" + bytes(10)  # a message to be ignored, before there is encryption
    ours, theirs = socket.socketpair()

    def send() -> None:
        with suppress(OSError):
            while True:
                theirs.sendall(1000 * ignored)

    thread = threading.Thread(target=send)
    with ours, theirs:
        ours.settimeout(0.1)
        packets = wire.Wire.packets(ours)
        thread.start()
        began_s, read = time.monotonic(), 0
        while time.monotonic() < began_s + 2.0:
            packets.read_message()
            read += 1
        took_s = time.monotonic() - began_s
        theirs.shutdown(socket.SHUT_RDWR)
        thread.join()
    assert read <= (wire.GUEST.at_once_bytes + took_s * wire.GUEST.per_s_bytes) / wire.MESSAGE_BYTES + 1


def test_a_machine_that_takes_nothing_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(wire.Wire.packets, "measure", replace(wire.GUEST, stuck_s=0.3))
    ours, theirs = socket.socketpair()
    with ours, theirs:
        ours.settimeout(0.1)
        packets = wire.Wire.packets(ours)
        began_s = time.monotonic()
        with pytest.raises(EOFError, match="taken nothing"):
            packets.write_all(bytes(64 * MIB))
        assert time.monotonic() - began_s < 5


def test_a_guest_that_never_ends_a_handshake_holds_nobody_up(
    keys: tuple[Path, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(wire.Wire.packets, "measure", replace(wire.GUEST, stuck_s=3.0))
    with guest("rekeying", keys, tmp_path) as bad, GuestClient(bad, period_s=0.1) as client:
        assert client.wait_for_sample(20)
        assert client._connection
        handshake = client._connection.get_transport()
        until(lambda: not handshake.clear_to_send.is_set())  # type: ignore[union-attr]
        began_s = time.monotonic()
        client.phase()
        assert time.monotonic() - began_s < 2
        with pytest.raises(ConnectionFailed):
            client.run(["true"])
        assert time.monotonic() - began_s < 15


def test_after_a_fault_a_guest_is_tried_again_ever_more_rarely_however_soon_it_speaks(
    keys: tuple[Path, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(client_module, "FIRST_WAIT_S", 0.4)  # so that the third wait outweighs what a busy machine adds
    told: list[float] = []
    with (
        guest("extensions", keys, tmp_path) as bad,
        GuestClient(bad, events=lambda event, *_: told.append(time.monotonic()) if event == "disconnected" else None),
    ):
        until(lambda: len(told) >= 4)
    waits_s = [after - before for before, after in pairwise(told)]
    assert waits_s[2] > waits_s[0] + 0.2
