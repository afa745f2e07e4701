"""One simulated guest: a kernel that keeps, caches, swaps and reads back, a balloon, and work that waits for pages.

Memory of the guest, in KiB, at every moment:

    current = outside + own + cold + resident + cached + free

`outside` is what the kernel keeps outside MemTotal; `own` it never gives up. Of the work's footprint some is resident
and some swapped; of sleeping programs some is swapped and stays so. Work goes on in steps: what must go out goes out,
what is touched and missing comes back at a price, and the price is time that the work does not have.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field

from harness.simulator.curves import PAGE_KIB, Law
from harness.simulator.loads import Load
from harness.simulator.machine import Machine

MIB = 1024.0
BUFFERS_KIB = 2 * MIB


@dataclass(slots=True, kw_only=True)
class Guest:
    """State and counters of one guest; `step` moves it on. Sizes in KiB, counters since its boot."""

    name: str
    machine: Machine
    load: Load
    current_kib: float
    max_kib: float
    swap_kib: float
    slowness: float = 1.0
    """Of its disk in this repetition."""
    target_kib: float = 0.0
    balloon_kib_s: float = 0.0
    least_kib: float = 0.0
    """Hidden limits of its balloon, of which nobody tells."""
    most_kib: float = math.inf

    outside_kib: float = 0.0
    footprint_kib: float = 0.0
    swapped_kib: float = 0.0
    cold_out_kib: float = 0.0
    slots_kib: float = 0.0
    """Swap in use: pages that were read back and not written to keep their place."""
    cached_kib: float = 0.0
    seen_kib: float = 0.0
    """Of files, that has been in memory: reading it again is a refault."""

    swapped_in_kib: float = 0.0
    swapped_out_kib: float = 0.0
    refaulted_kib: float = 0.0
    major_faults: float = 0.0
    stalled_s: float = 0.0
    oom_kills: int = 0
    moved_kib: float = 0.0

    ops: float = 0.0
    ops_s: float = 0.0
    """In the last step."""
    wanted_ops: float = 0.0
    passes: float = 0.0
    lost_s: float = 0.0
    """Time by which the work has fallen behind its pace."""
    law: Law = field(init=False)
    file_law: Law = field(init=False)
    least_files_kib: float = field(init=False)
    _ballooned_s: float = 0.0
    """Time of its processor that the balloon took in this step."""
    _asleep_kib: float = field(init=False)
    """Used without any work."""
    _kept_kib: float = field(init=False)
    """Neither footprint nor cache, as long as nothing is swapped."""

    def __post_init__(self) -> None:
        """Boot: programs and libraries are cached as far as there is room; the work begins with its first page."""
        machine = self.machine
        load = self.load
        self.law = Law(exponent=load.exponent, cyclic=load.cyclic, order=machine.order, scan=machine.scan)
        self.file_law = Law(exponent=load.file_exponent, order=machine.order)
        self.outside_kib = machine.kernel_mib * MIB + machine.kernel_share * self.max_kib
        self.least_files_kib = machine.least_files_mib * MIB
        self._asleep_kib = (machine.own_mib + machine.cold_mib) * MIB
        self._kept_kib = self.outside_kib + BUFFERS_KIB + self._asleep_kib + machine.least_free_mib * MIB
        self.target_kib = self.target_kib or self.current_kib
        self.balloon_kib_s = self.balloon_kib_s or machine.balloon_mib_s * MIB
        self.cached_kib = max(0.0, min(machine.files_mib * MIB, self.room_kib))
        self.seen_kib = self.cached_kib

    def get_ready(self) -> None:
        """What the work lays out before it is told to go is there; counters count from then."""
        if self.load.laid_out:
            self._fit(self.load.footprint_kib(0.0), math.inf)
            self.swapped_out_kib = 0.0

    @property
    def mem_total_kib(self) -> float:
        """MemTotal."""
        return max(0.0, self.current_kib - self.outside_kib)

    @property
    def resident_kib(self) -> float:
        """The footprint's part in memory."""
        return self.footprint_kib - self.swapped_kib

    @property
    def used_kib(self) -> float:
        """MemTotal - MemFree - Buffers - Cached."""
        return self._asleep_kib - self.cold_out_kib + self.footprint_kib - self.swapped_kib

    @property
    def room_kib(self) -> float:
        """What footprint and cache can have together, beside all else."""
        return self.current_kib - self._kept_kib + self.cold_out_kib

    @property
    def spare_kib(self) -> float:
        """Room for pages that come back from swap."""
        least = min(self.cached_kib, self.least_files_kib)
        return max(0.0, self.room_kib - self.footprint_kib + self.swapped_kib - least)

    @property
    def free_kib(self) -> float:
        """MemFree."""
        return max(0.0, self.mem_total_kib - BUFFERS_KIB - self.used_kib - self.cached_kib)

    @property
    def available_kib(self) -> float:
        """MemAvailable: what new work could have without swapping."""
        spare = self.free_kib - self.machine.least_free_mib * MIB
        return max(0.0, spare + self.cached_kib - self.least_files_kib)

    @property
    def committed_kib(self) -> float:
        """Committed_AS."""
        return self.machine.cold_mib * MIB + self.footprint_kib + self.load.claim_kib

    @property
    def floor_kib(self) -> float:
        """Below this no balloon goes: nothing would be left that the kernel could give."""
        return self._kept_kib - self.machine.cold_mib * MIB + self.least_files_kib

    def balloon(self, step_s: float, host_free_kib: float) -> float:
        """Move towards the target; returns what the guest took from the host, negative when it gave.

        Free memory and cache go at the balloon's speed, what must be swapped out first at the disk's. Moving pages is
        work of the guest's own processor, which its programs do not have meanwhile.
        """
        wanted = min(max(self.target_kib, self.least_kib), self.most_kib) - self.current_kib
        if wanted == 0:
            return 0.0
        if wanted > 0:
            step = min(wanted, self.balloon_kib_s * step_s, max(0.0, host_free_kib))
        else:
            swappable = self.machine.swap_write_mib_s * MIB * step_s
            at_once = min(self.available_kib + swappable, self.balloon_kib_s * step_s)
            step = -max(0.0, min(-wanted, at_once, self.current_kib - self.floor_kib))
        self.current_kib += step
        self.moved_kib += abs(step)
        self._ballooned_s = min(step_s, abs(step) / (self.machine.balloon_mib_s * MIB))
        return step

    def work(self, time_s: float, step_s: float, crowd: float) -> float:
        """Do the work of one step; `crowd` is by how much the host's disks are oversubscribed. Returns KiB of disk."""
        load, machine, slow = self.load, self.machine, self.slowness * crowd
        wanted_kib = load.footprint_kib(time_s + step_s)
        pace = load.wanted_ops_s(wanted_kib)
        if self._rests(wanted_kib):
            self._count(min(pace, 1 / load.cpu_s) * step_s, pace, wanted_kib, step_s, 0.0)
            return 0.0
        free_s, self._ballooned_s = step_s - self._ballooned_s, 0.0
        stalled_s, filled_s = self._fit(wanted_kib, free_s)
        footprint, busy_s = self.footprint_kib, max(0.0, free_s - stalled_s - filled_s)
        missing = load.touches * self._missing()
        fault_s = (machine.scan_fault_s if load.cyclic else machine.fault_s) * slow
        read = load.reads * self._uncached()
        read_s = read * machine.file_fault_s * slow
        ops = min(pace * step_s, busy_s / (load.cpu_s + read_s + missing * fault_s))
        faults = ops * missing
        if faults > (few := self._strangers()):  # with room for all of them, none is missed twice
            faults = few
            ops = min(pace * step_s, max(0.0, busy_s - faults * fault_s) / (load.cpu_s + read_s))
        waited_s = min(busy_s, faults * fault_s + ops * read_s)
        self._count(ops, pace, footprint, step_s, stalled_s + waited_s)
        return self._read_back(faults, ops * read)

    def _rests(self, footprint_kib: float) -> bool:
        """Whether nothing moves, nothing is missing and no file is read, so that all work that is asked for is done."""
        return (
            footprint_kib == self.footprint_kib and self.swapped_kib == 0 and self._ballooned_s == 0
            and self.load.reads == 0 and self.cached_kib <= self.room_kib - footprint_kib
        )  # fmt: skip

    def _missing(self) -> float:
        """Share of touches of the footprint that find their page in swap."""
        if self.swapped_kib <= 0 or self.footprint_kib <= 0:  # a guest that boots in too little memory has none yet
            return 0.0
        return self.law.miss(self.resident_kib / self.footprint_kib, self.footprint_kib)

    def _uncached(self) -> float:
        """Share of reads of files that must go to the disk."""
        files = self.load.file_kib
        return self.file_law.miss(self.cached_kib / files, files) if files > 0 else 0.0

    def _strangers(self) -> float:
        """Pages that can be missed in a step: those in swap, or no end of them where each pushes another out."""
        return self.swapped_kib / PAGE_KIB if self.spare_kib >= self.swapped_kib else math.inf

    def _count(self, ops: float, pace: float, footprint_kib: float, step_s: float, stalled_s: float) -> None:
        self.ops += ops
        self.ops_s = ops / step_s
        self.wanted_ops += pace * step_s
        self.passes += ops * PAGE_KIB / footprint_kib if footprint_kib > 0 else 0.0
        self.lost_s += step_s * (1 - ops / (pace * step_s))
        self.stalled_s += stalled_s

    def _fit(self, footprint_kib: float, step_s: float) -> tuple[float, float]:
        """Let the footprint become this large, as fast as room is made for it and pages are filled.

        Returns the time that the work waits for room, and the time in which it fills.
        """
        machine, before = self.machine, self.footprint_kib
        if footprint_kib < self.footprint_kib:
            freed = self._freed_in_swap(footprint_kib)
            self.slots_kib -= freed
            self.swapped_kib -= freed
        out_kib_s = machine.swap_write_mib_s * MIB / self.slowness
        room = self.room_kib - min(self.cached_kib, self.least_files_kib)
        fillable = before + (PAGE_KIB * step_s / machine.fill_s if machine.fill_s > 0 else math.inf)
        roomy = max(self.footprint_kib, self.swapped_kib + room + out_kib_s * step_s)
        self.footprint_kib = min(footprint_kib, roomy, fillable)
        lacking = self.footprint_kib - self.swapped_kib - room
        out = self._swap_out(lacking) if lacking > 0 else 0.0
        self.cached_kib = max(0.0, min(self.cached_kib, self.room_kib - self.footprint_kib + self.swapped_kib))
        filled = max(0.0, self.footprint_kib - before) / PAGE_KIB
        return min(step_s, out / out_kib_s), filled * machine.fill_s

    def _freed_in_swap(self, footprint_kib: float) -> float:
        """Of what is freed, the part that is in swap. A cycle frees its end, to which it came last: that is there."""
        if self.load.cyclic:
            return max(0.0, self.swapped_kib - footprint_kib)
        return self.swapped_kib * (1 - footprint_kib / self.footprint_kib)

    def _swap_out(self, lacking_kib: float) -> float:
        """What has no room goes out, sleeping programs first, as long as swap has a place; returns how much."""
        out = max(0.0, min(lacking_kib, self.swap_kib - self.swapped_kib - self.cold_out_kib))
        cold = min(out, self.machine.cold_mib * MIB - self.cold_out_kib)
        self.cold_out_kib += cold
        self.swapped_kib += out - cold
        self.swapped_out_kib += out
        self.slots_kib = max(self.slots_kib, self.swapped_kib + self.cold_out_kib)
        if lacking_kib - out > 1:
            self._kill()
        return out

    def _kill(self) -> None:
        """Memory and swap are full: the kernel ends the work."""
        self.oom_kills += 1
        self.footprint_kib = self.swapped_kib = 0.0
        self.slots_kib = self.cold_out_kib
        self.load = Load(ops_s=1.0, touches=0.0)

    def _read_back(self, pages: float, file_pages: float) -> float:
        """Pages that were missing come back, as far as there is room in place of others; returns KiB of disk."""
        came, read = pages * PAGE_KIB, file_pages * PAGE_KIB
        pushed = 0.0
        if came > 0:
            home = min(came, self.swapped_kib, self.spare_kib)
            pushed = came - home
            self.swapped_kib -= home
            self.slots_kib = max(self.swapped_kib + self.cold_out_kib, self.slots_kib - home * self.machine.rewrites)
            self.swapped_in_kib += came
            self.swapped_out_kib += pushed
            self.refaulted_kib += came
        if read > 0:
            self.refaulted_kib += min(read, max(0.0, self.seen_kib - self.cached_kib))
            most = min(self.load.file_kib + self.machine.files_mib * MIB, self.room_kib - self.resident_kib)
            self.cached_kib = max(0.0, min(self.cached_kib + read, most))
            self.seen_kib = max(self.seen_kib, self.cached_kib)
        self.major_faults += pages + file_pages
        return came + pushed + read
