"""The door of the running service: a Unix socket at which its owner, and nobody else, asks it something.

One request is one line of JSON, and so is its answer. Threads only carry both to and fro: what is asked is answered
by the service's own loop (`attend`), between two ticks, so nothing there needs a lock.
"""

from __future__ import annotations

import json
import os
import queue
import socket
import socketserver
import struct
import threading
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Self

LONGEST_REQUEST = 4096
LONGEST_ANSWER = 16 << 20
"""Of thousands of guests, some hundred bytes each."""
ANSWER_S = 30.0
"""A tick that waits for dom0 ends before."""
IDLE_S = 60.0
"""Who is connected for so long without asking is let go."""
MOST_CALLERS = 32
CREDENTIALS = struct.Struct("3i")
"""What the kernel says of who has connected: process, user, group (unix(7), SO_PEERCRED)."""

Answer = Mapping[str, Any]


class DoorError(RuntimeError):
    """The service cannot be asked; the message says why, and what to do."""


def default_path() -> Path:
    """Where the door is if nobody says: in a folder that is this user's alone."""
    if os.geteuid() == 0:
        return Path("/run/ballast/ballast.sock")  # where the unit of the role `service` has it
    return Path(os.environ.get("XDG_RUNTIME_DIR") or Path.home()) / "ballast.sock"


@dataclass(slots=True)
class _Call:
    """One request on its way to the loop."""

    request: Mapping[str, Any]
    answer: Answer | None = None
    answered: threading.Event = field(default_factory=threading.Event)


class Door:
    """Open from `with` to its end; `attend` must be called often."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._calls: queue.Queue[_Call] = queue.Queue(MOST_CALLERS)
        self._server: _Server | None = None

    def __enter__(self) -> Self:
        """Open it.

        Raises:
            DoorError: another service has its door there, or there can be none.

        """
        try:
            self.path.parent.mkdir(mode=0o700, exist_ok=True)
            _make_way(self.path)
            self._server = _Server(self.path, self._calls)
        except OSError as error:
            raise DoorError(f"{self.path}: {error.strerror}; name another place with --socket") from error
        threading.Thread(target=self._server.serve_forever, args=(0.2,), name="door", daemon=True).start()
        return self

    def __exit__(self, *exc: object) -> None:
        if self._server is not None:
            self._server.shutdown()
            self._server.server_close()
            self.path.unlink(missing_ok=True)

    def attend(self, answer: Callable[[Mapping[str, Any]], Answer]) -> None:
        """Answer everybody who waits."""
        while True:
            try:
                call = self._calls.get_nowait()
            except queue.Empty:
                return
            call.answer = answer(call.request)
            call.answered.set()


def ask(path: Path, request: Mapping[str, Any]) -> dict[str, Any]:
    """Ask the service whose door this is.

    Raises:
        DoorError: nobody is there, or it does not answer.

    """
    try:
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as caller:
            caller.settimeout(ANSWER_S + 5)
            caller.connect(str(path))
            caller.sendall(json.dumps(request).encode() + b"\n")
            with caller.makefile("rb") as said:
                line = said.readline(LONGEST_ANSWER)
    except (FileNotFoundError, ConnectionRefusedError):
        raise DoorError(
            f"{path}: no service runs there; start one with ballast balance, or name its place with --socket"
        ) from None
    except OSError as error:
        raise DoorError(f"{path}: {error.strerror or error}; the service that runs there cannot be asked") from error
    try:
        answer = json.loads(line)
    except ValueError:
        raise DoorError(f"{path}: the service ended before it answered") from None
    if "error" in answer:
        raise DoorError(str(answer["error"]))
    return dict(answer)


class _Server(socketserver.ThreadingUnixStreamServer):
    daemon_threads = True
    request_queue_size = MOST_CALLERS

    def __init__(self, path: Path, calls: queue.Queue[_Call]) -> None:
        self.calls = calls
        self.callers = threading.Semaphore(MOST_CALLERS)
        before = os.umask(0o177)  # nobody else can open it, from its first moment on
        try:
            super().__init__(str(path), _Caller)
        finally:
            os.umask(before)

    def verify_request(self, request: Any, client_address: Any) -> bool:  # noqa: ANN401 (socketserver's own)
        """Let in the owner and root."""
        said = request.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, CREDENTIALS.size)
        _, user, _ = CREDENTIALS.unpack(said)
        return user in (0, os.geteuid())

    def handle_error(self, request: object, client_address: object) -> None:
        """Whoever hangs up in the middle has hung up."""


class _Caller(socketserver.StreamRequestHandler):
    timeout = IDLE_S
    server: _Server

    def handle(self) -> None:
        """Answer line by line, as long as there are not too many who ask."""
        if not self.server.callers.acquire(blocking=False):
            return
        try:
            while line := self.rfile.readline(LONGEST_REQUEST):
                self.wfile.write(json.dumps(self._answer(line)).encode() + b"\n")
        finally:
            self.server.callers.release()

    def _answer(self, line: bytes) -> Answer:
        try:
            request = json.loads(line)
        except (ValueError, RecursionError):
            return {"error": f"not a line of JSON of at most {LONGEST_REQUEST} bytes"}
        if not isinstance(request, dict):
            return {"error": "a request is a JSON object"}
        call = _Call(request)
        with suppress(queue.Full):
            self.server.calls.put_nowait(call)
            if call.answered.wait(ANSWER_S) and call.answer is not None:
                return call.answer
        return {"error": f"the service has not answered within {ANSWER_S:.0f} s; is dom0 silent?"}


def _make_way(path: Path) -> None:
    """Remove the socket of a service that has died.

    Raises:
        DoorError: a service listens there, or something else lies there.

    """
    if not os.path.lexists(path):
        return
    if not path.is_socket():
        raise DoorError(f"{path} is there already and is no socket; name another place with --socket")
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as caller:
        try:
            caller.connect(str(path))
        except ConnectionRefusedError:
            path.unlink()
        else:
            raise DoorError(f"{path}: another service runs there; end it, or name another place with --socket")
