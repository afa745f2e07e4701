"""dom0's clock, where that is not the controller's: in a lab whose time is instructions."""

from __future__ import annotations

import time
from typing import Protocol

STEP_S = 0.25
"""While the machine is held between requests it is let go on for so long at a time; what arrives meanwhile counts as
arrived at the end of it."""
PIECE_S = 1.0
"""The same where it goes on by itself."""
PAUSE_S = 0.2
"""Of the controller's time, while dom0 cannot be asked."""


class Teller(Protocol):
    """Who can answer at a moment of its own clock."""

    def until(self, moment_s: float) -> None:
        """Return at that moment. Raises ConnectionError when it cannot be asked."""
        ...


class Dom0Clock:
    """Knows the time from dom0's answers, each of which says when it was given.

    Between two requests a machine that is held stands still, and so does this clock. One that goes on by itself is
    taken to go as the controller's does, until its next answer corrects that. 0 until the first answer.
    """

    def __init__(self) -> None:
        self._host: Teller | None = None
        self._stepping = False
        self._at_s = self._real_s = self._said_s = 0.0

    def follow(self, host: Teller, told_s: float) -> None:
        """Ask this one from now on; it has just said that it is `told_s`."""
        self._host = host
        self.told(told_s)

    def told(self, moment_s: float, *, stepping: bool = False) -> None:
        """An answer was given at that moment; `stepping`: and the machine stands still now."""
        self._at_s, self._real_s, self._stepping = moment_s, time.monotonic(), stepping

    def now_s(self) -> float:
        """Seconds since dom0 started; never less than it was."""
        if self._host is None:
            return 0.0
        now_s = self._at_s if self._stepping else self._at_s + time.monotonic() - self._real_s
        self._said_s = max(self._said_s, now_s)
        return self._said_s

    def sleep_until(self, t_s: float) -> None:
        """Return at `t_s`, or at once when it has passed."""
        while (now_s := self.now_s()) < t_s:
            try:
                if self._host is None:
                    raise ConnectionError("nobody to ask yet")
                if self._stepping:
                    self._at_s = min(t_s, now_s + STEP_S)  # what is heard while it goes on
                    self._host.until(self._at_s)
                else:
                    self._host.until(min(t_s, now_s + PIECE_S))
            except ConnectionError:
                self._stepping = False
                time.sleep(PAUSE_S)
