"""The door of the running service: who may ask, what comes back, and what a bad caller cannot do."""

from __future__ import annotations

import json
import socket
import threading
from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest

from harness.service import door
from harness.service.door import LONGEST_REQUEST, Door, DoorError, ask


class Loop:
    """The loop of a service, which answers between ticks."""

    def __init__(self, path: Path) -> None:
        self.path, self.seen = path, []  # type: Path, list[Mapping[str, object]]
        self._end = threading.Event()
        self._thread = threading.Thread(target=self._run)

    def _answer(self, request: Mapping[str, object]) -> Mapping[str, object]:
        self.seen.append(request)
        return {"error": "no such thing"} if request.get("op") == "nonsense" else {"echo": request}

    def _run(self) -> None:
        with Door(self.path) as open_door:
            self._opened.set()
            while not self._end.wait(0.01):
                open_door.attend(self._answer)

    def __enter__(self) -> Loop:
        self._opened = threading.Event()
        self._thread.start()
        assert self._opened.wait(10)
        return self

    def __exit__(self, *exc: object) -> None:
        self._end.set()
        self._thread.join(10)


@pytest.fixture
def loop(tmp_path: Path) -> Iterator[Loop]:
    with Loop(tmp_path / "s") as running:
        yield running


def raw(path: Path, data: bytes) -> bytes:
    with socket.socket(socket.AF_UNIX) as caller:
        caller.settimeout(10)
        caller.connect(str(path))
        caller.sendall(data)
        caller.shutdown(socket.SHUT_WR)
        return b"".join(iter(lambda: caller.recv(65536), b""))


def test_what_is_asked_is_answered_by_the_loop(loop: Loop) -> None:
    assert ask(loop.path, {"op": "room", "size_kib": 5}) == {"echo": {"op": "room", "size_kib": 5}}
    assert [json.loads(line) for line in raw(loop.path, b'{"a": 1}\n{"a": 2}\n').splitlines()] == [
        {"echo": {"a": 1}}, {"echo": {"a": 2}},
    ]  # fmt: skip


def test_what_the_service_refuses_is_an_error_for_whoever_asks(loop: Loop) -> None:
    with pytest.raises(DoorError, match="no such thing"):
        ask(loop.path, {"op": "nonsense"})


@pytest.mark.parametrize(
    "data", [b"\xff\xfe\n", b"[1]\n", b"7\n", b"[" * 4000 + b"\n", b"x" * (3 * LONGEST_REQUEST) + b"\n", b"\0" * 9]
)
def test_what_is_no_request_is_refused_and_never_reaches_the_loop(loop: Loop, data: bytes) -> None:
    answers = raw(loop.path, data).splitlines()
    assert answers
    assert all("error" in json.loads(line) for line in answers)
    assert loop.seen == []


def test_only_its_owner_can_open_the_door_and_nobody_else_is_let_in(
    loop: Loop, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert loop.path.stat().st_mode & 0o777 == 0o600
    monkeypatch.setattr(door.os, "geteuid", lambda: 4711)
    monkeypatch.setattr(door, "CREDENTIALS", Strangers())
    with pytest.raises(DoorError, match=r"ended before it answered|cannot be asked"):
        ask(loop.path, {"op": "room"})
    assert loop.seen == []


class Strangers:
    """What the kernel would say of a stranger."""

    size = door.CREDENTIALS.size

    def unpack(self, _: bytes) -> tuple[int, int, int]:
        return 1, 4712, 1


def test_who_hangs_up_or_says_nothing_holds_nobody_up(loop: Loop) -> None:
    quiet = [socket.socket(socket.AF_UNIX) for _ in range(8)]
    for caller in quiet:
        caller.connect(str(loop.path))
    quiet[0].sendall(b'{"op": "half')
    quiet[1].sendall(b'{"op": "gone"}\n')
    quiet[1].close()
    assert "echo" in ask(loop.path, {"op": "still there?"})
    for caller in quiet:
        caller.close()


def test_the_socket_of_a_service_that_died_is_replaced_and_that_of_one_that_lives_is_not(loop: Loop) -> None:
    with pytest.raises(DoorError, match="another service runs there"), Door(loop.path):
        pass
    assert "echo" in ask(loop.path, {})
    dead = loop.path.with_name("dead")
    with socket.socket(socket.AF_UNIX) as left_behind:
        left_behind.bind(str(dead))
    with Door(dead):
        assert dead.is_socket()
    assert not dead.exists()


def test_what_is_no_socket_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("precious")
    with pytest.raises(DoorError, match="is no socket"), Door(tmp_path / "file"):
        pass
    assert (tmp_path / "file").read_text() == "precious"


@pytest.mark.parametrize("left_behind", [True, False])
def test_where_no_service_runs_one_is_told_how_to_start_one(left_behind: bool, tmp_path: Path) -> None:
    if left_behind:
        with socket.socket(socket.AF_UNIX) as dead:
            dead.bind(str(tmp_path / "s"))
    with pytest.raises(DoorError, match="start one with ballast balance"):
        ask(tmp_path / "s", {})


def test_a_place_where_there_can_be_no_door_is_named_with_the_remedy(tmp_path: Path) -> None:
    with pytest.raises(DoorError, match="--socket"), Door(tmp_path / "no" / "such" / "folder"):
        pass


def test_the_service_that_does_not_answer_is_not_waited_for_for_ever(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(door, "ANSWER_S", 0.1)
    with Door(tmp_path / "s"), pytest.raises(DoorError, match="is dom0 silent"):
        ask(tmp_path / "s", {})
