"""A host that is away: a trial that could not even reach it is not done, and is tried again for some minutes."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeVar

T = TypeVar("T")

LONGEST_S = 600.0
"""A server that boots needs three to five minutes, a switch two; twice that. After it somebody has to look."""
FIRST_PAUSE_S, LONGEST_PAUSE_S = 5.0, 60.0
"""Between two attempts; each pause is twice the one before. A lease that runs out takes 15 s, a cable a minute."""


class HostAwayError(ConnectionError):
    """dom0 cannot be reached, or another controller is at work there: no trial can say anything of a policy now."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Patience:
    """How long a host that is away is waited for, by the controller's clock."""

    longest_s: float = LONGEST_S
    first_pause_s: float = FIRST_PAUSE_S
    longest_pause_s: float = LONGEST_PAUSE_S
    now_s: Callable[[], float] = time.monotonic
    sleep: Callable[[float], None] = time.sleep

    def keep_trying(self, attempt: Callable[[], T], say: Callable[[str], None]) -> T:
        """Return what an attempt returns that reaches the host.

        Raises:
            HostAwayError: none did for as long as that.

        """
        pause_s, until_s = self.first_pause_s, None
        while True:
            try:
                return attempt()
            except HostAwayError as error:
                until_s = until_s or self.now_s() + self.longest_s
                left_s = until_s - self.now_s()
                if left_s <= 0:
                    raise HostAwayError(f"{error} It was tried again for {self.longest_s / 60:.0f} min.") from error
                pause_s = min(pause_s, left_s)
                say(f"not done, tried again in {pause_s:.0f} s, for {left_s / 60:.1f} min more: {error}")
                self.sleep(pause_s)
                pause_s = min(2 * pause_s, self.longest_pause_s)
