"""What the arbiter could see, and when: nobody is blamed for a time in which nobody looked.

The arbiter may have been stopped, or dom0, through which every sample comes and which serves every balloon. Then all
guests stand still and are silent at once, and neither says anything about any of them.
"""

from __future__ import annotations

import math
from dataclasses import dataclass


@dataclass(slots=True)
class Sight:
    """The moments at which Xen was seen, and the last time in which it was not."""

    now_s: float = math.nan
    seen_s: float = math.nan
    """When Xen said what is known now."""
    anew: bool = True
    """Xen was seen since the look before. If not, it may have done since what it was sent, or what others told it."""
    blind: bool = False
    """Until now nothing was seen for too long."""
    blind_from_s: float = math.nan
    blind_until_s: float = math.nan

    def look(self, now_s: float, xen_age_s: float, blind_after_s: float) -> None:
        """There is a new view, with what Xen said so long before."""
        self.now_s = now_s
        self.blind = now_s - self.seen_s > blind_after_s
        if self.blind:
            if not self.seen_s <= self.blind_until_s:  # else the same blindness goes on
                self.blind_from_s = self.seen_s
            self.blind_until_s = now_s
        seen_s = now_s - xen_age_s
        self.anew = not (xen_age_s > 0 and seen_s <= self.seen_s)
        if self.anew:
            self.seen_s = seen_s

    def silence_s(self, age_s: float, period_s: float) -> float:
        """For how long a guest can be said to be silent whose last sample is so old.

        Where that came when we last saw, or within a period after, which is before the next look could have been, it
        is only known to be silent since we see again. One that came later shows that somebody listened.
        """
        if self.now_s - age_s < self.blind_from_s + period_s:
            return min(age_s, self.now_s - self.blind_until_s)
        return age_s
