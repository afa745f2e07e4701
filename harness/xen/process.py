"""A command that runs in a guest, over the connection that is open already."""

from __future__ import annotations

import math
import re
import select
import shlex
import threading
import time
from collections.abc import Callable, Sequence
from contextlib import suppress

import paramiko

from harness.xen.ssh import execute

KEEP_BYTES = 65536
"""Of each output stream the end is kept: a workload's result is its last line."""
LONGEST_FIRST_LINE = 32
LINGER_S = 5.0
GO_S = 5.0
"""For the connection to take the word; three bytes wait only where it is about to end."""
SIGNALS = frozenset({"INT", "KILL", "TERM"})

# The outer shell gives way to ours, which therefore leads the command's process group; its own exit status tells even a
# killed command (128 + signal), which SSH would not.
_SCRIPT = 'echo "$$"; "$@"; exit "$?"'

_READY = re.compile(rb"^ready\r?\n", re.MULTILINE)

OpenChannel = Callable[[], paramiko.Channel]
Privileged = Callable[[Sequence[str]], list[str]]
"""Makes of a command the one that runs it as root."""


def command_line(argv: Sequence[str], privileged: Privileged = list) -> str:
    """The one text that SSH takes, such that the remote shell yields exactly `argv` again.

    A command that is run by another (`privileged`) is not the first of its process group, and gets one of its own.
    """
    ours = ["sh", "-c", _SCRIPT, "sh", *argv]
    return "exec " + shlex.join(ours if privileged(ours) == ours else privileged(["setsid", "--wait", *ours]))


