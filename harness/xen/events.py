"""Between those who tell what happens, in threads of their own, and the one who writes it down."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable

from harness.progress.plain import LONGEST_CHARS, one_line
from harness.xen.allowance import Allowance

Events = Callable[[str, str, str], None]
"""Called with event, guest and detail, from any thread."""

AT_ONCE, PER_S = 20.0, 1 / 30
"""Events of one kind about one guest: as many as a bad quarter of an hour has, and then two a minute."""
KINDS = 1000
"""Of event and guest that are told apart; what comes beyond shares one measure."""


def no_events(event: str, guest: str, detail: str) -> None:
    """For those who do not want to know."""


class Reporter:
    """Passes events on: of each kind and guest no more than a measure, each one line of text, and never an exception.

    What is left out is counted, and the next one of its kind that is passed on says how many. Where they cannot be
    written, as when standard error is closed or its disk is full, the teller goes on all the same, and that events were
    lost is said as soon as it can be.
    """

    def __init__(self, write: Events, clock: Callable[[], float] = time.monotonic) -> None:
        self._write, self._clock = write, clock
        self._lock = threading.Lock()
        self._allowances: dict[tuple[str, str], Allowance] = {}
        self._left_out: dict[tuple[str, str], int] = {}
        self.lost = 0
        """Events that could not be written since the last that could."""
        self._why = ""

    @classmethod
    def around(cls, write: Events) -> Reporter:
        """A reporter to `write`; itself where it is one."""
        return write if isinstance(write, Reporter) else cls(write)

    def __call__(self, event: str, guest: str, detail: str) -> None:
        """Take in one event."""
        key = (event, guest)
        with self._lock:
            if key not in self._allowances and len(self._allowances) >= KINDS:
                key = ("", "")
            allowance = self._allowances.setdefault(key, Allowance(at_once=AT_ONCE, per_s=PER_S))
            if allowance.left(self._clock()) < 1:
                self._left_out[key] = self._left_out.get(key, 0) + 1
                return
            allowance.spend(1)
            self._pass_on(event, guest, detail, self._left_out.pop(key, 0))

    def close(self) -> None:
        """Say what was left out and has not been said."""
        with self._lock:
            for (event, guest), more in self._left_out.items():
                self._pass_on(event, guest, "at the end", more)
            self._left_out.clear()

    def _pass_on(self, event: str, guest: str, detail: str, more: int) -> None:
        text = one_line(detail) + (f" ({more} more were left out)" if more else "")
        try:
            if self.lost:
                self._write("events_lost", "", f"{self.lost} events could not be written: {self._why}")
                self.lost = 0
            self._write(event, one_line(guest), text)
        except (OSError, ValueError) as error:  # ValueError: of a file that is closed
            self.lost += 1
            self._why = one_line(str(error), LONGEST_CHARS // 2)
