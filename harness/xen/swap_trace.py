"""From the trace of swap disks to ghost returns: how much came back in one interval, and from what depth."""

from __future__ import annotations

import math
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import islice

from harness.view import Curve
from harness.xen.domains import Domain
from harness.xen.events import Events
from harness.xen.facts import PAGE_KIB, Sample
from harness.xen.ghost_list import MOST_PAGES as REMEMBERED
from harness.xen.ghost_list import GhostList
from harness.xen.host import HostError, XenHost

SECTORS = 2 * PAGE_KIB
"""Of 512 bytes, in a page."""
MOST_PAGES = 131072
"""Pages of one guest that are looked at in one interval: 512 MiB. What is more is not, and is told of as lost."""
MOST_FOLLOWED = 32768
"""Of them that are followed, which takes some 5 µs each; where there are more, every other is from then on."""
FEWEST = 1 << 16
"""Of so many pages one is followed at least, whatever pages a guest chooses to swap."""
SPREAD, WORD = 0x9E3779B97F4A7C15, (1 << 64) - 1
"""Fibonacci hashing (Knuth, TAOCP 3, §6.4): neighbours fall into different parts."""
EVENT = re.compile(r"([WRD])([0-9]{1,18})\+([0-9]{1,10})")
LINEAR_MIB, PER_OCTAVE = 16, 8
"""Depths are told apart by 1 MiB up to 16 MiB, and above by an eighth of the power of two below: to 12.5 %, up to 2 GiB
in 72 classes.
"""
DISK_MINORS = 15
"""A Xen disk has 16 device numbers: its own and those of its partitions."""


def depth_class(depth_kib: float) -> int:
    """The class of a depth in the histogram."""
    mib = depth_kib / 1024
    if mib < LINEAR_MIB:
        return int(mib)
    octave = math.floor(math.log2(mib / LINEAR_MIB))
    return LINEAR_MIB + octave * PER_OCTAVE + int((mib / (LINEAR_MIB << octave) - 1) * PER_OCTAVE)


@dataclass(slots=True)
class Histogram:
    """What came back in one interval, by depth; each class stands at its deepest return, so none is too shallow."""

    kib: dict[int, float] = field(default_factory=dict)
    deepest_kib: dict[int, float] = field(default_factory=dict)

    def add(self, depth_kib: float, pages: int = 1) -> None:
        """Count a page, or one that stands for several."""
        found = depth_class(depth_kib)
        self.kib[found] = self.kib.get(found, 0.0) + pages * PAGE_KIB
        self.deepest_kib[found] = max(self.deepest_kib.get(found, 0.0), depth_kib)

    def curve(self, passed_s: float) -> Curve:
        """`(depth_kib, kib_per_s)`, shallowest first."""
        return tuple((self.deepest_kib[found], self.kib[found] / passed_s) for found in sorted(self.kib))


