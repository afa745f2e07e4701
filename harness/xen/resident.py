"""The agent as a process of dom0: alone there, resident in memory, with a log, until there is a reason to end.

Sent to dom0 behind the agent, and run (`agent.py`, at its top, says under what terms).
"""

from __future__ import annotations

import contextlib
import ctypes
import fcntl
import json
import os
import select
import signal
import sys
import time
from collections.abc import Mapping
from pathlib import Path

from harness.xen.agent import Agent
from harness.xen.asked import Facts
from harness.xen.deadman import set_all
from harness.xen.heir import Heir
from harness.xen.toolstack import reach

LOCK = Path("/run/ballast-agent.lock")
LOG = Path("/run/ballast-agent.log")
LOG_BYTES = 1 << 20
"""A log longer than this is begun anew; /run is memory."""
LONGEST_REQUEST = 1 << 20
LOOK_S = 0.5
"""While disks are traced: how often the trace is read at least, so that the kernel's buffer does not run over."""
BUSY = 3
"""Exit status: another agent is at work."""
UNLED = 4
"""Exit status: the lease ran out."""
NO_ROOT = 5
"""Exit status: whoever started it is not root."""
LEASE_OUT = "the lease ran out"


class Stopped(BaseException):
    """A signal came. Not an Exception: no request in progress may take it for its own failure."""


def _stop(number: int, _frame: object) -> None:
    raise Stopped(signal.Signals(number).name)


def serve(agent: Agent, read_fd: int = 0, write_fd: int = 1, heir: Heir | None = None) -> str:
    """Answer until there is a reason to end, and return that."""
    pending = b""
    while not agent.ended:
        now_s = time.monotonic()
        left_s = None if agent.lease_ends_s is None else agent.lease_ends_s - now_s
        if left_s is not None and left_s <= 0:
            return LEASE_OUT
        if (said := agent.due()) is not None:
            _write(write_fd, said)
            agent.brake.hold()
            continue
        waits_s = [left_s, None if agent.until_s is None else max(0.0, agent.until_s - now_s)]
        waits_s.append(LOOK_S if agent.tracer.active else None)
        wait_s = min((each for each in waits_s if each is not None), default=None)
        if not select.select([read_fd], [], [], wait_s)[0]:
            agent.tracer.look()
            continue
        chunk = os.read(read_fd, 65536)
        if not chunk:
            return "the controller is gone"
        *lines, pending = (pending + chunk).split(b"\n")
        if len(pending) > LONGEST_REQUEST:
            return "a request without end"
        for line in lines:
            said = agent.answer(line)
            if heir is not None:  # before the answer: whoever has that can count on it
                heir.note(agent.lease_ends_s, agent.safe_kib)
            if said is not None:
                _write(write_fd, said)
                agent.brake.hold()
    return "bye"


def _write(fd: int, said: Facts) -> None:
    text = json.dumps(said).encode() + b"\n"
    while text:
        text = text[os.write(fd, text) :]


def _stay_in_memory() -> None:
    """Be neither swapped out nor killed when dom0 itself is short of memory."""
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.mlockall(1 | 2 | 4) != 0:  # MCL_CURRENT, MCL_FUTURE, MCL_ONFAULT: what is in use, not all that is mapped
        log(f"not locked in memory: {os.strerror(ctypes.get_errno())}")
    try:
        Path("/proc/self/oom_score_adj").write_text("-1000")
    except OSError as error:
        log(f"not kept from the OOM killer: {error}")


def log(text: str) -> None:
    """To the log in dom0, and to the controller if there is one."""
    line = f"{time.strftime('%Y-%m-%dT%H:%M:%SZ', time.gmtime())} [{os.getpid()}] {text}\n".encode()
    with contextlib.suppress(OSError):  # there is no room left in /run; nothing more may come of that
        _append(line)
    with contextlib.suppress(OSError):  # the controller's end is closed; the file has it
        os.write(2, line)


def _append(line: bytes) -> None:
    mode = os.O_TRUNC if LOG.exists() and LOG.stat().st_size > LOG_BYTES else os.O_APPEND
    fd = os.open(LOG, os.O_WRONLY | os.O_CREAT | mode | os.O_NOFOLLOW, 0o600)
    try:
        os.write(fd, line)
    finally:
        os.close(fd)


def _lock() -> None:
    """The one place for an agent; held until this process ends."""
    try:
        fd = os.open(LOCK, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
    except PermissionError as error:
        _write(1, {"error": f"the agent needs root ({error})"})
        sys.exit(NO_ROOT)
    try:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        holder = os.read(fd, 32).decode(errors="replace").strip()
        text = f"another agent (process {holder}) is at work; stop its controller, or wait until its lease runs out"
        _write(1, {"error": text})
        sys.exit(BUSY)
    os.ftruncate(fd, 0)
    os.write(fd, f"{os.getpid()}\n".encode())


def _inherit(leader: int, safe_kib: Mapping[str, int]) -> None:
    """Set the safe targets of an agent that was killed, unless another has led since."""
    if LOCK.read_text().strip() == str(leader):
        _lock()  # while another leads, this is the end
        agent = Agent(reach(log))
        set_all(agent.make_safe, safe_kib, lambda text: log(f"agent {leader} was killed; safe targets: {text}"))


def main() -> None:
    """Serve on standard input and output; see the top."""
    _lock()
    xen = reach(log)
    agent = Agent(xen)
    for number in (signal.SIGHUP, signal.SIGTERM, signal.SIGINT):
        signal.signal(number, _stop)
    reason = "a fault in the agent"
    heir = None
    try:
        agent.answer(b'{"op": "state"}')  # so that all it takes is in memory
        _stay_in_memory()
        heir = Heir(_inherit)
        _write(1, {"ready": 1, "by": type(xen).__name__.lower()})
        reason = serve(agent, heir=heir)
    except Stopped as stopped:
        reason = str(stopped)
    except OSError as error:
        reason = f"the controller does not listen ({error})"
    finally:
        for number in (signal.SIGHUP, signal.SIGTERM, signal.SIGINT):
            signal.signal(number, signal.SIG_IGN)
        if agent.lease_ends_s is None:
            log(f"{reason}; nothing to undo")
        else:
            set_all(agent.make_safe, agent.safe_kib, lambda text: log(f"{reason}; safe targets: {text}"))
        if heir is not None:
            heir.note(None, {})
        agent.brake.take_off()
        try:
            agent.tracer.close()
        except OSError as error:
            log(f"the trace stays behind: {error}")
    sys.exit(UNLED if reason == LEASE_OUT else 0)


if __name__ == "__main__":
    main()
