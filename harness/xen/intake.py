"""Lets in what a guest sends: whole lines, few at a time, at a bounded rate. No I/O."""

from __future__ import annotations

from harness.xen.allowance import Allowance
from harness.xen.facts import LONGEST_LINE

BYTES_S = 16384.0
"""What is read of a guest per second in the long run; the sampler sends about 500 bytes a period."""
BURST_BYTES = 65536.0
"""What may come at once: a few minutes of lines that were held up on the way."""
LINES = 2
"""Of the lines that arrive together only the newest are of use: one to show, one to compare it with."""


class Intake:
    """Cuts a stream into lines. It never holds more than a line, and says when to stop reading for a while.

    What is not read waits in the guest: SSH's flow control stops one that floods, and a connection to one that does not
    keep to that ends (wire.py).
    """

    def __init__(self) -> None:
        self.dropped_lines = 0
        """Older lines of a burst, and lines without an end; not those that turn out to be no samples."""
        self._rest = b""
        self._overlong = False
        self._allowance = Allowance(at_once=BURST_BYTES, per_s=BYTES_S)

    def pause_s(self, now_s: float) -> float:
        """How long to wait before the next read; 0 for a guest that keeps to its measure."""
        return self._allowance.debt_s(now_s)

    def take(self, chunk: bytes) -> list[bytes]:
        """The newest whole lines, now that `chunk` has arrived."""
        self._allowance.spend(len(chunk))
        *lines, self._rest = (self._rest + chunk).split(b"\n")
        if lines and self._overlong:
            del lines[0]
            self._overlong = False
        if len(self._rest) > LONGEST_LINE:
            self.dropped_lines += not self._overlong
            self._rest, self._overlong = b"", True
        self.dropped_lines += max(0, len(lines) - LINES)
        return lines[-LINES:]
