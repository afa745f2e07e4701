"""Room for guests that are about to start: how much could be had, and what is kept until they have it.

What is kept counts as promised, so the policy deals out a smaller pool and the governor gives nothing of it away: who
pays is decided as ever. A newcomer shows by what is no longer there, free or with the guests that were known before;
so much less is kept from then on. Where the guests are fenced into a part of Xen's memory, a newcomer that takes from
outside the fence does not show, and what was kept for it stays kept for its time.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from enum import StrEnum

import numpy as np

from harness.governor.rules import Limits, bounds_kib, or_0
from harness.view import HostView

COMING_S = 300.0
"""Room that has not come by then does not come: a balloon that gives 4 MiB a second has given a GiB; ours."""
NOTICEABLE_KIB = 1024.0
"""Xen's free memory goes up and down by less than this without anybody starting; ours."""


class State(StrEnum):
    """How far room for somebody is."""

    COMING = "coming"
    READY = "ready"
    TAKEN = "taken"
    """The newcomer has it."""
    FAILED = "failed"
    """It did not come: somebody else took it, or those who had it could not give it after all."""
    OVER = "over"
    """Its time has passed, or it was given back."""


@dataclass(slots=True, kw_only=True)
class Room:
    """Room that somebody asked for and was promised. Sizes in KiB, moments on the arbiter's clock."""

    number: int
    size_kib: float
    for_s: float
    """How long it is kept, from when it is there."""
    asked_s: float
    before_kib: Mapping[str, float]
    """Guest → what it had then."""
    state: State = State.COMING
    ready_s: float = math.nan
    taken_kib: float = 0.0
    paid_kib: Mapping[str, float] = field(default_factory=dict)
    """Guest → what it has given since; what a guest gained in the meantime is not counted against it."""

    @property
    def kept_kib(self) -> float:
        """What is still to be left alone."""
        return self.size_kib - self.taken_kib if self.state in (State.COMING, State.READY) else 0.0


def could_kib(view: HostView, fresh: HostView, limits: Limits) -> float:
    """What could be had: what Xen has free and promised to nobody, and what each guest has above what it must keep.

    Only the guests of `fresh` give: those that speak and follow their targets.
    """
    spare = or_0(view.free_kib) - or_0(view.reserve_kib) - or_0(view.promised_kib)
    columns = (fresh.current_kib, fresh.mem_total_kib, fresh.available_kib, fresh.least_kib, fresh.max_kib)
    for current, total, available, low, high in zip(*(column.tolist() for column in columns), strict=True):
        least, _ = bounds_kib(current, total, available, low, high, limits)
        spare += max(0.0, or_0(current - least))
    return max(0.0, math.floor(spare))


class Rooms:
    """All room that is kept at one moment. `see` is for every view, before the policy sees what it returns."""

    def __init__(self, told: Callable[[Room], None] = lambda _: None) -> None:
        """`told` hears of every change of state."""
        self._told = told
        self._rooms: list[Room] = []
        self._number = 0
        self._known: frozenset[str] = frozenset()
        self._level_kib = math.nan
        """What there was, free or with the guests known then, less what newcomers have taken of rooms now over."""

    @property
    def kept_kib(self) -> float:
        """All that is to be left alone."""
        return sum(room.kept_kib for room in self._rooms)

    def ask(self, size_kib: float, for_s: float, view: HostView) -> Room:
        """Promise room; whoever asks has made sure that it can be had (`could_kib` of a view that `see` returned)."""
        before = {name: kib for name, kib in _sizes(view).items() if not math.isnan(kib)}
        if not self._rooms:
            self._known = frozenset(before)  # one that is away is a newcomer when it comes back
            self._level_kib = self._present_kib(view)
        self._number += 1
        room = Room(
            number=self._number, size_kib=size_kib, for_s=for_s, asked_s=view.time_s, before_kib=before
        )  # fmt: skip
        self._rooms.append(room)
        self._told(room)
        return room

    def give_back(self, number: int) -> Room | None:
        """Keep it no longer; None when there is none of that number."""
        room = next((room for room in self._rooms if room.number == number), None)
        if room is not None:
            self._end(room, State.OVER)
        return room

    def see(self, view: HostView) -> HostView:
        """Look who has started, what has come and whose time has passed; returns the view without what is kept."""
        if not self._rooms:
            return view
        self._share_out(self._level_kib - self._present_kib(view))
        free_kib = or_0(view.free_kib) - or_0(view.reserve_kib) - or_0(view.promised_kib)
        sizes = _sizes(view)
        for room in list(self._rooms):
            room.paid_kib = {
                name: before - sizes[name]
                for name, before in room.before_kib.items()
                if name in sizes and before - sizes[name] >= NOTICEABLE_KIB
            }
            if room.state is State.COMING and free_kib >= room.kept_kib:
                room.state, room.ready_s = State.READY, view.time_s
                self._told(room)
            elif room.state is State.COMING and view.time_s - room.asked_s >= COMING_S:
                self._end(room, State.FAILED)
            elif room.state is State.READY and room.kept_kib < NOTICEABLE_KIB:
                self._end(room, State.TAKEN)
            elif room.state is State.READY and view.time_s - room.ready_s >= room.for_s:
                self._end(room, State.OVER)
            free_kib -= room.kept_kib
        return replace(view, promised_kib=or_0(view.promised_kib) + self.kept_kib)

    def _present_kib(self, view: HostView) -> float:
        """What is free, or with the guests that were known when the first of these rooms was asked for."""
        return or_0(view.free_kib) + sum(or_0(kib) for name, kib in _sizes(view).items() if name in self._known)

    def _share_out(self, gone_kib: float) -> None:
        """What is gone was taken by those for whom room was ready, in the order in which they asked.

        What is gone beyond that went to somebody who had not asked, and what is more than before was given up by one.
        """
        left_kib = gone_kib if gone_kib >= NOTICEABLE_KIB else 0.0
        for room in self._rooms:
            if room.state is State.READY:
                room.taken_kib = min(left_kib, room.size_kib)
                left_kib -= room.taken_kib
        if left_kib > 0 or gone_kib < 0:
            self._level_kib -= left_kib or gone_kib

    def _end(self, room: Room, state: State) -> None:
        self._rooms.remove(room)
        self._level_kib -= room.taken_kib
        room.state = state
        self._told(room)


def _sizes(view: HostView) -> dict[str, float]:
    return dict(zip(view.names, np.asarray(view.current_kib).tolist(), strict=True))
