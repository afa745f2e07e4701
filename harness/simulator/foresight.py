"""What the oracle is told: how much of its work every guest would not get done at any size, now and soon."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

from harness.simulator.curves import PAGE_KIB
from harness.simulator.guest import Guest
from harness.simulator.host import Member
from harness.simulator.memory import BUFFERS_KIB, MIB
from harness.view import FloatArray

MOMENTS = 4
"""Of the horizon that are looked at."""
MOMENT_S = 0.5
"""Over which it is seen how a footprint moves."""
SAMPLES = 64
"""Of a trial's time, for the mean pace."""
STALL_WEIGHT = 0.01
"""What waiting counts that costs no work, beside work not done: it decides where nothing else does."""


class Foresight:
    """The oracle's knowledge, from the guests themselves."""

    def __init__(self, members: Sequence[Member], duration_s: float, now_s: Callable[[], float] = lambda: 0.0) -> None:
        self._now_s = now_s
        self._members = {member.guest.name: member for member in members}
        self._mean_pace = {name: _mean_pace(member.guest, duration_s) for name, member in self._members.items()}

    def lost_s(self, names: Sequence[str], sizes_kib: FloatArray, from_s: float, to_s: float) -> FloatArray:
        """Seconds of its mean work that each guest would lose at each size; both arrays are (points, guests)."""
        lost = np.empty_like(sizes_kib)
        moments = np.linspace(from_s, to_s, MOMENTS)
        for i, name in enumerate(names):
            guest, mean = self._members[name].guest, self._mean_pace[name]
            moving_s = np.abs(sizes_kib[:, i] - guest.current_kib) / (guest.machine.balloon_mib_s * MIB)
            busy = np.maximum(0.0, 1 - moving_s / (to_s - from_s))
            shares = [_lost(guest, sizes_kib[:, i], guest.load.footprint_kib(time_s), mean, busy) for time_s in moments]
            lost[:, i] = np.mean(shares, axis=0) * (to_s - from_s)
        return lost

    def done(self, names: Sequence[str]) -> FloatArray:
        """Share of the work that was asked for until now which each guest has done; all where none was."""
        guests = [self._members[name].guest for name in names]
        return np.array([guest.ops / guest.wanted_ops if guest.wanted_ops > 0 else 1.0 for guest in guests])

    def lost_now(self, names: Sequence[str], sizes_kib: FloatArray, ahead_s: float) -> FloatArray:
        """Share of its work that each guest would lose at each size, drawn on from its present phase alone.

        Its footprint is taken to go on as it moved within the last moment, its pace to stay; (points, guests).
        """
        lost = np.empty_like(sizes_kib)
        for i, name in enumerate(names):
            member = self._members[name]
            guest, load = member.guest, member.guest.load
            now, before = (load.footprint_kib(max(0.0, self._now_s() - ago_s)) for ago_s in (0.0, MOMENT_S))
            pace = load.wanted_ops_s(now)
            moving_s = np.abs(sizes_kib[:, i] - guest.current_kib) / (guest.machine.balloon_mib_s * MIB)
            busy = np.maximum(0.0, 1 - moving_s / ahead_s)
            ends = [max(PAGE_KIB, now + (now - before) / MOMENT_S * s) for s in np.linspace(0.0, ahead_s, MOMENTS)]
            lost[:, i] = np.mean([_lost(guest, sizes_kib[:, i], end, pace, busy) for end in ends], axis=0)
        return lost


def _lost(guest: Guest, sizes_kib: FloatArray, footprint: float, mean_pace: float, busy: FloatArray) -> FloatArray:
    """Work not done over the mean work, with a footprint, once settled at each size.

    `busy` is the share of its processor's time that is left to it while its balloon moves there.
    """
    load, machine = guest.load, guest.machine
    kept = (machine.own_mib + machine.least_free_mib + machine.least_files_mib) * MIB + BUFFERS_KIB
    room = np.maximum(0.0, sizes_kib - guest.outside_kib - kept)
    missing = load.touches * guest.law.misses(room / max(footprint, 1.0), footprint)
    cached = np.maximum(0.0, room - footprint) + guest.least_files_kib
    read = load.reads * guest.file_law.misses(cached / max(load.file_kib, 1.0), load.file_kib)
    fault_s = machine.scan_fault_s if load.cyclic else machine.fault_s
    wait_s = guest.slowness * (missing * fault_s + read * machine.file_fault_s)
    pace = load.wanted_ops_s(footprint)
    done = np.minimum(pace, busy / (load.cpu_s + wait_s))
    full = footprint + guest.leaked_kib - room > guest.swap_kib  # it would be killed
    lost: FloatArray = np.where(full, pace, pace - done + STALL_WEIGHT * done * wait_s) / mean_pace
    return lost


def _mean_pace(guest: Guest, duration_s: float) -> float:
    times = np.linspace(0.0, duration_s, SAMPLES)
    pace = float(np.mean([guest.load.wanted_ops_s(guest.load.footprint_kib(time_s)) for time_s in times]))
    return pace or 1.0
