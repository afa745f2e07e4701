"""Waiting for machines that boot: one that greets late is given longer each time, and not asked ever more often."""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest

from harness.lab import access
from harness.lab.image import LabError
from harness.lab.lab import Lab


class Machine:
    """Takes every connection, as QEMU does, and greets each of them so much later, if at all."""

    def __init__(self, greets_after_s: float | None) -> None:
        self.calls = 0
        self._after_s = greets_after_s
        self._server = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._server.getsockname()[1]
        threading.Thread(target=self._take, daemon=True).start()

    def _take(self) -> None:
        with suppress(OSError):
            while True:
                connection, _ = self._server.accept()
                self.calls += 1
                threading.Thread(target=self._greet, args=(connection,), daemon=True).start()

    def _greet(self, connection: socket.socket) -> None:
        with suppress(OSError), connection:
            time.sleep(60 if self._after_s is None else self._after_s)
            connection.sendall(b"SSH-2.0-late\r\n")

    def close(self) -> None:
        self._server.close()


@contextmanager
def machines(**greets_after_s: float | None) -> Iterator[dict[str, Machine]]:
    made = {name: Machine(after_s) for name, after_s in greets_after_s.items()}
    try:
        yield made
    finally:
        for machine in made.values():
            machine.close()


def test_a_machine_that_greets_late_is_not_called_again_and_again(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(access, "FIRST_PATIENCE_S", 0.05)
    said: list[str] = []
    with machines(g1=0.0, g2=1.0) as there:
        access.wait({name: machine.port for name, machine in there.items()}, said.append, timeout_s=30)
        assert there["g2"].calls <= 6  # patience of 0.05 s would have it called twenty times
    assert said == ["g1 answers; waiting for g2", "g2 answers"]


def test_who_never_answers_is_named_with_the_way_to_find_out_why() -> None:
    with (
        machines(g1=0.0, g2=None) as there,
        pytest.raises(LabError, match=r"no answer from g2 within 1 s; .*ballast lab console"),
    ):
        access.wait({name: machine.port for name, machine in there.items()}, lambda _: None, timeout_s=1)


def test_a_lab_that_was_started_to_be_used_later_goes_on_when_it_is_first_used(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The first trial takes it as it stands at its snapshot; no second QEMU is started for that."""
    lab, done = Lab(tmp_path), []
    (tmp_path / "frozen").mkdir()
    (tmp_path / "at-rest").touch()
    monkeypatch.setattr(Lab, "state", lambda _: object())
    monkeypatch.setattr(Lab, "_await_qemu", lambda _: done.append("goes on"))
    monkeypatch.setattr(Lab, "_launch", lambda *_: done.append("a new QEMU"))
    monkeypatch.setattr(Lab, "down", lambda _: done.append("ended"))
    lab.restore()
    assert done == ["goes on"]
    lab.restore()
    assert done == ["goes on", "ended", "a new QEMU"]
    assert not lab.wake()
