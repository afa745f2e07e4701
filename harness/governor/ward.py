"""One guest while a plan is made for it: what it has, may have and gets, and the words for that."""

from __future__ import annotations

import math
from dataclasses import dataclass

from harness.governor.movement import Movement
from harness.policies.base import mib


@dataclass(slots=True, kw_only=True)
class Ward:
    """A guest in the governor's care for one plan. Sizes are whole KiB; NaN for what is not known."""

    name: str
    movement: Movement
    said: list[str]
    """What happened to its target, in words, in the order in which it happened."""
    part: bool
    """It takes part: the policy decided about it."""
    current: float
    told: float
    """Where Xen has its balloon told to go."""
    limit: float
    """The most that Xen lets it have now."""
    asked: float
    """What the policy wants; what it has if the policy does not say."""
    available: float
    least: float
    most: float
    minimum: float
    pinned: bool
    """What could not be taken from it is more than the minimum that it was promised, and stands for that."""
    need: float
    """What it needs to live, whether or not it may be made to swap: below that nothing is taken for an emergency."""
    band: float
    """The smallest step that is worth its balloon's work."""
    pace: float
    """The most that may be taken from it now."""
    stall: float
    emergency: float
    heading: float = math.nan
    """Where it is going, or where it is."""
    taken: float = math.nan
    """The most that it has or has been promised."""
    stuck: bool = False
    lifted: bool = False
    """It was capped, and takes part again."""
    recalled: float = 0.0
    """What it was promised and has not taken, and is promised no more."""
    starves: bool = False
    wanted: float = math.nan
    paced: float = math.nan
    """What it is to have for now: it is made to give no faster than it may be."""
    moves: bool = False
    """It is to go elsewhere than it is going, far enough to be worth it."""
    gives: bool = False
    """It moves, and needs nothing for that."""
    asks: float = 0.0
    """What it needs of what Xen has free."""
    granted: float = 0.0

    def say(self, text: str, size_kib: float) -> None:
        """Add a text, `{}` standing for a size."""
        self.said.append(text.format(mib(size_kib)))

    @property
    def reason(self) -> str:
        """Everything about this guest."""
        return "; ".join(self.said)

    @property
    def over(self) -> float:
        """What it is sent beyond what it is to have, since it ends below its target. It could take that too."""
        return max(-self.movement.offset_kib, 0.0)

    @property
    def under(self) -> float:
        """What it is sent less than it is to have, since it ends above its target."""
        return max(self.movement.offset_kib, 0.0)

    def settle(self) -> None:
        """What is wanted stands: say what the guest gives or asks for."""
        self.paced = max(self.wanted, self.current - self.pace)
        far = abs(self.wanted - self.heading) >= self.band
        worth = far and abs(self.paced - self.heading) >= min(self.band, self.pace) / 2
        freed = self.lifted and self.wanted < self.current  # on its way, and its next target frees it of its cap
        self.moves = not self.stuck and (worth or freed or self.recalled > 0)
        self.gives = self.moves and self.paced + self.over <= self.taken
        self.asks = self.paced + self.over - self.taken if self.moves and not self.gives else 0.0

    def recall(self) -> None:
        """Xen has less than was promised: take back what it has not taken yet.

        What it is still to have beyond that it asks for anew, if it takes part. One that only rests below its target
        would give more if it were sent what it has.
        """
        back = self.taken - self.current
        if back <= 0 or self.stuck or (self.over and self.heading - self.current < self.band):
            return
        self.taken, self.recalled = self.current, back
        if not self.part:
            self.wanted, self.starves = self.current, False
        self.settle()

    @property
    def sent(self) -> bool:
        """It is sent something whatever is free."""
        return self.gives or self.still or self.recalled > 0

    @property
    def still(self) -> bool:
        """Its target is what it has: it is left alone, or its cap is lifted and there is nothing else to tell it."""
        return self.stuck or (self.lifted and not self.gives and not self.granted)

    @property
    def target(self) -> float:
        """What it is sent, if anything, so that it ends where it should."""
        if self.stuck:
            return self.current
        if self.still:
            return max(self.current - self.under, 1.0)
        if self.gives:  # not below its minimum, in case it does not end above its target this time
            return max(self.paced + self.over - self.under, min(self.minimum, self.paced))
        return self.taken + self.granted - self.under

    def urgency(self) -> tuple[bool, float, float]:
        """Order among those that ask: the starving, the stalled, those that ask for most of what they have."""
        return not self.starves, -self.stall, -self.asks / max(self.current, 1.0)

    def conclude(self) -> None:
        """Say why it does not get all that it wants, once what is free has been given out."""
        if not self.moves and not self.stuck:
            if abs(self.heading - self.current) >= self.band:
                self.say("on its way to {}", self.heading)
            elif self.wanted != self.current:
                self.say("{} is too small a step", abs(self.wanted - self.current))
        if self.recalled:
            self.say("Xen has no longer free what it was promised: {} taken back", self.recalled)
        if self.moves and self.paced > self.wanted:
            self.say("at most {} are taken from it at a time", self.pace)
        if 0 < self.granted < self.asks:
            self.say("Xen has only {} of it free now", self.granted)
        elif self.asks > 0 and not self.granted:
            self.say("{} must wait: Xen has nothing free above its reserve", self.asks)
        if (self.gives or self.granted) and self.over:
            self.say("it is sent {} more, for it ends below its target", self.over)
        elif (self.gives or self.granted) and self.under:
            self.say("it is sent {} less, for it ends above its target", self.under)
        if self.lifted:
            self.say("tried again: no longer capped at {}", self.current)