def pages(text: str) -> Iterator[tuple[str, int]]:
    """Every page of the tracer's events, as kind and number, in their order."""
    for kind, at, length in EVENT.findall(text):
        first = int(at) // SECTORS
        for page in range(first, first + int(length) // SECTORS):
            yield kind, page


@dataclass(slots=True)
class _Guest:
    domid: int
    ghosts: GhostList = field(default_factory=GhostList)
    every: int = 1
    """One page of so many is followed, and stands for all of them."""

    def take_in(self, text: str, sample: Sample) -> tuple[Histogram, int]:
        """Follow the events of an interval; returns what came back and how many pages were too many to follow.

        Evictions that the guest's figures tell of and the disk does not show are spread evenly over the reads.
        What that takes depends on what dom0 has seen and on measures, never on what the guest claims.
        """
        seen = list(islice(pages(text), MOST_PAGES + 1))
        events = self._sample(seen[:MOST_PAGES])
        skipped = max(0, len(seen) - MOST_PAGES) + max(0, len(events) - MOST_FOLLOWED)
        del events[MOST_FOLLOWED:]
        reads = sum(kind == "R" for kind, _ in events)
        written = sum(kind == "W" for kind, _ in events)
        evicted, copied = _in_swap(sample, self.every)
        known = sum(kind == "R" and page in self.ghosts for kind, page in events)
        silent = 0.0 if evicted is None else (evicted - len(self.ghosts) - written + known) / max(1, reads)
        histogram, due = Histogram(), 0.0
        for kind, page in events:
            if kind == "W":
                self.ghosts.write(page)
            elif kind == "D":
                self.ghosts.discard(page)
            else:
                due += max(0.0, silent)
                self.ghosts.evict_silently(int(due))
                due %= 1
                if (depth := self.ghosts.read(page)) is not None:
                    histogram.add(self.every * depth * PAGE_KIB, self.every)
        if evicted is not None:
            self.ghosts.settle(evicted, copied, written)
        if not self.ghosts.known:
            self.every = 1
        return histogram, skipped

    def _sample(self, events: Sequence[tuple[str, int]]) -> list[tuple[str, int]]:
        """Those that are followed; of ever fewer pages while they are too many to follow or to remember."""
        while True:
            found = [event for event in events if self._follows(event[1])]
            written = sum(kind == "W" for kind, _ in found)
            room = len(found) <= MOST_FOLLOWED and self.ghosts.known + written <= REMEMBERED
            if room or self.every >= FEWEST:
                return found
            self.every *= 2
            self.ghosts.thin(self._follows)

    def _follows(self, page: int) -> bool:
        return (page * SPREAD & WORD) >> 40 & (self.every - 1) == 0


def _in_swap(sample: Sample, every: int) -> tuple[int | None, int]:
    """Pages that are in swap only, where that is known, and those in memory with a good copy there; of so many one."""
    unit_kib = PAGE_KIB * every
    used, cached = sample.swap_used_kib / unit_kib, sample.swap_cached_kib / unit_kib
    return (max(0, int(used - cached)), int(cached)) if math.isfinite(used + cached) else (None, 0)


def swap_disk(sample: Sample, domain: Domain) -> int | None:
    """The number of the disk that a guest swaps on, as dom0 knows it; None where it swaps on none of them."""
    if math.isnan(sample.swap_device):
        return None
    number = int(sample.swap_device)
    return next((disk for disk in (number & ~DISK_MINORS, number) if str(disk) in domain.disks_kib), None)


class SwapTrace:
    """Follows the swap disks of all guests. Events: `trace_failed`, `trace_lost`."""

    def __init__(self, host: XenHost, events: Events) -> None:
        self._host, self._events = host, events
        self._guests: dict[str, _Guest] = {}
        self._at_s = math.nan
        self._failed: dict[str, str] = {}
        self._lost = 0

    def returns(self, known: Mapping[str, tuple[Sample, Domain]], now_s: float) -> dict[str, Curve]:
        """What came back since the last time, per guest that is traced; guests by the names that Xen has for them."""
        numbers = {name: (domain.domid, swap_disk(sample, domain)) for name, (sample, domain) in known.items()}
        disks = {name: disk for name, (_, disk) in numbers.items() if disk is not None}
        for name in list(self._guests):
            if name not in disks or self._guests[name].domid != numbers[name][0]:
                del self._guests[name]
        try:
            said = self._host.trace(disks)
        except HostError as error:
            self._fail("", str(error))
            return {}
        self._fail_each(said["failed"])
        passed_s, self._at_s = now_s - self._at_s, now_s
        lost, curves = said["lost"], {}
        for name, text in said["events"].items():
            fresh = name not in self._guests
            guest = self._guests.setdefault(name, _Guest(numbers[name][0]))
            histogram, skipped = guest.take_in(text, known[name][0])
            lost += skipped
            if not fresh and passed_s > 0:
                curves[name] = histogram.curve(passed_s)
        self._lose(lost)
        return curves

    def _fail_each(self, failed: Mapping[str, str]) -> None:
        for name in [name for name in self._failed if name not in failed]:
            del self._failed[name]
        for name, why in failed.items():
            self._fail(name, why)

    def _fail(self, name: str, why: str) -> None:
        """Say it once."""
        if self._failed.get(name) != why:
            self._failed[name] = why
            self._events("trace_failed", name, why)

    def _lose(self, lost: int) -> None:
        """Say it at 1, 2, 4, 8 …: the ghost lists are off by as much."""
        before, self._lost = self._lost, self._lost + lost
        if self._lost.bit_length() > before.bit_length():
            self._events("trace_lost", "", f"{self._lost} events or pages so far were too many to follow")