class RemoteProcess:
    """A command in a guest; a thread reads its output, so it never blocks on us.

    A workload says `ready` on a line of its own and waits for the word, `go`, which is all of its input.
    """

    def __init__(
        self,
        argv: Sequence[str],
        open_channel: OpenChannel,
        *,
        name: str,
        clock: Callable[[], float] = time.monotonic,
        privileged: Privileged = list,
    ) -> None:
        """Start it.

        Raises:
            paramiko.SSHException, OSError, EOFError: the connection does not allow it.

        """
        self.argv = tuple(argv)
        self._clock, self._privileged = clock, privileged
        self.started_s = clock()
        self.went_s: float | None = None
        """When it was told to go."""
        self.ended_s: float | None = None
        """Moments on `clock`."""
        self._open_channel = open_channel
        self._out, self._err = bytearray(), bytearray()
        self._pid: int | None = None
        self._status: int | None = None
        self._changed = threading.Condition()
        self._ready = False
        self._ended = False
        self._channel = open_channel()
        try:
            execute(self._channel, command_line(argv, privileged))
        except BaseException:
            self._channel.close()
            raise
        self._thread = threading.Thread(target=self._read, name=f"process-{name}", daemon=True)
        self._thread.start()

    @property
    def stdout(self) -> bytes:
        """The end of its standard output so far, without the line that says it is ready."""
        with self._changed:
            return bytes(self._out)

    @property
    def stderr(self) -> bytes:
        """The end of its standard error so far."""
        with self._changed:
            return bytes(self._err)

    @property
    def ready(self) -> bool:
        """Whether it has said that it is ready."""
        return self._ready

    def wait_ready(self, timeout_s: float) -> bool:
        """Wait until it says that it is ready; whether it has. Ends at once when nothing more can come."""
        with self._changed:
            self._changed.wait_for(lambda: self._ready or self._ended, timeout_s)
            return self._ready

    def go(self) -> None:
        """Give the word, and with it end the input. To say it again changes nothing.

        What cannot be told has lost its connection, and its end says so.
        """
        if self.went_s is not None:
            return
        self.went_s = self._clock()
        with suppress(paramiko.SSHException, OSError, EOFError):
            self._channel.settimeout(GO_S)
            self._channel.sendall(b"go\n")
            self._channel.shutdown_write()

    @property
    def ended(self) -> bool:
        """Whether nothing more comes: it has ended, or the connection has."""
        return self._ended

    @property
    def exit_status(self) -> int | None:
        """What it ended with: 128 + n if signal n killed it. None: it still runs, or is lost."""
        return self._status

    @property
    def lost(self) -> bool:
        """Whether the connection ended, or we killed it, before it told how it ended."""
        return self._ended and self._status is None

    def pid(self, timeout_s: float = 60.0) -> int | None:
        """The process group that it runs in; None when the guest does not tell in time."""
        with self._changed:
            self._changed.wait_for(lambda: self._pid is not None or self._ended, timeout_s)
            return self._pid or None

    def wait(self, timeout_s: float | None = None) -> bool:
        """Wait for its end; whether that has come."""
        with self._changed:
            return self._changed.wait_for(lambda: self._ended, timeout_s)

    def kill(self, signal: str = "KILL", *, timeout_s: float = 60.0) -> bool:
        """Send a signal to it and all its children, over a channel of its own; whether the guest has done so.

        Raises:
            paramiko.SSHException, OSError, EOFError: the connection does not allow it.

        """
        if signal not in SIGNALS:
            raise ValueError(f"signal {signal!r}: give one of {', '.join(sorted(SIGNALS))}")
        pid = self.pid(timeout_s)
        if pid is None:
            return False
        channel = self._open_channel()
        try:
            execute(channel, shlex.join(self._privileged(["kill", "-s", signal, "--", f"-{pid}"])), timeout_s)
            return channel.status_event.wait(timeout_s) and channel.recv_exit_status() == 0
        finally:
            channel.close()

    def close(self) -> None:
        """Let go of it; it is not killed."""
        self._channel.close()
        self._thread.join(5)

    def _read(self) -> None:
        arrivals = select.poll()
        arrivals.register(self._channel.fileno(), select.POLLIN)
        told_s = math.inf
        head = bytearray()
        over = False
        while not over:
            arrivals.poll(1000)
            # Its status may overtake the last of its output; a child that it leaves behind may hold the output open.
            if self._channel.status_event.is_set():
                told_s = min(told_s, time.monotonic())
            # Asked before the output is taken: what comes in between is there then, and what comes after is nothing.
            over = self._channel.closed or time.monotonic() - told_s > (0 if self._channel.eof_received else LINGER_S)
            while self._channel.recv_ready():
                data = self._channel.recv(KEEP_BYTES)
                self._take(data if self._pid is not None else self._first_line(head, data))
            while self._channel.recv_stderr_ready():
                self._keep(self._err, self._channel.recv_stderr(KEEP_BYTES))
        with self._changed:
            if self._channel.exit_status >= 0:
                self._status = self._channel.exit_status
            self.ended_s = self._clock()
            self._ended = True
            self._changed.notify_all()
        self._channel.close()

    def _first_line(self, head: bytearray, data: bytes) -> bytes:
        """Take the process group from the first line; returns what follows it."""
        head += data
        line, newline, rest = bytes(head).partition(b"\n")
        if not newline and len(head) <= LONGEST_FIRST_LINE:
            return b""
        with self._changed:
            self._pid = int(line) if line.isdigit() and len(line) < 10 and int(line) > 1 else 0
            self._changed.notify_all()
        return rest

    def _take(self, data: bytes) -> None:
        with self._changed:
            self._out += data
            # What came before the line that is not whole yet was looked at when it came.
            begin = max(0, self._out.rfind(b"\n", 0, len(self._out) - len(data)) + 1)
            if not self._ready and (said := _READY.search(self._out, begin)):
                del self._out[said.start() : said.end()]
                self._ready = True
                self._changed.notify_all()
            del self._out[:-KEEP_BYTES]

    def _keep(self, stream: bytearray, data: bytes) -> None:
        with self._changed:
            stream += data
            del stream[:-KEEP_BYTES]
