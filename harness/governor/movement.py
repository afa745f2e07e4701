"""Does a guest follow its targets? The speed of its balloon is learned; a guest that stands still is left alone.

Where it is told to go is what Xen says, whoever told it; what we sent counts only until Xen is seen again. An answer
that was lost or came late, a target that somebody else set, and a new arbiter are then all the same thing.

What Xen counts of a PVH or HVM guest, and what its balloon counts, differ by a constant: it ends so far off every
target. How far is learned, and it is sent that much less or more. A guest that rests near a target for another reason
is found out at the next one: it does not move.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import NotRequired, TypedDict

NOTICEABLE_KIB = 256.0
"""Less than this is no movement: page tables and caches of the hypervisor come and go in such amounts."""
LEAST_PATIENCE_S = 5.0
PATIENCE_STEPS = 4
"""A guest may stand still for as long as it took for this many noticeable steps before."""
MOST_OFFSET_KIB = 16 * 1024.0
"""A guest that rests farther from its target does not follow it. 64 KiB were measured of PVH guests; of an HVM guest it
can be the memory of its video card, 16 MiB for the standard one (xl.cfg(5), `videoram`).
"""
LONGEST_REST_S = 300.0
MOST_DOUBLINGS = 6
"""More would be longer than the longest rest, whatever the patience."""


class Trust(TypedDict):
    """What is known of how a guest follows, as plain data that outlives the arbiter."""

    strikes: int
    """How often in a row it stood still for too long."""
    speed_kib_s: float | None
    """Of its balloon; None: not seen yet."""
    rest_s: float
    """How much longer it is left alone."""
    debt_kib: NotRequired[float]
    """What it had before it was lent something in an emergency, where it has not paid that back (`Health`)."""


@dataclass(slots=True)
class Movement:
    """One guest's way to its target, as Xen sees it; the guest is not asked."""

    target_kib: float = math.nan
    """The target that stands; NaN when there is none. Where Xen does not tell, the last that was sent."""
    held_kib: float = math.nan
    """Where Xen lets it go by itself: its target, but not above its limit; NaN: Xen does not say."""
    arrived: bool = False
    offset_kib: float = 0.0
    """How far above its target it ends."""
    unproven: bool = False
    """It has not moved since the offset was learned."""
    direction: float = 0.0
    furthest_kib: float = math.nan
    since_s: float = math.nan
    owed_s: float = 0.0
    """How long it had stood still, told to give, when it was called back."""
    owed_at_kib: float = math.nan
    speed_kib_s: float = math.nan
    strikes: int = 0
    rests_until_s: float = -math.inf
    capped_kib: float = math.nan
    """The most that Xen lets it have while it rests; NaN: no more is said than its target says."""

    @classmethod
    def trusted(cls, trust: Trust | None, now_s: float) -> Movement:
        """A guest of which this much was known before; None: nothing."""
        if trust is None:
            return cls()
        speed = math.nan if trust["speed_kib_s"] is None else trust["speed_kib_s"]
        rests_until_s = now_s + trust["rest_s"] if trust["rest_s"] > 0 else -math.inf
        return cls(speed_kib_s=speed, strikes=trust["strikes"], rests_until_s=rests_until_s)

    def trust(self, now_s: float) -> Trust:
        """What should be remembered of it."""
        speed = None if math.isnan(self.speed_kib_s) else self.speed_kib_s
        return Trust(strikes=self.strikes, speed_kib_s=speed, rest_s=max(0.0, self.rests_until_s - now_s))

    @property
    def patience_s(self) -> float:
        """How long it may stand still: what its own speed says, at least 5 s."""
        learned = PATIENCE_STEPS * NOTICEABLE_KIB / self.speed_kib_s if self.speed_kib_s > 0 else 0.0
        return max(LEAST_PATIENCE_S, learned)

    def heading_kib(self, current_kib: float) -> float:
        """Where it is going or has arrived; where it is when it was sent nowhere."""
        return current_kib if math.isnan(self.target_kib) else self.target_kib + self.offset_kib

    def promised_kib(self, current_kib: float) -> float:
        """The most that it has or can come to have without another word."""
        up_kib = max(self.offset_kib, 0.0)
        return max(current_kib, self.target_kib + up_kib, self.held_kib + up_kib)  # NaN is never the larger

    def hear(self, seen_s: float, current_kib: float, target_kib: float, limit_kib: float, arrived_kib: float) -> None:
        """Xen says this of its target and limit; NaN for what it does not say. What is news was somebody else's."""
        self.held_kib = target_kib if math.isnan(limit_kib) else min(target_kib, max(limit_kib, current_kib))
        if math.isnan(target_kib):
            return
        if not math.isnan(limit_kib):
            self.capped_kib = limit_kib if limit_kib <= target_kib else math.nan
        if not abs(self.held_kib - self.target_kib) < 1:
            self.aim(seen_s, current_kib, self.held_kib)
            self.arrived = abs(self.held_kib + self.offset_kib - current_kib) < arrived_kib

    def reach_kib(self, current_kib: float, least_kib: float, most_kib: float) -> tuple[float, float]:
        """Where it can end, if it is sent nothing outside these bounds; it need not grow only to be inside."""
        least = min(least_kib + max(self.offset_kib, 0.0), max(current_kib, least_kib))
        return least, max(most_kib + min(self.offset_kib, 0.0), least)

    def aim(self, now_s: float, current_kib: float, target_kib: float) -> None:
        """A target was sent. A new target in the same direction does not restart the watch."""
        direction = math.copysign(1.0, target_kib + self.offset_kib - current_kib)
        if math.isnan(self.target_kib) or self.arrived or direction != self.direction:
            self.direction, self.furthest_kib, self.since_s = direction, current_kib, now_s
            if direction < 0 and self.owed_s > 0:
                if current_kib > self.owed_at_kib - NOTICEABLE_KIB:
                    self.since_s -= self.owed_s
                self.owed_s = 0.0
        self.target_kib, self.arrived = target_kib, False

    def call_back(self, now_s: float, current_kib: float) -> None:
        """It is to give no more for now. If it has not begun to, that is not forgotten, or it could go on like that."""
        if self.direction < 0 and not self.arrived and not math.isnan(self.target_kib):
            self.owed_s, self.owed_at_kib = max(0.0, now_s - self.since_s), self.furthest_kib

    def forget_target(self) -> None:
        """It was sent nowhere after all, and not capped either."""
        self.target_kib = self.capped_kib = math.nan

    def cap(self, current_kib: float) -> bool:
        """Hold it to what it has while it rests. Whether Xen must be told: at first, and when it has become less."""
        if self.capped_kib <= current_kib + NOTICEABLE_KIB:
            return False
        self.capped_kib = current_kib
        return True

    def stand_still(self, now_s: float, current_kib: float) -> None:
        """It cannot move, or nobody sees it: its time begins now. How far it came counts, but not how fast."""
        if (current_kib - self.furthest_kib) * self.direction >= NOTICEABLE_KIB:
            self.furthest_kib, self.strikes, self.unproven = current_kib, 0, False
        self.since_s = now_s

    def follows(self, now_s: float, current_kib: float, arrived_kib: float, *, at_ease: bool = True) -> bool:
        """Look where it is now. False when it has stood still for too long: it then rests, each time for longer.

        One that is not `at_ease` stands still because it has nothing to give; nothing is learned of its offset then.
        """
        if math.isnan(current_kib):
            return True
        moved_kib = (current_kib - self.furthest_kib) * self.direction
        if moved_kib >= NOTICEABLE_KIB and now_s > self.since_s:
            speed = moved_kib / (now_s - self.since_s)
            self.speed_kib_s = speed if math.isnan(self.speed_kib_s) else (self.speed_kib_s + speed) / 2
            self.furthest_kib, self.since_s, self.strikes, self.unproven = current_kib, now_s, 0, False
        if abs(self.target_kib + self.offset_kib - current_kib) < arrived_kib:
            self.arrived = True
        elif self.arrived:  # it was moved since: a reboot, an administrator; where to, Xen says
            self.target_kib = math.nan
        elif math.isnan(self.target_kib) or now_s < self.rests_until_s:
            return True
        elif now_s - self.since_s >= self.patience_s:
            offset_kib = current_kib - self.target_kib
            if at_ease and not self.unproven and abs(offset_kib) <= MOST_OFFSET_KIB:
                self.offset_kib, self.arrived, self.unproven = offset_kib, True, True
                return True
            self.strikes += 1
            self.rests_until_s = now_s + min(self.patience_s * 2 ** min(self.strikes, MOST_DOUBLINGS), LONGEST_REST_S)
            self.target_kib = math.nan
            return False
        return True
