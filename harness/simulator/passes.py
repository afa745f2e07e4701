"""Passes over a footprint at a fixed pace, as `workloads/mono.py` makes them: whole ones, the next after the last.

A pass begins when it is due and touches the footprint to its end, as that is when it gets there. One that is not done
when the next is due delays it; how far behind it falls is the time lost.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

ALL = 1e-9
"""Touches below which a pass is done."""


@dataclass(slots=True, kw_only=True)
class Cost:
    """What touches take: the processor's part, and a fault for each that misses, until nothing is left to be missed."""

    touch_s: float
    missing: float = 0.0
    """Share of touches that fault."""
    fault_s: float = 0.0
    most_faults: float = 0.0
    faults: float = 0.0

    def afford(self, time_s: float) -> float:
        """Touches that are done in a time."""
        dear_s = self.touch_s + self.missing * self.fault_s
        dear = self._left()
        if time_s <= dear * dear_s:
            return time_s / dear_s
        return dear + (time_s - dear * dear_s) / self.touch_s

    def pay(self, touches: float) -> float:
        """Do so many touches; returns the time that they take."""
        faults = min(touches, self._left()) * self.missing
        self.faults += faults
        return touches * self.touch_s + faults * self.fault_s

    def _left(self) -> float:
        """Touches until nothing is left to be missed."""
        return (self.most_faults - self.faults) / self.missing if self.missing > 0 else 0.0


@dataclass(slots=True, kw_only=True)
class Passes:
    """When the next pass is due, and how much of one that has begun is left, in touches of a page."""

    interval_s: float
    due_s: float | None = None
    """None: the first begins with the work."""
    left: float = 0.0
    lost_s: float = 0.0
    """Time by which passes ended, or are, behind the moment when the next was due."""

    def asks_s(self, from_s: float, to_s: float) -> float | None:
        """Of when a footprint is asked for in a step, since it changes in passes only. None: no pass is due."""
        if self.left > 0:
            return to_s
        due_s = from_s if self.due_s is None else max(from_s, self.due_s)
        if due_s >= to_s:
            return None
        return due_s + (math.ceil((to_s - due_s) / self.interval_s) - 1) * self.interval_s

    def follow(self, grown: float) -> None:
        """The footprint has grown by so many pages, or shrunk: a pass that is under way ends with it."""
        if self.left > 0:
            self.left = max(ALL, self.left + grown)

    def run(self, from_s: float, free_s: float, to_s: float, pages: Callable[[float], float], cost: Cost) -> float:
        """Go on from `from_s` to `to_s`, with the processor free from `free_s` on; returns touches.

        `pages(time_s)` is the footprint at a time.
        """
        now_s, touches = free_s, 0.0
        due_s = from_s if self.due_s is None else self.due_s
        while True:
            if self.left <= 0:
                if due_s >= to_s:
                    break
                begin_s = max(due_s, from_s)
                now_s = max(now_s, begin_s)
                self.left = max(ALL, pages(begin_s))
                due_s += self.interval_s
            done = min(self.left, cost.afford(max(0.0, to_s - now_s)))
            now_s += cost.pay(done)
            touches += done
            self.left -= done
            if self.left > ALL:
                self.lost_s += max(0.0, to_s - max(due_s, from_s))
                break
            self.left = 0.0
            if now_s > due_s:
                self.lost_s += now_s - max(due_s, from_s)
                due_s = now_s
        self.due_s = due_s
        return touches
