"""Whose time it is: the controller's, or that of a machine that says so itself. One place decides: the site."""

from __future__ import annotations

import time
from collections.abc import Callable

from harness.ports import Clock

LOOK_S = 0.25
"""How often is looked whether what is waited for has come."""


class SystemClock:
    """The controller's time, monotonic."""

    def now_s(self) -> float:
        """Seconds since some fixed moment."""
        return time.monotonic()

    def sleep_until(self, t_s: float) -> None:
        """Return at `t_s`, or at once when it has passed."""
        time.sleep(max(0.0, t_s - time.monotonic()))


def wait_for(clock: Clock, come: Callable[[], object], limit_s: float) -> bool:
    """Whether it has come within so many seconds of the clock's time; it is looked for every now and then."""
    end_s = clock.now_s() + limit_s
    while not come():
        now_s = clock.now_s()
        if now_s >= end_s:
            return False
        clock.sleep_until(min(end_s, now_s + LOOK_S))
    return True
