"""The agent's brake, on a file instead of the device."""

from __future__ import annotations

from pathlib import Path

import pytest

from harness.xen.brake import PORT, Brake, BrakeError


@pytest.fixture
def port(tmp_path: Path) -> Path:
    """What /dev/port shows of a machine with a pvpanic device that can be told two events."""
    path = tmp_path / "port"
    path.write_bytes(b"\0" * PORT + b"\x03")
    return path


def told(port: Path) -> int:
    return port.read_bytes()[PORT]


def test_the_machine_is_stopped_only_after_it_was_told_to_be(port: Path) -> None:
    ran: list[tuple[int, bool]] = []
    brake = Brake(lambda domain, go: ran.append((domain, go)), str(port))
    brake.hold()
    assert told(port) == 3
    brake.put_on(0.0, idle=7)
    brake.hold()
    assert told(port) == 1
    assert ran == [(7, True)]


def test_taken_off_it_stops_nothing_and_the_idle_domain_is_paused(port: Path) -> None:
    ran: list[tuple[int, bool]] = []
    brake = Brake(lambda domain, go: ran.append((domain, go)), str(port))
    brake.put_on(0.0, idle=7)
    brake.take_off()
    brake.take_off()
    brake.hold()
    assert told(port) == 3
    assert ran == [(7, True), (7, False)]


@pytest.mark.parametrize("content", [b"\0" * PORT + b"\xff", b"\0" * PORT + b"\0", b""])
def test_a_machine_without_the_device_refuses_and_its_ports_are_left_alone(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "port"
    path.write_bytes(content)
    brake = Brake(lambda *_: pytest.fail("nothing is to run"), str(path))
    with pytest.raises(BrakeError, match="cannot be held"):
        brake.put_on(0.0, idle=7)
    brake.hold()
    assert path.read_bytes() == content
