"""From an allocation to a plan that is safe to carry out now (docs/design.md, "Governor", rules 1 to 6)."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from harness.governor.health import Health
from harness.governor.movement import Movement, Trust
from harness.governor.rules import Limits, bounds_kib, dead_band_kib, fit, grant, or_0
from harness.policies.base import Allocation, mib
from harness.view import BoolArray, FloatArray, HostView


@dataclass(frozen=True, slots=True, kw_only=True)
class Step:
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
    To be set after the targets.
    """


class Notes:
    """What happened to each guest's target, in words, in the order in which it happened."""

    def __init__(self, reasons: Sequence[str]) -> None:
        self._texts = [[reason] for reason in reasons]

    def add(self, where: BoolArray, text: str, sizes_kib: FloatArray) -> None:
        """Add a text to some guests, `{}` standing for a size of each."""
        for i in where.nonzero()[0]:
            self._texts[i].append(text.format(mib(sizes_kib[i])))

    def of(self, i: int) -> str:
        """Everything about one guest."""
        return "; ".join(self._texts[i])


class Governor:
    """Turns allocations into plans; remembers only where the guests are going and how they last were.

    `trust` is what another governor knew of how guests follow their targets (`Governor.trust`); a trial has none.
    """

    def __init__(self, limits: Limits | None = None, trust: Mapping[str, Trust] | None = None) -> None:
        self.limits = limits or Limits()
        self._trusted = dict(trust or {})
        self.reset()

    def reset(self) -> None:
        """Forget all guests but for the trust that was given, at the start of a trial."""
        self._movements: dict[str, Movement] = {}
        self._healths: dict[str, Health] = {}
        self._now_s = math.nan
        self._judged: tuple[HostView | None, list[str | None]] = (None, [])

    def trust(self) -> dict[str, Trust]:
        """What is known of how each guest follows its targets, as plain data for the next governor."""
        known = self._trusted | {name: movement.trust(self._now_s) for name, movement in self._movements.items()}
        return {name: trust for name, trust in known.items() if any(trust.values())}

    def fresh(self, view: HostView) -> HostView:
        """The guests that take part: sampled within three periods, and following their targets."""
        return view.select(np.array([cause is None for cause in self._left_out(view)], dtype=bool))

    def plan(self, view: HostView, allocation: Allocation) -> Plan:
        """Make an allocation for `fresh(view)` safe; `view` has all guests. Every guest gets a step or a reason."""
        left_out = self._left_out(view)
        part = np.array([cause is None for cause in left_out], dtype=bool)
        if part.sum() != len(allocation.targets_kib):
            raise ValueError("The allocation is not for this view: decide on what Governor.fresh(view) returns.")
        reasons = iter(allocation.reasons)
        notes = Notes([f"left out: {cause}" if cause else next(reasons) for cause in left_out])
        current = np.round(view.current_kib)
        asked = current.copy()
        asked[part] = np.where(np.isnan(allocation.targets_kib), current[part], np.round(allocation.targets_kib))
        stuck = self._stuck(view, notes)
        wanted, starves = self._wanted(view, asked, part, notes)
        capped = np.array([self._movement(name).capped_kib for name in view.names])
        lifted = part & ~stuck & ~np.isnan(capped)
        return self._carry_out(view, asked, wanted, starves, stuck, lifted, notes)

    def failed(self, guests: Iterable[str]) -> None:
        """Take back the targets of a plan that could not be set: nobody is to be blamed for not following them."""
        for guest in guests:
            self._movement(guest).forget_target()

    def _left_out(self, view: HostView) -> list[str | None]:
        """Rules 4 and 5: per guest, why it takes no part; None for those that do."""
        if view is self._judged[0]:
            return self._judged[1]
        self._now_s = view.time_s
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
        rest_s = self._movement(name).rests_until_s - self._now_s
        return f"it did not follow its target; tried again in {rest_s:.0f} s" if rest_s > 0 else None

    def _wanted(self, view: HostView, asked: FloatArray, part: BoolArray, notes: Notes) -> tuple[FloatArray, BoolArray]:
        """Rules 1, 4 and 6: targets inside bounds and pool, and which guests starve in silence."""
        current = np.round(view.current_kib)
        least, most = bounds_kib(view, self.limits)
        bounded = np.where(part, np.minimum(np.maximum(asked, least), most), current)
        notes.add(bounded < asked, "its maximum is {}", bounded)
        notes.add((bounded > asked) & (bounded <= view.min_kib), "its minimum is {}", bounded)
        notes.add((bounded > asked) & (bounded > view.min_kib), "needs {} to live", bounded)
        emergency = np.minimum(np.floor(self._emergencies(view)), most)
        starves = emergency > current
        notes.add(starves, "fell silent while in trouble: may have {}", emergency)
        wanted = np.where(starves, emergency, np.where(part, bounded, np.maximum(current, self._heading(view))))
        pool = view.select(part).pool_kib - float(or_0((wanted - current)[~part]).sum())
        wanted[part] = fit(bounded[part], current[part], least[part], pool)
        notes.add(wanted < bounded, "the pool allows {}", wanted)
        return wanted, starves

    def _emergencies(self, view: HostView) -> FloatArray:
        """Rule 4: what the guests that fell silent while in trouble may have; NaN for all others."""
        targets = np.full(len(view), np.nan)
        traffic = or_0(view.swap_in_kib_s) + or_0(view.swap_out_kib_s)
        told = (column.tolist() for column in (view.paused, view.age_s, view.current_kib, view.stall_some, traffic))
        for i, (name, paused, age_s, current, stall, moved) in enumerate(zip(view.names, *told, strict=True)):
            if paused > 0 or name not in self._healths:
                self._healths[name] = Health()  # the silence of a paused guest says nothing about how it is
            if age_s > self.limits.stale_s and not paused > 0:
                targets[i] = self._healths[name].emergency_kib(current, moved, self.limits.emergency_share)
            elif not paused > 0:
                self._healths[name].speaks(stall, moved)
        return targets

    def _carry_out(
        self,
        view: HostView,
        asked: FloatArray,
        wanted: FloatArray,
        starves: BoolArray,
        stuck: BoolArray,
        lifted: BoolArray,
        notes: Notes,
    ) -> Plan:
        """Rules 2, 3 and 5: shrink first, grow into what is free, nothing small, nothing to those that do not move.

        A cap is lifted by a target, if need be by one that changes nothing.
        """
        current = np.round(view.current_kib)
        band = dead_band_kib(current, self.limits)
        heading = self._heading(view)
        taken = np.maximum(current, heading)
        moves = (np.abs(wanted - heading) >= band) & ~stuck
        gives = moves & (wanted <= taken)

        promised = view.promised_kib + float(or_0(taken - current).sum())
        free = view.free_kib - view.reserve_kib - promised
        asks = np.where(moves & ~gives, wanted - taken, 0.0)
        stall = np.minimum(or_0(view.stall_some), 1.0)
        neediest = np.lexsort((-asks / np.maximum(current, 1.0), -stall, ~starves))
        grants = grant(asks, band, 0.0 if math.isnan(free) else max(0.0, free), neediest)
        still = stuck | (lifted & ~gives & (grants == 0))
        target = np.where(still, current, np.where(gives, wanted, taken + grants))

        underway = np.abs(heading - current) >= band
        notes.add(~moves & ~stuck & underway, "on its way to {}", heading)
        notes.add(~moves & ~stuck & ~underway & (wanted != current), "{} is too small a step", abs(wanted - current))
        notes.add((grants < asks) & (grants > 0), "Xen has only {} of it free now", grants)
        notes.add((grants < asks) & (grants == 0), "{} must wait: Xen has nothing free above its reserve", asks)
        notes.add(lifted, "tried again: no longer capped at {}", current)
        steps = []
        for i in (*(gives | still).nonzero()[0], *(i for i in neediest if grants[i] > 0)):
            step = Step(
                guest=view.names[i],
                from_kib=int(current[i]),
                target_kib=int(target[i]),
                asked_kib=int(asked[i]),
                reason=notes.of(i),
            )
            steps.append(step)
            if not stuck[i]:
                self._movement(step.guest).capped_kib = math.nan
            if not still[i]:
                self._movement(step.guest).aim(view.time_s, current[i], target[i])
        sent = {step.guest for step in steps}
        caps = self._caps(view, starves)
        held = {name: notes.of(i) for i, name in enumerate(view.names) if name not in sent}
        return Plan(steps=tuple(steps), held=held, caps_kib=caps)

    def _caps(self, view: HostView, starves: BoolArray) -> dict[str, int]:
        """Rule 5: what the guests may have at most that are left alone, where Xen must be told."""
        caps = {}
        for name, current, starving in zip(view.names, np.round(view.current_kib).tolist(), starves, strict=True):
            movement = self._movement(name)
            rests = movement.rests_until_s > view.time_s and not starving
            if rests and current > 0 and movement.cap(current):
                caps[name] = int(current)
        return caps

    def _stuck(self, view: HostView, notes: Notes) -> BoolArray:
        """Rule 5: the guests that have now stood still for too long; they are capped at what they have."""
        stuck = np.zeros(len(view), dtype=bool)
        shrinks = np.zeros(len(view), dtype=bool)
        told = (
            column.tolist() for column in (view.paused, view.current_kib, dead_band_kib(view.current_kib, self.limits))
        )
        for i, (name, paused, current, band) in enumerate(zip(view.names, *told, strict=True)):
            movement = self._movement(name)
            if paused > 0:
                movement.stand_still(view.time_s)
            shrinks[i] = movement.direction < 0
            stuck[i] = not movement.follows(view.time_s, current, band)
        cannot = stuck & shrinks & (view.mem_available_kib <= self.limits.margin_kib)
        notes.add(
            cannot, "cannot give more, only {} are available to it: left alone and capped", view.mem_available_kib
        )
        notes.add(stuck & ~cannot, "does not follow its target: left alone and capped at {}", view.current_kib)
        return stuck

    def _heading(self, view: HostView) -> FloatArray:
        """Where every guest is going, or where it is."""
        sizes = zip(view.names, np.round(view.current_kib).tolist(), strict=True)
        return np.array([self._movement(name).heading_kib(size) for name, size in sizes])

    def _movement(self, name: str) -> Movement:
        if name not in self._movements:
            self._movements[name] = Movement.trusted(self._trusted.get(name), self._now_s)
        return self._movements[name]
