"""One simulated guest: its memory, a balloon, and work that waits for pages.

Work goes on in steps: what must go out goes out, what is touched and missing comes back at a price, and the price is
time that the work does not have.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field

from harness.simulator.curves import PAGE_KIB
from harness.simulator.memory import MIB, Memory
from harness.simulator.passes import Cost, Passes


@dataclass(slots=True, kw_only=True)
class Guest(Memory):
    """State and counters of one guest; `work` moves it on. Sizes in KiB, counters since its boot."""

    name: str
    target_kib: float = 0.0
    balloon_kib_s: float = 0.0
    least_kib: float = 0.0
    """Hidden limits of its balloon, of which nobody tells."""
    most_kib: float = math.inf

    stalled_s: float = 0.0
    moved_kib: float = 0.0
    ops: float = 0.0
    ops_s: float = 0.0
    """In the last step; in passes, over about the time of one."""
    leaking_kib_s: float = 0.0
    """In the last step."""
    wanted_ops: float = 0.0
    passes: float = 0.0
    lost_s: float = 0.0
    """Time by which the work has fallen behind its pace."""
    _ballooned_s: float = 0.0
    """Time of its processor that the balloon took in this step."""
    _passes: Passes | None = field(init=False)
    """None: its work has a pace, or none, and no passes."""

    def __post_init__(self) -> None:
        """Boot with the balloon where it is."""
        Memory.__post_init__(self)
        self.target_kib = self.target_kib or self.current_kib
        self.balloon_kib_s = self.balloon_kib_s or self.machine.balloon_mib_s * MIB
        self._passes = Passes(interval_s=1 / self.load.passes_s) if self.load.passes_s > 0 else None

    def get_ready(self) -> None:
        """What the work lays out before it is told to go is there; counters count from then."""
        if self.load.laid_out:
            self.fit(self.load.footprint_kib(0.0), math.inf)
            self.swapped_out_kib = 0.0

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
        wanted_kib = self._wanted_kib(time_s, time_s + step_s)
        leaked_kib = load.leaked_kib(time_s + step_s)
        pace = load.wanted_ops_s(wanted_kib)
        if self._rests(wanted_kib, leaked_kib):
            self.leaking_kib_s = 0.0
            ops = self._touch(time_s, time_s, step_s, pace, Cost(touch_s=load.cpu_s))
            self._count(ops, pace, wanted_kib, step_s, 0.0)
            return 0.0
        free_s, self._ballooned_s = step_s - self._ballooned_s, 0.0
        before_kib, leaked_before_kib = self.footprint_kib, self.leaked_kib
        stalled_s, filled_s = self.fit(wanted_kib, free_s, leaked_kib)
        self.leaking_kib_s = max(0.0, self.leaked_kib - leaked_before_kib) / step_s  # one that was killed leaks no more
        if self._passes:
            self._passes.follow((self.footprint_kib - before_kib) / PAGE_KIB)
        busy_s = max(0.0, free_s - stalled_s - filled_s)
        read = load.reads * self.uncached()
        read_s = read * machine.file_fault_s * slow
        cost = Cost(
            touch_s=load.cpu_s + read_s, missing=load.touches * self.missing(), most_faults=self.strangers(),
            fault_s=(machine.scan_fault_s if load.cyclic else machine.fault_s) * slow,
        )  # fmt: skip
        ops = self._touch(time_s, time_s + step_s - busy_s, step_s, pace, cost)
        waited_s = min(busy_s, cost.faults * cost.fault_s + ops * read_s)
        self._count(ops, pace, self.footprint_kib, step_s, stalled_s + waited_s)
        return self.read_back(cost.faults, ops * read)

    def _wanted_kib(self, time_s: float, end_s: float) -> float:
        """The footprint that is asked for: at a pace always that of the moment, in passes that of the last one."""
        asks_s = self._passes.asks_s(time_s, end_s) if self._passes else end_s
        return self.footprint_kib if asks_s is None else self.load.footprint_kib(asks_s)

    def _touch(self, time_s: float, free_s: float, step_s: float, pace: float, cost: Cost) -> float:
        """Do what is asked for and can be done from `free_s` on, pass by pass or at a pace; returns operations."""
        if self._passes is None:
            ops = min(pace * step_s, cost.afford(time_s + step_s - free_s))
            cost.pay(ops)
            return ops
        return self._passes.run(time_s, free_s, time_s + step_s, self._pages, cost)

    def _pages(self, time_s: float) -> float:
        """What a pass finds that begins now."""
        return min(self.footprint_kib, self.load.footprint_kib(time_s)) / PAGE_KIB

    def _rests(self, footprint_kib: float, leaked_kib: float) -> bool:
        """Whether nothing moves, is missing, read from a file or leaked, so that all work that is asked for is done."""
        return (
            footprint_kib == self.footprint_kib and self.swapped_kib == 0 and self._ballooned_s == 0
            and self.load.reads == 0 and self.cached_kib <= self.room_kib - footprint_kib
            and leaked_kib <= self.leaked_kib
        )  # fmt: skip

    def _count(self, ops: float, pace: float, footprint_kib: float, step_s: float, stalled_s: float) -> None:
        self.ops += ops
        part = min(1.0, step_s / self._passes.interval_s) if self._passes else 1.0
        self.ops_s += part * (ops / step_s - self.ops_s)
        self.wanted_ops += pace * step_s
        self.passes += ops * PAGE_KIB / footprint_kib if footprint_kib > 0 else 0.0
        self.lost_s = self._passes.lost_s if self._passes else self.lost_s + step_s * (1 - ops / (pace * step_s))
        self.stalled_s += stalled_s
