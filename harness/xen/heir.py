"""Who sets the safe targets when the agent itself is killed: a second process in dom0 that does nothing but wait.

Sent to dom0 ahead of the agent, which uses it (`agent.py`, at its top, says under what terms). It reads the will of the
agent from a pipe, whose end is the end of the agent, whatever killed it. A controller that is still there has until the
end of the lease to start another agent: the lock then names that one, and the heir goes without a word.
"""

from __future__ import annotations

import contextlib
import json
import os
import select
import signal
import time
from collections.abc import Callable, Mapping

Inherit = Callable[[int, Mapping[str, int]], None]
"""Does what is left to do for the agent of a process number: sets its safe targets, unless another has come."""


class Heir:
    """The agent's end of the pipe."""

    def __init__(self, inherit: Inherit) -> None:
        """Begin the process that waits. It has nothing of the agent's but a copy of its memory."""
        leader = os.getpid()
        reading, self._writing = os.pipe()
        self._said = ""
        if os.fork() == 0:
            try:
                _become_a_stranger(reading)
                _wait(reading, leader, inherit)
            finally:
                os._exit(0)
        os.close(reading)

    def note(self, lease_ends_s: float | None, safe_kib: Mapping[str, int]) -> None:
        """Say what is to be done should the agent be killed now; None: there is nothing to undo."""
        said = json.dumps({"ends_s": lease_ends_s, "safe_kib": dict(safe_kib)})
        if said != self._said:
            self._said = said
            data = said.encode() + b"\n"
            with contextlib.suppress(BrokenPipeError):  # it was killed too, which must not be the agent's end
                while data:
                    data = data[os.write(self._writing, data) :]


def _become_a_stranger(reading: int) -> None:
    """Share no session, no lock and no connection with the agent: its end must be seen as its own."""
    os.setsid()
    for number in (signal.SIGHUP, signal.SIGINT):
        signal.signal(number, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    null = os.open(os.devnull, os.O_RDWR)
    for fd in (0, 1, 2):
        os.dup2(null, fd)
    os.dup2(reading, 3)
    os.closerange(4, 1024)


def _wait(reading: int, leader: int, inherit: Inherit) -> None:
    will = _last_will(3)
    if will.get("ends_s") is None:
        return
    left_s = will["ends_s"] - time.monotonic()
    if left_s > 0:
        time.sleep(left_s)
    inherit(leader, will["safe_kib"])


def _last_will(fd: int) -> dict:  # type: ignore[type-arg]  # Python 3.9 in dom0
    """What the agent said last before it ended; a line that is not whole was said too late."""
    pending = b""
    while True:
        select.select([fd], [], [])
        chunk = os.read(fd, 65536)
        if not chunk:
            break
        pending = b"\n".join((pending + chunk).split(b"\n")[-2:])
    whole = pending.rpartition(b"\n")[0]
    return json.loads(whole) if whole else {}
