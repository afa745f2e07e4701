"""SimulatedHost: a Xen host in virtual time, behind the same ports as the real one, and its own clock."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from harness.experiment.config import Experiment
from harness.experiment.signals import traces_swap, window_s
from harness.experiment.sweep import Behaviour
from harness.governor import Plan
from harness.ports import Outcome
from harness.simulator import signals
from harness.simulator.behaviour import OBEDIENT, Manner, manner
from harness.simulator.guest import Guest
from harness.simulator.memory import BUFFERS_KIB, MIB
from harness.view import HostView

SLACK_KIB = 1024.0
"""What a domain's maximum is above its target; libxl's LIBXL_MAXMEM_CONSTANT."""
STEP_S = 2.0
"""The longest step of virtual time that is taken at once."""


@dataclass(slots=True, kw_only=True)
class Member:
    """A guest on this host: what it was promised, how it behaves, and what it last said."""

    guest: Guest
    reboot: Callable[[], Guest]
    min_kib: float
    shares: float
    behaviour: Behaviour | None
    manner: Manner = OBEDIENT
    cap_kib: float = math.inf
    """The most that Xen lets it have, until its next target."""
    said: tuple[float, ...] = ()
    said_s: float = -math.inf
    counters: tuple[float, ...] = (0.0,) * 5
    seen_s: float = 0.0


SAID = (
    "mem_total_kib", "mem_free_kib", "mem_available_kib", "buffers_kib", "cached_kib", "committed_kib",
    "swap_total_kib", "swap_free_kib", "swap_in_kib_s", "swap_out_kib_s", "refault_kib_s", "major_faults_s",
    "stall_some", "stall_full",
)  # fmt: skip
"""Columns of the view that the guest itself tells, in the order of `Member.said`."""
NONE_THERE = ("shmem_kib", "huge_pages_kib", "arc_kib", "arc_min_kib", "zram_kib", "zram_swapped_kib")
"""What no simulated guest has. Slab it has, in what its own system takes as calibration found it, but no figure."""


@dataclass(slots=True)
class SimulatedHost:
    """Source, Host and Clock in one: sleeping is what lets time pass."""

    experiment: Experiment
    members: Sequence[Member]
    time_s: float = 0.0
    disk_kib: float = 0.0
    _names: tuple[str, ...] = field(init=False)
    _of: dict[str, Member] = field(init=False)

    def __post_init__(self) -> None:
        """Everybody has said something before the first tick."""
        self._names = tuple(member.guest.name for member in self.members)
        self._of = dict(zip(self._names, self.members, strict=True))
        for member in self.members:
            _tell(member, 0.0)

    @property
    def free_kib(self) -> float:
        """What Xen has free within the pool's fence."""
        taken = sum(member.guest.current_kib for member in self.members if member.manner.there)
        return max(0.0, (self.experiment.pool_mib + self.experiment.reserve_mib) * MIB - taken)

    def now_s(self) -> float:
        """Virtual seconds since the beginning."""
        return self.time_s

    def sleep_until(self, t_s: float) -> None:
        """Let all guests live until then."""
        while t_s - self.time_s > 1e-9:
            self._step(min(STEP_S, t_s - self.time_s))

    def view(self) -> HostView:
        """What guests have said and Xen sees now."""
        members, experiment = self.members, self.experiment
        said = np.array([member.said for member in members]).reshape(len(members), len(SAID)).T
        there = [member.guest.current_kib if member.manner.there else math.nan for member in members]
        columns: dict[str, Any] = dict(zip(SAID, said, strict=True))
        columns |= dict.fromkeys(NONE_THERE, np.zeros(len(members)))
        if (window := window_s(experiment.signals)) is not None:
            columns["page_ages"], columns["active_kib"] = signals.known([one.guest for one in members], window)
        if traces_swap(experiment.signals):
            rates = zip(members, columns["swap_in_kib_s"], strict=True)
            columns["ghost_returns"] = tuple(signals.ghost_returns(one.guest, rate) for one, rate in rates)
        return HostView(
            time_s=self.time_s,
            total_kib=(experiment.pool_mib + experiment.reserve_mib) * MIB,
            free_kib=math.floor(self.free_kib),
            reserve_kib=experiment.reserve_mib * MIB,
            names=self._names,
            current_kib=np.round(np.array(there)),
            target_kib=np.array([member.guest.target_kib if member.manner.there else math.nan for member in members]),
            limit_kib=np.array([_limit_kib(member) if member.manner.there else math.nan for member in members]),
            min_kib=np.array([member.min_kib for member in members]),
            max_kib=np.array([member.guest.max_kib for member in members]),
            shares=np.array([member.shares for member in members]),
            paused=np.array([float(member.manner.paused) if member.manner.there else math.nan for member in members]),
            age_s=np.array([self.time_s - member.said_s for member in members]),
            **columns,
        )

    def apply(self, plan: Plan) -> Outcome:
        """Tell the balloons their targets, and Xen its caps; whether they follow is up to the guests."""
        failed = {}
        for step in plan.steps:
            if self._of[step.guest].manner.there:
                self._of[step.guest].guest.target_kib = float(step.target_kib)
                self._of[step.guest].cap_kib = math.inf
            else:
                failed[step.guest] = "Xen has no such domain"
        for name, kib in plan.caps_kib.items():
            self._of[name].cap_kib = float(kib)
        applied = {step.guest: step.target_kib for step in plan.steps if step.guest not in failed}
        return Outcome(applied_kib=applied, failed=failed)

    def renew_lease(self, safe_kib: Mapping[str, int] | None = None) -> None:
        """There is no dead-man: nothing here dies."""

    def restore(self, targets_kib: Mapping[str, int]) -> None:
        """Set the safe targets."""
        for name, kib in targets_kib.items():
            self._of[name].guest.target_kib = float(kib)
            self._of[name].cap_kib = math.inf

    def _step(self, step_s: float) -> None:
        """One step of everybody's life: balloons first, those that give before those that take, then the work."""
        crowd = max(1.0, self.disk_kib / (self.members[0].guest.machine.disk_mib_s * MIB * step_s))
        self.disk_kib = 0.0
        for member in self.members:
            if member.behaviour is not None:
                self._behave(member, step_s)
        give: list[Guest] = []
        take: list[Guest] = []
        for member in self.members:
            guest = member.guest
            guest.most_kib = min(member.manner.most_kib, member.cap_kib)
            if member.manner.balloons:
                (take if guest.target_kib > guest.current_kib else give).append(guest)
        free = self.free_kib
        for guest in (*give, *take):
            free -= guest.balloon(step_s, free)
        for member in self.members:
            if member.manner.runs:
                self.disk_kib += member.guest.work(self.time_s, step_s, crowd)
        self.time_s += step_s
        for member in self.members:
            if member.manner.tells:
                _tell(member, self.time_s)

    def _behave(self, member: Member, step_s: float) -> None:
        """Take on the manner of this moment; a guest that comes back from a reboot begins anew."""
        was, now = member.manner, manner(member.behaviour, self.time_s)
        member.manner = now
        guest = member.guest
        if now.there and not was.there:
            guest = member.guest = member.reboot()
            guest.current_kib = guest.target_kib = min(guest.current_kib, guest.floor_kib + self.free_kib)
            member.counters, member.seen_s = (0.0,) * len(member.counters), self.time_s
            member.cap_kib = math.inf
        fast = guest.machine.balloon_mib_s * MIB
        guest.balloon_kib_s = min(fast, now.slowest_kib_s)
        guest.least_kib = now.least_kib


