"""AgentLink: one connection to dom0 and the agent at its other end."""

from __future__ import annotations

import json
import shlex
import threading
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Protocol

import paramiko

from harness.progress.plain import one_line
from harness.xen.machine import Machine
from harness.xen.resident import BUSY, LOG, NO_ROOT, UNLED
from harness.xen.ssh import PATIENCE_S, ConnectionFailed, connect, execute, transport
from harness.xen.wire import Dom0Wire

SENT = tuple(
    Path(__file__).with_name(f"{name}.py")
    for name in ("tracer", "brake", "deadman", "heir", "asked", "toolstack", "agent", "resident")
)
LONGEST_ANSWER = 1 << 24
LONGEST_COMPLAINT = 300
NUDGE_S = 1.0
"""Of the controller's time, without an answer from a machine that may stand still."""

START = Path(__file__).with_name("start.py").read_text()
"""The program that takes them in."""

CAUSES = {
    BUSY: "another agent is at work there. Stop the other controller, or wait until its lease runs out.",
    UNLED: "its lease ran out, and it has set the safe targets. Renew the lease more often, or ask for a longer one.",
    NO_ROOT: "the agent needs root. Log in as root, or as a user who may become it by sudo (ansible_become: true).",
    127: "there is no python3. Install it in dom0 (apt install python3).",
}


class Stepper(Protocol):
    """Lets a machine go on that stands still after every answer."""

    def release(self) -> None:
        """It has been asked something."""
        ...

    def nudge(self) -> None:
        """The answer lets us wait."""
        ...

    def wait(self) -> bool:
        """The answer is here; return whether the machine stands still again."""
        ...


class LinkError(ConnectionError):
    """The agent is gone; the message says why and what to do."""


class NoAnswerError(TimeoutError):
    """The agent did not answer in time; it may still do what it was asked."""


class AgentLink:
    """Asks and waits for the answer; may be used from several threads."""

    def __init__(self, machine: Machine) -> None:
        """Connect and start the agent.

        Raises:
            ConnectionFailed: dom0 cannot be reached, or the agent does not start.

        """
        self.machine = machine
        self._lock = threading.Lock()
        self._asked = 0
        self._rest = b""
        self._connection = connect(machine, wire=Dom0Wire)
        try:
            self._channel = transport(self._connection).open_session(timeout=PATIENCE_S)
            sources = [path.read_bytes() for path in SENT]
            self._channel.settimeout(PATIENCE_S)
            words = [f"{path.stem}:{len(source)}" for path, source in zip(SENT, sources, strict=True)]
            execute(self._channel, shlex.join(["exec", *machine.privileged(["python3", "-I", "-c", START, *words])]))
            self._channel.sendall(b"".join(sources))
            # Not a byte more before it is ready: Python reads ahead.
            if "ready" not in (said := self._line(time.monotonic() + PATIENCE_S)):
                raise LinkError(self._why(str(said.get("error", said))[:200]))
        except (paramiko.SSHException, OSError, EOFError) as error:
            self.close()
            raise ConnectionFailed(f"{machine}: the agent does not start: {error}") from error

    def ask(self, request: Mapping[str, Any], timeout_s: float, stepper: Stepper | None = None) -> dict[str, Any]:
        """Send a request and return its answer; `stepper` lets a machine go on for it that stands still.

        Raises:
            NoAnswerError: not in time; a late answer is dropped.
            LinkError: the agent is gone.

        """
        with self._lock:
            self._asked += 1
            deadline_s = time.monotonic() + timeout_s
            try:
                self._channel.settimeout(timeout_s)
                self._channel.sendall(json.dumps({"id": self._asked, **request}).encode() + b"\n")
                if stepper is not None:
                    stepper.release()
                while (said := self._line(deadline_s, stepper)).get("id") != self._asked:
                    pass
            except TimeoutError:
                raise NoAnswerError(f"{self.machine}: the agent did not answer within {timeout_s:g} s") from None
            except (paramiko.SSHException, EOFError, OSError) as error:
                why = self._why(f"the agent or the connection was cut off ({error}). Look into {LOG} there.")
                raise LinkError(f"{self.machine}: {why}") from error
            return said

    def wait_for_end(self, timeout_s: float) -> None:
        """Wait until the agent, having been told `bye`, has made room for the next."""
        self._channel.status_event.wait(timeout_s)

    def close(self) -> None:
        """End the connection; an agent that was not told `bye` then sets the safe targets."""
        self._connection.close()

    def _line(self, deadline_s: float, stepper: Stepper | None = None) -> dict[str, Any]:
        while b"\n" not in self._rest:
            left_s = max(0.01, deadline_s - time.monotonic())
            self._channel.settimeout(left_s if stepper is None else min(left_s, NUDGE_S))
            try:
                chunk = self._channel.recv(65536)
            except TimeoutError:
                if stepper is None or time.monotonic() >= deadline_s:
                    raise
                stepper.nudge()
                continue
            if not chunk:
                raise EOFError(self._why("it ended"))
            self._rest += chunk
            if len(self._rest) > LONGEST_ANSWER:
                raise EOFError("an answer without end")
        line, _, self._rest = self._rest.partition(b"\n")
        try:
            said = json.loads(line)
        except (ValueError, RecursionError):
            raise EOFError(f"{line[:80]!r} is no answer; is something printed at login?") from None
        if not isinstance(said, dict):
            raise EOFError(f"{line[:80]!r} is no answer")
        return said

    def _why(self, otherwise: str) -> str:
        """Why the agent has ended, if it has."""
        self._channel.status_event.wait(2)
        return CAUSES.get(self._channel.exit_status) or f"{otherwise}{self._complaint()}"

    def _complaint(self) -> str:
        """What sudo, or Python, has to say about that."""
        said = self._channel.recv_stderr(LONGEST_COMPLAINT) if self._channel.recv_stderr_ready() else b""
        return f": {one_line(said.decode(errors='replace'))}" if said.strip() else ""
