"""Lets an emulated machine go on only while it has been asked to do something.

Sent to dom0 together with the agent, so it too uses nothing but the standard library and nothing newer than Python 3.9.
QEMU's pvpanic device stops the whole machine at the very instruction that tells it so, until QEMU is told to go on
(docs/specs/pvpanic.rst there; `-action panic=pause`). No time passes inside meanwhile, however long the arbiter takes.
While the machine is to be held, a domain that does nothing but count keeps its processor from sleeping: one that sleeps
would leave the machine's clock to the controller's.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable

DEVICE = "/dev/port"
PORT, PANICKED = 0x505, b"\x01"
NOTHING_THERE = 0xFF
"""What an empty port says."""
LONGEST_S = 1.0

Run = Callable[[int, bool], None]
"""Lets the domain of a number run, or pauses it."""


class BrakeError(Exception):
    """The machine cannot be held; the message says why."""


class Brake:
    """Off until `put_on`; then every `hold` stops the machine."""

    def __init__(self, run: Run, device: str = DEVICE) -> None:
        self._run, self._device = run, device
        self._port, self._after_s = -1, 0.0
        self._idle: int | None = None

    def put_on(self, after_s: float, idle: int | None) -> None:
        """Hold from now on, each time after so many seconds, in which what was said last leaves the machine.

        Raises:
            BrakeError: the machine has no such device.

        """
        self.take_off()
        try:
            self._port = os.open(self._device, os.O_RDWR)
            can = os.pread(self._port, 1, PORT)[0]
        except (OSError, IndexError) as error:
            self.take_off()
            raise BrakeError(f"this machine cannot be held: {error}") from error
        if can == NOTHING_THERE or not can & PANICKED[0]:
            self.take_off()
            raise BrakeError("this machine cannot be held: it has no pvpanic device")
        self._after_s = after_s
        if idle is not None:
            self._run(idle, True)
            self._idle = idle

    def hold(self) -> None:
        """Stop the machine, if that is wanted; returns when it goes on."""
        if self._port >= 0:
            time.sleep(self._after_s)
            os.pwrite(self._port, PANICKED, PORT)

    def take_off(self) -> None:
        """Hold no longer."""
        port, idle, self._port, self._idle = self._port, self._idle, -1, None
        if port >= 0:
            os.close(port)
        if idle is not None:
            self._run(idle, False)
