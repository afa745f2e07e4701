"""Runs QEMU and ends it with its owner: `python -m harness.lab.keeper FOLDER OWNER-PID QEMU…` (owner 0: nobody)."""

from __future__ import annotations

import fcntl
import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

from harness.lab.held import LOCK
from harness.lab.image import LabError
from harness.lab.qemu import KEEPER_SOCKET, Monitor
from harness.progress.owner import wait_readable

PATIENCE_S = 10.0
LOOK_S = 1.0


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

    threading.Thread(target=_free, args=(folder,), daemon=True).start()
    signal.signal(signal.SIGTERM, lambda *_: end())
    ended = os.pidfd_open(machine.pid)
    if ended not in wait_readable([ended, *watched]):
        end()
    status = machine.wait()
    if status > 0:
        (folder / "failed").touch()
    return status


def _free(folder: Path) -> None:
    """Let a machine go on that stands still although whoever held it is gone, so that dom0's dead-man can act."""
    while True:
        time.sleep(LOOK_S)
        try:
            with (folder / LOCK).open("r+") as lock:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
                (folder / LOCK).unlink()
                monitor = Monitor(folder / KEEPER_SOCKET)
                monitor.execute("cont")
                monitor.close()
        except (OSError, LabError):
            continue  # nobody holds it, somebody does, or QEMU is gone


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1]), int(sys.argv[2]), sys.argv[3:]))
