"""Runs QEMU and ends it with its owner: `python -m harness.lab.keeper FOLDER OWNER-PID QEMU…` (owner 0: nobody)."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
from pathlib import Path

from harness.owner import wait_readable

PATIENCE_S = 10.0


def main(folder: Path, owner: int, command: list[str]) -> int:
    """Return QEMU's exit status. SIGTERM, like the owner's end, ends QEMU first."""
    try:
        watched = [os.pidfd_open(owner)] if owner else []
    except ProcessLookupError:
        return 0  # the owner went before we came
    machine = subprocess.Popen(command, cwd=folder)

    def end() -> None:
        machine.terminate()
        patience = threading.Timer(PATIENCE_S, machine.kill)
        patience.daemon = True
        patience.start()

    signal.signal(signal.SIGTERM, lambda *_: end())
    ended = os.pidfd_open(machine.pid)
    if ended not in wait_readable([ended, *watched]):
        end()
    status = machine.wait()
    if status > 0:
        (folder / "failed").touch()
    return status


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1]), int(sys.argv[2]), sys.argv[3:]))
