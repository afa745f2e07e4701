"""Runs QEMU and ends it with its owner: `python -m harness.lab.keeper FOLDER OWNER-PID QEMU…` (owner 0: nobody)."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

from harness.owner import wait_readable


def main(folder: Path, owner: int, command: list[str]) -> int:
    """Return QEMU's exit status."""
    failed = folder / "failed"
    failed.unlink(missing_ok=True)
    watched = []
    try:
        watched = [os.pidfd_open(owner)] if owner else []
    except ProcessLookupError:
        return 0  # the owner went before we came
    machine = subprocess.Popen(command, cwd=folder)
    (folder / "pid").write_text(str(machine.pid))
    ended = os.pidfd_open(machine.pid)
    if ended not in wait_readable([ended, *watched]):
        machine.terminate()  # disks that matter are only written by savevm, which has ended or never counts
    status = machine.wait()
    (folder / "state.json").unlink(missing_ok=True)
    if status > 0:
        failed.touch()
    return status


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1]), int(sys.argv[2]), sys.argv[3:]))
