"""The other end of the agent's brake: QEMU, which lets a machine go on that has stopped itself."""

from __future__ import annotations

import fcntl
import time
from pathlib import Path

from harness.lab.image import LabError
from harness.lab.qemu import Monitor

LOCK = "held"
"""A file in the lab's folder, locked by who lets the machine go on; when he is gone the keeper does."""
SETTLE_S = 0.003
"""What was sent to a machine that stands still has then reached QEMU, and is there when it goes on."""
STOP_S = 60.0
"""Of the controller's time: a machine that has answered and does not stand still by then never will."""


class Held:
    """Lets the machine of a lab go on, and waits until it stands still again."""

    def __init__(self, folder: Path) -> None:
        """Take hold of it.

        Raises:
            LabError: QEMU does not answer, or somebody else has hold of it.

        """
        self._lock = (folder / LOCK).open("w")
        try:
            fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            self._monitor = Monitor(folder / "qmp.sock")
            self._gone_on = False
            self.nudges = 0
            """How often the machine was held before its answer had left it; it then went on by itself for a while."""
        except OSError as error:
            self._lock.close()
            raise LabError(f"the lab cannot be held: {error}; is somebody else at work in it?") from error

    def release(self) -> None:
        """Let it go on. When it does so already, nothing happens."""
        time.sleep(SETTLE_S)
        self._gone_on = False
        self._monitor.execute("cont")

    def nudge(self) -> None:
        """Called while an answer is waited for: one that has not left a machine that stands still never would."""
        if self._monitor.await_event("STOP", 0):
            self.nudges += 1
            self._gone_on = True
            self._monitor.execute("cont")

    def wait(self) -> bool:
        """Whether it stands still again, after the answer; it does not where it had to be nudged."""
        return not self._gone_on and self._monitor.await_event("STOP", STOP_S)

    def close(self) -> None:
        """Let it go on for good."""
        self._monitor.execute("cont")
        self._monitor.close()
        self._lock.close()