def _limit_kib(member: Member) -> float:
    """What Xen lets a guest have: a little more than its target, as libxl sets it, or its cap."""
    return min(member.guest.target_kib + SLACK_KIB, member.cap_kib)


def _tell(member: Member, now_s: float) -> None:
    """The guest says how it is: sizes, and rates since it last spoke."""
    guest = member.guest
    counters = (
        guest.swapped_in_kib, guest.swapped_out_kib, guest.refaulted_kib, guest.major_faults, guest.stalled_s
    )  # fmt: skip
    passed_s = now_s - member.seen_s
    rates: tuple[float, ...] = (0.0,) * 5
    if passed_s > 0 and counters != member.counters:
        rates = tuple((new - old) / passed_s for new, old in zip(counters, member.counters, strict=True))
    total, cached, lie = guest.mem_total_kib, guest.cached_kib, member.manner.exaggerates
    used = guest.used_kib if lie == 1 else min(guest.used_kib * lie, total - cached - BUFFERS_KIB)
    stall = min(1.0, rates[4])
    member.said = (
        round(total), round(max(0.0, total - used - cached - BUFFERS_KIB)), round(guest.available_kib), BUFFERS_KIB,
        round(cached), round(guest.committed_kib * lie), guest.swap_kib, round(guest.swap_kib - guest.slots_kib),
        *rates[:4], stall, stall,
    )  # fmt: skip
    member.said_s, member.counters, member.seen_s = now_s, counters, now_s
