"""Prints for a playbook what its tasks cannot: `python -m harness.heartbeat SOCKET`, on the playbook's standard output.

Lines of progress arrive as datagrams on SOCKET. On standard input the callback plugin tells which task runs; when
nothing was printed for a while, that is printed with the seconds it has lasted. The end of the input is the end.
"""

from __future__ import annotations

import os
import signal
import socket
import sys
import time
from pathlib import Path

from harness.progress import EVERY_S, LONGEST_LINE
from harness.progress.owner import wait_readable
from harness.progress.plain import one_line

PATIENCE_S = EVERY_S + 1.5  # what speaks for itself comes first


def main(path: str) -> None:
    """Print until nobody tells any more."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the playbook's Ctrl-C ends our input
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
    listener.bind(path)
    try:
        listen(listener)
    finally:
        Path(path).unlink(missing_ok=True)
        Path(path).parent.rmdir()


def listen(listener: socket.socket) -> None:
    """Print what arrives, and what has not ended."""
    task, since_s, rest = "", time.monotonic(), b""
    spoke_s = since_s
    while True:
        ready = wait_readable([0, listener.fileno()], max(0.1, spoke_s + PATIENCE_S - time.monotonic()))
        if listener.fileno() in ready:
            say(listener.recv(4 * LONGEST_LINE).decode(errors="replace"))
            spoke_s = time.monotonic()
        if 0 in ready:
            chunk = os.read(0, 65536)
            if not chunk:
                return
            *lines, rest = (rest + chunk).split(b"\n")
            if lines:
                said = lines[-1].decode(errors="replace")
                spoke_s = time.monotonic()
                task, since_s = said, since_s if said == task else spoke_s
        if not ready and task:
            spoke_s = time.monotonic()
            say(f"  … {task} ({spoke_s - since_s:.0f} s)")


def say(line: str) -> None:
    """Print one line, whatever is in it."""
    print(one_line(line, LONGEST_LINE), flush=True)


if __name__ == "__main__":
    main(sys.argv[1])
