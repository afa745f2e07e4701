"""What the service answers at its door: room for a newcomer, and how everything stands."""

from __future__ import annotations

import copy
import math
from collections import OrderedDict
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from harness.balancer import Tick
from harness.governor import Governor
from harness.governor.rules import or_0
from harness.policies import Policy
from harness.service.door import Answer
from harness.service.fallback import Hold
from harness.service.room import Room, Rooms, could_kib
from harness.view import LARGEST, HostView

LONGEST_S = 24 * 3600.0
"""Room is for guests that are about to start."""
REMEMBERED = 256
"""Rooms that are over and can still be asked about."""


class Desk:
    """Answers from the newest tick, and from those who made it: what if."""

    def __init__(self, rooms: Rooms) -> None:
        self._rooms = rooms
        self._tick: Tick | None = None
        self._policy: Policy | None = None
        self._governor = Governor()
        self._kept_kib = 0.0
        """What of the newest tick's promises was kept for newcomers."""
        self._all: OrderedDict[int, Room] = OrderedDict()

    def note(self, tick: Tick, policy: Policy, governor: Governor) -> None:
        """A tick has ended."""
        self._tick, self._policy, self._governor = tick, policy, governor
        self._kept_kib = self._rooms.kept_kib

    def answer(self, request: Mapping[str, Any]) -> Answer:
        """Answer one request; what cannot be answered says why under `error`."""
        tick = self._tick
        if tick is None:
            return {"error": "the service has not seen its guests yet; ask again in a moment"}
        number = request["room"] if isinstance(request.get("room"), int) else 0
        match request.get("op"):
            case "room":
                # Of two who ask between two ticks, the second must not be promised what the first was.
                since_kib = self._rooms.kept_kib - self._kept_kib
                view = replace(tick.view, promised_kib=or_0(tick.view.promised_kib) + max(0.0, since_kib))
                return self._room(view, tick.names, request)
            case "look":
                room = self._all.get(number)
                return {"error": "there is no such room"} if room is None else told(room, tick.view)
            case "give-back":
                room = self._rooms.give_back(number)
                return {"error": "there is no such room, or it is over"} if room is None else told(room, tick.view)
            case "show":
                return shown(tick, self._rooms)
        return {"error": "this service knows room, look, give-back and show"}

    def _room(self, view: HostView, balanced: Sequence[str], request: Mapping[str, Any]) -> Answer:
        size_kib, for_s = _figure(request, "size_kib", LARGEST), _figure(request, "for_s", LONGEST_S)
        if size_kib is None or for_s is None:
            return {"error": f"size_kib and for_s must be numbers above 0, for_s at most {LONGEST_S:.0f}"}
        fresh = view.select(np.isin(view.names, balanced))
        could = could_kib(view, fresh, self._governor.limits)
        if size_kib > could:
            return {"granted": False, "could_kib": could}
        payers = self._payers(view, size_kib)
        answer = {"granted": True, "could_kib": could, "payers_kib": payers, "takes_s": self._takes_s(payers)}
        if request.get("dry_run"):
            return answer
        room = self._rooms.ask(size_kib, for_s, view)
        self._all[room.number] = room
        while len(self._all) > REMEMBERED:
            self._all.popitem(last=False)
        return answer | {"room": room.number}

    def _payers(self, view: HostView, size_kib: float) -> dict[str, float] | None:
        """Who would be sent down for it, and by how much in all, as policy and governor will see it in the next tick.

        In this one they have sent already what they send: of a view as old as the last, nothing follows.
        """
        policy, governor = copy.deepcopy(self._policy), copy.deepcopy(self._governor)
        governor.limits = replace(governor.limits, take_kib_s=math.inf)
        promised_kib = or_0(view.promised_kib) + size_kib
        tighter = replace(view, promised_kib=promised_kib, time_s=view.time_s + governor.limits.period_s)
        try:
            plan = governor.plan(tighter, (policy or Hold()).decide(governor.fresh(tighter)))
        except Exception:  # noqa: BLE001 - a policy that raises ends nothing: who pays is then not known before
            return None
        down = (step for step in plan.steps if step.target_kib < step.from_kib)
        return {step.guest: float(step.from_kib - step.target_kib) for step in down}

    def _takes_s(self, payers_kib: Mapping[str, float] | None) -> float | None:
        """How long the slowest of them takes, as far as the speeds of their balloons are known; None: not known."""
        trust, most_kib_s = self._governor.trust(), self._governor.limits.take_kib_s
        if payers_kib is None:
            return None
        takes_s = 0.0
        for name, kib in payers_kib.items():
            speed = trust[name]["speed_kib_s"] if name in trust else None
            if not speed:
                return None
            takes_s = max(takes_s, kib / min(speed, most_kib_s))
        return takes_s


def told(room: Room, view: HostView) -> Answer:
    """Room as its asker hears of it."""
    left_s = room.ready_s + room.for_s - view.time_s
    return {
        "room": room.number, "state": room.state.value, "size_kib": room.size_kib, "taken_kib": room.taken_kib,
        "paid_kib": dict(room.paid_kib), "left_s": None if math.isnan(left_s) else max(0.0, left_s),
    }  # fmt: skip


def shown(tick: Tick, rooms: Rooms) -> Answer:
    """The newest tick for a person: who has what, who pays, who waits, and why."""
    view, plan = tick.view, tick.plan
    sent = {step.guest: step for step in plan.steps}
    reasons = {**dict(zip(tick.names, tick.allocation.reasons, strict=True)), **plan.held}
    reasons |= {name: step.reason for name, step in sent.items()}
    columns = ("current_kib", "min_kib", "max_kib", "mem_available_kib", "committed_kib", "swap_used_kib", "stall_some")
    guests = [
        {
            "name": name, "balanced": name in tick.names, "reason": reasons.get(name, ""),
            "target_kib": sent[name].target_kib if name in sent else None,
            "failed": tick.outcome.failed.get(name),
            **{column: _known(float(getattr(view, column)[index])) for column in columns},
        }
        for index, name in enumerate(view.names)
    ]  # fmt: skip
    host = {key: _known(getattr(view, key)) for key in ("free_kib", "reserve_kib", "promised_kib", "pool_kib")}
    return {
        "time_s": view.time_s,
        "state": tick.allocation.state,
        "host": host | {"kept_kib": rooms.kept_kib},
        "guests": guests,
    }


def _known(figure: float) -> float | None:
    return None if math.isnan(figure) else figure


def _figure(request: Mapping[str, Any], key: str, most: float) -> float | None:
    """A number above 0 and at most this; None where it is something else."""
    said = request.get(key)
    if isinstance(said, int | float) and not isinstance(said, bool) and 0 < said <= most:
        return float(said)
    return None
