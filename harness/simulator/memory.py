"""The memory of one simulated guest: what its kernel keeps, caches, swaps out, and reads back.

In KiB, at every moment:

    current = outside + buffers + own + cold + resident + cached + free

`outside` is what the kernel keeps outside MemTotal; `own` it never gives up. Of the work's footprint some is resident
and some swapped; what sleeping programs have, and what the work has leaked, is cold: once swapped it stays so.
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
class Memory:
    """Sizes in KiB, counters since the guest's boot."""

    machine: Machine
    load: Load
    current_kib: float
    max_kib: float
    swap_kib: float
    slowness: float = 1.0
    """Of its disk in this repetition."""

    outside_kib: float = 0.0
    footprint_kib: float = 0.0
    swapped_kib: float = 0.0
    leaked_kib: float = 0.0
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
    oom_kills: int = 0
    law: Law = field(init=False)
    file_law: Law = field(init=False)
    least_files_kib: float = field(init=False)
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
        self.cached_kib = max(0.0, min(machine.files_mib * MIB, self.room_kib))
        self.seen_kib = self.cached_kib

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
        return self._asleep_kib + self.leaked_kib - self.cold_out_kib + self.footprint_kib - self.swapped_kib

    @property
    def room_kib(self) -> float:
        """What footprint and cache can have together, beside all else."""
        return self.current_kib - self._kept_kib - self.leaked_kib + self.cold_out_kib

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
        return self.cold_kib + self.footprint_kib + self.load.claim_kib

    @property
    def cold_kib(self) -> float:
        """Of sleeping programs, and leaked: in memory or in swap."""
        return self.machine.cold_mib * MIB + self.leaked_kib

    @property
    def leaked_here_kib(self) -> float:
        """Leaked and still in memory: of what is cold it goes out last, and before the footprint."""
        return max(0.0, min(self.leaked_kib, self.cold_kib - self.cold_out_kib))

    @property
    def floor_kib(self) -> float:
        """Below this no balloon goes: nothing would be left that the kernel could give."""
        return self._kept_kib - self.machine.cold_mib * MIB + self.least_files_kib

    def missing(self) -> float:
        """Share of touches of the footprint that find their page in swap."""
        if self.swapped_kib <= 0 or self.footprint_kib <= 0:  # a guest that boots in too little memory has none yet
            return 0.0
        return self.law.miss(self.resident_kib / self.footprint_kib, self.footprint_kib)

    def uncached(self) -> float:
        """Share of reads of files that must go to the disk."""
        files = self.load.file_kib
        return self.file_law.miss(self.cached_kib / files, files) if files > 0 else 0.0

    def strangers(self) -> float:
        """Pages that can be missed in a step: those in swap, or no end of them where each pushes another out."""
        room_kib = self.spare_kib + self.leaked_here_kib
        return self.swapped_kib / PAGE_KIB if room_kib >= self.swapped_kib else math.inf

    def fit(self, footprint_kib: float, step_s: float, leaked_kib: float = 0.0) -> tuple[float, float]:
        """Let the footprint, and then what is leaked, become this large, as fast as room is made and pages are filled.

        Returns the time that the work waits for room, and the time in which it fills.
        """
        machine, before = self.machine, self.footprint_kib + self.leaked_kib
        if footprint_kib < self.footprint_kib:
            freed = self._freed_in_swap(footprint_kib)
            self.slots_kib -= freed
            self.swapped_kib -= freed
        out_kib_s, reclaim_kib_s = machine.swap_write_mib_s * MIB / self.slowness, machine.reclaim_mib_s * MIB
        programs = min(self.cached_kib, machine.files_mib * MIB)
        mapped = programs - min(programs, self.least_files_kib)
        room = self.room_kib - programs
        reclaim_s = min(step_s, mapped / reclaim_kib_s)
        fillable = self.footprint_kib + (PAGE_KIB * step_s / machine.fill_s if machine.fill_s > 0 else math.inf)
        roomy = room + reclaim_s * reclaim_kib_s + (step_s - reclaim_s) * out_kib_s
        self.footprint_kib = min(footprint_kib, max(self.footprint_kib, self.swapped_kib + roomy), fillable)
        able = max(0.0, min(roomy - self.resident_kib, fillable - self.footprint_kib))
        leaking = min(max(0.0, leaked_kib - self.leaked_kib), able)
        self.leaked_kib += leaking
        room -= leaking
        lacking = max(0.0, self.footprint_kib - self.swapped_kib - room)
        reclaimed = min(lacking, mapped)
        out = self._swap_out(lacking - reclaimed) if lacking > reclaimed else 0.0
        self.cached_kib = max(0.0, min(self.cached_kib, self.room_kib - self.footprint_kib + self.swapped_kib))
        filled = max(0.0, self.footprint_kib + self.leaked_kib - before) / PAGE_KIB
        return min(step_s, reclaimed / reclaim_kib_s + out / out_kib_s), filled * machine.fill_s

    def _freed_in_swap(self, footprint_kib: float) -> float:
        """Of what is freed, the part that is in swap. A cycle frees its end, to which it came last: that is there."""
        if self.load.cyclic:
            return max(0.0, self.swapped_kib - footprint_kib)
        return self.swapped_kib * (1 - footprint_kib / self.footprint_kib)

    def _swap_out(self, lacking_kib: float) -> float:
        """What has no room goes out, what is cold first, as long as swap has a place; returns how much.

        What a guest lacks that was made smaller than `floor_kib` is its kernel's, which has nowhere to go.
        """
        lacking_kib = min(lacking_kib, self.cold_kib - self.cold_out_kib + self.resident_kib)
        out = max(0.0, min(lacking_kib, self.swap_kib - self.swapped_kib - self.cold_out_kib))
        cold = min(out, self.cold_kib - self.cold_out_kib)
        self.cold_out_kib += cold
        self.swapped_kib += out - cold
        self.swapped_out_kib += out
        self.slots_kib = max(self.slots_kib, self.swapped_kib + self.cold_out_kib)
        if lacking_kib - out > 1:
            self._kill()
        return out

    def read_back(self, pages: float, file_pages: float) -> float:
        """Pages that were missing come back, as far as there is room in place of others; returns KiB of disk."""
        came, read = pages * PAGE_KIB, file_pages * PAGE_KIB
        pushed = 0.0
        if came > 0:
            home = min(came, self.swapped_kib, self.spare_kib)
            pushed = came - home
            leaked = min(pushed, self.swapped_kib - home, self.leaked_here_kib)
            self.swapped_kib -= home + leaked
            self.cold_out_kib += leaked
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

    def _kill(self) -> None:
        """Memory and swap are full: the kernel ends the work."""
        self.oom_kills += 1
        self.cold_out_kib = min(self.cold_out_kib, self.machine.cold_mib * MIB)
        self.footprint_kib = self.swapped_kib = self.leaked_kib = 0.0
        self.slots_kib = self.cold_out_kib
        self.load = Load(ops_s=1.0, touches=0.0)
