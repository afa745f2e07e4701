"""From an allocation to a plan that is safe to carry out now (docs/design.md, "Governor", rules 1 to 6).

The rules are about single guests, so they are written for one, in plain numbers; only the pool and what Xen has free
are shared. A tick of few guests is then a matter of microseconds, and one of thousands costs what its guests cost.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

import numpy as np

from harness.governor.health import Health
from harness.governor.movement import Movement, Trust
from harness.governor.pool import divide
from harness.governor.rules import Limits, bounds_kib, dead_band_kib, need_kib, or_0
from harness.governor.sight import Sight
from harness.governor.ward import Ward
from harness.policies.base import Allocation
from harness.view import HostView


class Step(NamedTuple):
    """One target to set."""

    guest: str
    from_kib: int
    target_kib: int
    asked_kib: int
    """What the policy wanted."""
    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """What to send now, those that give memory first, and why nothing is sent to the others."""

    steps: tuple[Step, ...]
    held: Mapping[str, str]
    caps_kib: Mapping[str, int] = field(default_factory=dict)
    """The most that guests may have that do not follow, whatever their targets; the next target of one lifts its cap.
    To be set with the targets.
    """


class Governor:
    """Turns allocations into plans from what Xen says now; remembers only how guests follow and how they last were.

    `trust` is what another governor knew of how guests follow their targets, and of what they owe (`Governor.trust`); a
    trial has none.
    """

    def __init__(self, limits: Limits | None = None, trust: Mapping[str, Trust] | None = None) -> None:
        self.limits = limits or Limits()
        self._trusted = dict(trust or {})
        self.reset()

    def reset(self) -> None:
        """Forget all guests but for the trust that was given, at the start of a trial."""
        self._movements: dict[str, Movement] = {}
        self._healths = {
            name: Health(debt_kib=trust["debt_kib"]) for name, trust in self._trusted.items() if "debt_kib" in trust
        }
        self._sight = Sight()
        self._judged: tuple[HostView | None, list[str | None]] = (None, [])

    def trust(self) -> dict[str, Trust]:
        """What is known of how each guest follows its targets, as plain data for the next governor."""
        known = self._trusted | {name: movement.trust(self._sight.now_s) for name, movement in self._movements.items()}
        for name in self._movements.keys() & self._healths.keys():
            if not math.isnan(owed_kib := self._healths[name].owed_kib):
                known[name]["debt_kib"] = owed_kib
        return {name: trust for name, trust in known.items() if any(trust.values())}

    def fresh(self, view: HostView) -> HostView:
        """The guests that take part: sampled within three periods, and following their targets."""
        causes = self._left_out(view)
        if not any(causes):
            return view
        return view.select(np.array([cause is None for cause in causes], dtype=bool))

    def plan(self, view: HostView, allocation: Allocation) -> Plan:
        """Make an allocation for `fresh(view)` safe; `view` has all guests. Every guest gets a step or a reason."""
        causes = self._left_out(view)
        if causes.count(None) != len(allocation.targets_kib):
            raise ValueError("The allocation is not for this view: decide on what Governor.fresh(view) returns.")
        wards, held = [], {}
        for ward in self._wards(view, allocation, causes):
            if math.isnan(ward.current):
                held[ward.name] = ward.reason
                continue
            self._watch(ward)
            self._bound(ward)
            wards.append(ward)
        divide(self.fresh(view).pool_kib, wards)
        self._settle_debts(wards)
        return self._carry_out(view, wards, held)

    def failed(self, guests: Iterable[str]) -> None:
        """Take back the targets of a plan that could not be set: nobody is to be blamed for not following them.

        Whether they were set after all, by an answer that came late, the next look at Xen tells; until then they count.
        """
        for guest in guests:
            self._movement(guest).forget_target()

    def _left_out(self, view: HostView) -> list[str | None]:
        """Rules 4 and 5: per guest, why it takes no part; None for those that do."""
        if view is self._judged[0]:
            return self._judged[1]
        self._sight.look(view.time_s, or_0(view.xen_age_s), self.limits.blind_s)
        told = (column.tolist() for column in (view.current_kib, view.age_s, view.mem_total_kib, view.paused))
        causes = [self._cause(name, *figures) for name, *figures in zip(view.names, *told, strict=True)]
        self._judged = view, causes
        return causes

    def _cause(self, name: str, current_kib: float, age_s: float, total_kib: float, paused: float) -> str | None:
        """Why a guest takes no part; None if it does."""
        if math.isnan(current_kib):
            return "what it has is not known"
        if paused > 0:
            return "paused"
        if age_s > self.limits.stale_s:
            return f"no sample for {age_s:.0f} s"
        if math.isnan(age_s) and math.isnan(total_kib):
            return "no sample yet"
        rest_s = self._movement(name).rests_until_s - self._sight.now_s
        return f"it did not follow its target; tried again in {rest_s:.0f} s" if rest_s > 0 else None

    def _wards(self, view: HostView, allocation: Allocation, causes: Iterable[str | None]) -> Iterator[Ward]:
        """Every guest as the plan begins, in the order of the view."""
        asked, reasons = iter(np.round(allocation.targets_kib).tolist()), iter(allocation.reasons)
        told = (
            column.tolist()
            for column in (
                np.round(view.current_kib), view.target_kib, view.limit_kib, view.mem_total_kib, view.available_kib,
                view.least_kib, view.max_kib, view.paused, view.age_s, view.stall_some, view.swap_in_kib_s,
                view.swap_out_kib_s,
            )
        )  # fmt: skip
        guests = zip(view.names, causes, view.least_kib > view.min_kib, *told, strict=True)
        for (
            name, cause, pinned, current, target, limit, total, available, low, high, paused, age_s, stall, *swap,
        ) in guests:  # fmt: skip
            movement, part = self._movement(name), cause is None
            wish = next(asked) if part else current
            if not (low <= high and current > 0):  # it stays as it is, or is being built; whatever it was told
                target = limit = math.nan
            least, most = bounds_kib(current, total, available, low, high, self.limits)
            if paused > 0 or self._sight.blind:
                movement.stand_still(view.time_s, current)
            yield Ward(
                name=name, movement=movement, part=part, said=[next(reasons) if part else f"left out: {cause}"],
                current=current, told=target, limit=limit, asked=wish if math.isfinite(wish) else current,
                available=available, least=least, most=most, minimum=low, pinned=bool(pinned),
                need=self._need(current, total, available, least),
                band=dead_band_kib(current, self.limits), pace=self.limits.take_kib, stall=min(or_0(stall), 1.0),
                emergency=self._emergency(name, current, paused, age_s, stall, sum(map(or_0, swap))),
            )  # fmt: skip

    def _need(self, current: float, total: float, available: float, least: float) -> float:
        """What a guest needs to live, whether or not it may be made to swap."""
        if self.limits.allow_swap and current > 0:
            return max(least, float(math.ceil(need_kib(current, total, available, self.limits))))
        return least

    def _emergency(
        self, name: str, current: float, paused: float, age_s: float, stall: float, traffic_kib_s: float
    ) -> float:
        """Rule 4: what a guest may have that fell silent while in trouble; NaN for all others."""
        health = self._healths.setdefault(name, Health())
        if paused > 0:
            health.speaks(math.nan, 0.0)  # the silence of a paused guest says nothing about how it is
        elif age_s <= self.limits.stale_s or math.isnan(age_s):
            health.speaks(stall, traffic_kib_s)
        elif self._sight.silence_s(age_s, self.limits.period_s) > self.limits.stale_s:
            emergency = health.emergency_kib(current, traffic_kib_s, self.limits.emergency_share)
            return math.nan if self._movement(name).strikes else emergency
        return math.nan

    def _watch(self, ward: Ward) -> None:
        """Rule 5: a guest that has now stood still for too long is left alone, and capped at what it has."""
        movement, seen_s = ward.movement, self._sight.seen_s
        if self._sight.anew:
            movement.hear(seen_s, ward.current, ward.told, ward.limit, ward.band)
        cannot_give = movement.direction < 0 and ward.available <= self.limits.margin_kib
        ward.stuck = self._sight.anew and not movement.follows(seen_s, ward.current, ward.band, at_ease=not cannot_give)
        ward.heading = movement.heading_kib(ward.current)
        ward.taken = movement.promised_kib(ward.current)
        ward.lifted = ward.part and not ward.stuck and not math.isnan(movement.capped_kib)
        ward.least, ward.most = movement.reach_kib(ward.current, ward.least, ward.most)
        if ward.stuck and cannot_give:
            ward.say("cannot give more, only {} are available to it: left alone and capped", ward.available)
        elif ward.stuck:
            ward.say("does not follow its target: left alone and capped at {}", ward.current)

    def _bound(self, ward: Ward) -> None:
        """Rules 1, 4 and 6: what a guest may want inside its bounds; one in trouble and silent, its emergency."""
        emergency = min(float(math.floor(ward.emergency)), ward.most) if ward.emergency > 0 else math.nan
        if ward.part:
            ward.wanted = min(max(ward.asked, ward.least), ward.most)
            if ward.wanted < ward.asked:
                ward.say("its maximum is {}", ward.wanted)
            elif ward.asked < ward.wanted <= ward.minimum:
                ward.say("its huge pages and zram take {}" if ward.pinned else "its minimum is {}", ward.wanted)
            elif ward.wanted > ward.asked and ward.wanted > ward.minimum and math.isnan(ward.available):
                ward.say("keeps {}, for what it needs to live is not known: it does not say MemAvailable", ward.wanted)
            elif ward.wanted > ward.asked and ward.wanted > ward.minimum:
                ward.say("needs {} to live", ward.wanted)
        elif emergency > ward.current:
            ward.starves, ward.wanted = True, max(emergency, ward.taken)
            ward.say("fell silent while in trouble: may have {}", emergency)
        else:
            ward.wanted = ward.taken

    def _settle_debts(self, wards: Iterable[Ward]) -> None:
        """Rule 4: who was lent something in an emergency has it again only when it has paid that back."""
        for ward in wards:
            if ward.part:
                self._healths[ward.name].repay(ward.current, ward.wanted, ward.band)

    def _carry_out(self, view: HostView, wards: Sequence[Ward], held: dict[str, str]) -> Plan:
        """Rules 2, 3 and 5: shrink first, grow into what is free, nothing small, nothing to those that do not move.

        Where Xen was not seen since the tick before, nothing is sent: what it held then may have been changed, by what
        was sent late or by somebody else, and even a target below it could be more than a guest has been told since.
        A cap is lifted by a target, if need be by one that changes nothing.
        """
        if not self._sight.anew:
            unseen = "nothing is sent: Xen was not seen since the tick before"
            return Plan(steps=(), held=held | {ward.name: f"{ward.reason}; {unseen}" for ward in wards})
        for ward in wards:
            ward.settle()
        if not _spare_kib(view, wards) >= -self.limits.dead_band_kib:  # nor where it is not known
            for ward in wards:
                ward.recall()
        asking = sorted((ward for ward in wards if ward.asks > 0), key=Ward.urgency)
        _grant(asking, _spare_kib(view, wards))
        first, caps = [], {}
        for ward in wards:
            ward.conclude()
            if ward.sent and not ward.granted:
                first.append(self._step(ward))
            elif not ward.granted:
                held[ward.name] = ward.reason
            movement = ward.movement
            rests = movement.rests_until_s > self._sight.now_s and not ward.starves
            if rests and ward.current > 0 and movement.cap(ward.current):
                caps[ward.name] = int(ward.current)
        then = (self._step(ward) for ward in asking if ward.granted)
        return Plan(steps=(*first, *then), held=held, caps_kib=caps)

    def _step(self, ward: Ward) -> Step:
        """The target that a guest is sent; from now on it is on its way there."""
        movement, now_s, target = ward.movement, self._sight.now_s, ward.target
        if not ward.stuck:
            movement.capped_kib = math.nan
        if not ward.still:
            if not ward.part and not ward.starves:
                movement.call_back(now_s, ward.current)
            movement.aim(now_s, ward.current, target)
        if ward.starves:
            self._healths[ward.name].lent = True
        return Step(
            guest=ward.name, from_kib=int(ward.current), target_kib=int(target), asked_kib=int(ward.asked),
            reason=ward.reason,
        )  # fmt: skip

    def _movement(self, name: str) -> Movement:
        if name not in self._movements:
            self._movements[name] = Movement.trusted(self._trusted.get(name), self._sight.now_s)
        return self._movements[name]


def _spare_kib(view: HostView, wards: Iterable[Ward]) -> float:
    """What Xen has free above its reserve, less what is promised and not yet taken."""
    promised = view.promised_kib + sum(ward.taken - ward.current for ward in wards)
    return view.free_kib - view.reserve_kib - promised


def _grant(asking: Iterable[Ward], free_kib: float) -> None:
    """Give out what Xen has free, in this order; a part rather than nothing, but nothing smaller than the dead band."""
    left = 0.0 if math.isnan(free_kib) else float(math.floor(max(0.0, free_kib)))
    for ward in asking:
        part = min(ward.asks, left)
        if part >= min(ward.band, ward.asks):
            ward.granted = part
            left -= part
