"""Says every few seconds what still runs: `python -m harness.heartbeat`, told on standard input, a task a line.

An empty line is silence; the end of the input is the end.
"""

from __future__ import annotations

import os
import signal
import time

from harness.owner import wait_readable
from harness.progress import EVERY_S, open_stream


def main() -> None:
    """Count until nobody tells any more."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the playbook's Ctrl-C ends our input
    stream = open_stream()  # Ansible keeps its own standard output from what it starts
    task, since_s, rest = "", time.monotonic(), b""
    while True:
        if not wait_readable([0], EVERY_S):
            if task:
                print(f"  … {task} ({time.monotonic() - since_s:.0f} s)", file=stream, flush=True)
            continue
        chunk = os.read(0, 65536)
        if not chunk:
            return
        *lines, rest = (rest + chunk).split(b"\n")
        if lines:
            said = lines[-1].decode(errors="replace")
            since_s = since_s if said == task else time.monotonic()
            task = said


if __name__ == "__main__":
    main()
