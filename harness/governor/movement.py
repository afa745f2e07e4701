"""Does a guest follow its targets? The speed of its balloon is learned; a guest that stands still is left alone."""

from __future__ import annotations

import math
from dataclasses import dataclass

NOTICEABLE_KIB = 256.0
"""Less than this is no movement: page tables and caches of the hypervisor come and go in such amounts."""
LEAST_PATIENCE_S = 5.0
PATIENCE_STEPS = 4
"""A guest may stand still for as long as it took for this many noticeable steps before."""
LONGEST_REST_S = 300.0


@dataclass(slots=True)
class Movement:
    """One guest's way to its target, as Xen sees it; the guest is not asked."""

    target_kib: float = math.nan
    """The last target that was sent and still stands; NaN when there is none."""
    arrived: bool = False
    direction: float = 0.0
    furthest_kib: float = math.nan
    since_s: float = math.nan
    speed_kib_s: float = math.nan
    strikes: int = 0
    rests_until_s: float = -math.inf

    @property
    def patience_s(self) -> float:
        """How long it may stand still: what its own speed says, at least 5 s."""
        learned = PATIENCE_STEPS * NOTICEABLE_KIB / self.speed_kib_s if self.speed_kib_s > 0 else 0.0
        return max(LEAST_PATIENCE_S, learned)

    def heading_kib(self, current_kib: float) -> float:
        """Where it is going or has arrived; where it is when it was sent nowhere."""
        return current_kib if math.isnan(self.target_kib) else self.target_kib

    def aim(self, now_s: float, current_kib: float, target_kib: float) -> None:
        """A target was sent. A new target in the same direction does not restart the watch."""
        direction = math.copysign(1.0, target_kib - current_kib)
        if math.isnan(self.target_kib) or self.arrived or direction != self.direction:
            self.direction, self.furthest_kib, self.since_s = direction, current_kib, now_s
        self.target_kib, self.arrived = target_kib, False

    def forget_target(self) -> None:
        """It was sent nowhere after all."""
        self.target_kib = math.nan

    def follows(self, now_s: float, current_kib: float, arrived_kib: float) -> bool:
        """Look where it is now. False when it has stood still for too long: it then rests, each time for longer."""
        if math.isnan(current_kib):
            return True
        moved_kib = (current_kib - self.furthest_kib) * self.direction
        if moved_kib >= NOTICEABLE_KIB and now_s > self.since_s:
            speed = moved_kib / (now_s - self.since_s)
            self.speed_kib_s = speed if math.isnan(self.speed_kib_s) else (self.speed_kib_s + speed) / 2
            self.furthest_kib, self.since_s, self.strikes = current_kib, now_s, 0
        if abs(self.target_kib - current_kib) < arrived_kib:
            self.arrived = True
        elif self.arrived:  # somebody else moved it since: a reboot, an administrator
            self.target_kib = math.nan
        elif not math.isnan(self.target_kib) and now_s - self.since_s >= self.patience_s:
            self.strikes += 1
            self.rests_until_s = now_s + min(self.patience_s * 2**self.strikes, LONGEST_REST_S)
            self.target_kib = math.nan
            return False
        return True
