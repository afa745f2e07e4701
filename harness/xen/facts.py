"""What a guest says about itself: from a line of the sampler to figures, and from two of those to rates. No I/O.

A guest is not trusted. A line is taken whole or not at all, and whatever it claims hurts no one but that guest. A
figure that its kernel itself has wrong, such as more free swap than there is, is unknown; the others of the line count.
So it is with all that only refines them (`_EXTRAS`), whatever is wrong with it.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterable
from dataclasses import dataclass, fields

LONGEST_LINE = 4096
"""Bytes; the sampler's lines have about 470, 60 more with page ages, and 90 more with ZFS and zram."""
PAGE_KIB = 4
"""Xen's own pages, and those of every guest that its balloon driver serves on x86."""
MOST_DIGITS = 15
"""So that every figure is exact as a float; as microseconds this is 31 years."""
NEGATIVE = range(1 << 63, 1 << 64)
"""A kernel's negative number: some of its counts go below 0 for a moment, and are printed as if they had no sign."""
LARGEST_KIB = 2**40
BYTES_IN_KIB = 1024
GENERATIONS = 64
"""Of pages, that are read of one line; the kernel has 4, at different times in every memory cgroup."""

UNKNOWN = math.nan


class SampleError(ValueError):
    """A line that is not a sample; the message says why and never repeats more than a few characters of it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Sample:
    """What the guest said at one moment. NaN: it did not say. Counters run from the guest's boot."""

    seq: int
    """Number of the period; a gap means that the guest slept through some."""
    mono_s: float
    """The guest's own monotonic clock."""
    mem_total_kib: float = UNKNOWN
    mem_free_kib: float = UNKNOWN
    mem_available_kib: float = UNKNOWN
    buffers_kib: float = UNKNOWN
    cached_kib: float = UNKNOWN
    shmem_kib: float = UNKNOWN
    committed_kib: float = UNKNOWN
    swap_total_kib: float = UNKNOWN
    swap_free_kib: float = UNKNOWN
    swap_used_kib: float = UNKNOWN
    """Over all swap areas, as /proc/swaps has it."""
    swap_cached_kib: float = UNKNOWN
    """In memory, with a copy in swap that is still good."""
    swap_device: float = UNKNOWN
    """Number of the disk that the first swap area is on, by which dom0 knows it too; it changes nothing but the
    answer to what this guest swaps while it is silent.
    """
    balloon_target_kib: float = UNKNOWN
    balloon_current_kib: float = UNKNOWN
    swapped_in_kib: float = UNKNOWN
    swapped_out_kib: float = UNKNOWN
    refaulted_anon_kib: float = UNKNOWN
    refaulted_file_kib: float = UNKNOWN
    major_faults: float = UNKNOWN
    oom_kills: float = UNKNOWN
    stalled_some_s: float = UNKNOWN
    stalled_full_s: float = UNKNOWN
    reclaimable_slab_kib: float = UNKNOWN
    huge_pages_kib: float = UNKNOWN
    arc_kib: float = UNKNOWN
    """The cache of ZFS, and what it does not shrink below."""
    arc_min_kib: float = UNKNOWN
    zram_kib: float = UNKNOWN
    """Memory that zram takes for what was swapped to it, and how much that was."""
    zram_swapped_kib: float = UNKNOWN
    page_ages: tuple[tuple[float, float, float], ...] | None = None
    """Age (s), anonymous KiB and file KiB of each generation: not used for at least so long, as far as is known."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Traffic:
    """What happened between two samples, or per second of it. NaN: not known, or the guest was rebooted meanwhile."""

    swap_in_kib: float
    swap_out_kib: float
    refault_kib: float
    """Pages that were read again soon after they had been evicted: anonymous ones and, where counted, file pages."""
    major_faults: float
    oom_kills: float
    stall_some_s: float
    stall_full_s: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Rates:
    """How fast things happened between two samples, by the guest's own clock. NaN: not known."""

    swap_in_kib_s: float
    swap_out_kib_s: float
    refault_kib_s: float
    major_faults_s: float
    stall_some: float
    """Share of the time that some task was stalled on memory, 0 to 1."""
    stall_full: float
    """Share of the time that all tasks were."""


_PLAIN = {
    b"MemTotal": "mem_total_kib",
    b"MemFree": "mem_free_kib",
    b"MemAvailable": "mem_available_kib",
    b"Buffers": "buffers_kib",
    b"Cached": "cached_kib",
    b"Shmem": "shmem_kib",
    b"Committed_AS": "committed_kib",
    b"SwapTotal": "swap_total_kib",
    b"SwapFree": "swap_free_kib",
    b"SwapCached": "swap_cached_kib",
    b"swaps_used": "swap_used_kib",
    b"swap_device": "swap_device",
    b"balloon_target": "balloon_target_kib",
    b"balloon_current": "balloon_current_kib",
}
_COUNTERS = {
    b"pswpin": ("swapped_in_kib", PAGE_KIB),
    b"pswpout": ("swapped_out_kib", PAGE_KIB),
    b"refault_anon": ("refaulted_anon_kib", PAGE_KIB),
    b"refault_file": ("refaulted_file_kib", PAGE_KIB),
    b"pgmajfault": ("major_faults", 1),
    b"oom_kill": ("oom_kills", 1),
    b"psi_some_us": ("stalled_some_s", 1e-6),
    b"psi_full_us": ("stalled_full_s", 1e-6),
}
_EXTRAS = {
    b"SReclaimable": ("reclaimable_slab_kib", 1),
    b"Hugetlb": ("huge_pages_kib", 1),
    b"arc_size": ("arc_kib", BYTES_IN_KIB),
    b"arc_c_min": ("arc_min_kib", BYTES_IN_KIB),
    b"zram_used": ("zram_kib", BYTES_IN_KIB),
    b"zram_swapped": ("zram_swapped_kib", 1),
}
"""What only refines the others, some of it of drivers that are not Linux's own. No figure of these spoils a line."""
_AGE = rb"[0-9]{1,%d}:[0-9]{1,10}:[0-9]{1,10}" % MOST_DIGITS
_AGES = re.compile(rb"ages=(%s(?:,%s){0,%d})" % (_AGE, _AGE, GENERATIONS - 1))
_FIELD = re.compile(rb"([A-Za-z_]{1,32})=([0-9]{1,%d}|[0-9]{19,20})" % MOST_DIGITS)
_PARTS = {
    "mem_free_kib": "mem_total_kib",
    "mem_available_kib": "mem_total_kib",
    "reclaimable_slab_kib": "mem_total_kib",
    "huge_pages_kib": "mem_total_kib",
    "arc_kib": "mem_total_kib",
    "arc_min_kib": "mem_total_kib",
    "zram_kib": "mem_total_kib",
    "swap_free_kib": "swap_total_kib",
    "zram_swapped_kib": "swap_total_kib",
}
"""What cannot be more than what it is a part of."""


def parse_sample(line: bytes) -> Sample:
    """Read one line of the sampler, with or without its newline; an older one says less.

    Raises:
        SampleError: it is too long, or anything in it is not as the sampler writes it.

    """
    if len(line) > LONGEST_LINE:
        raise SampleError(f"a line of {len(line)} bytes; at most {LONGEST_LINE} are read")
    head, *words = line.removesuffix(b"\n").split(b" ")
    if head != b"B1":
        raise SampleError(f"a line that begins with {head[:16]!r}, not with B1")
    said, ages = _said(words)
    seq, mono_ms = (_counted(said, key) for key in (b"seq", b"mono_ms"))
    figures = dict(_figure(key, number) for key, number in said.items())
    for part, whole in _PARTS.items():
        if figures.get(part, UNKNOWN) > figures.get(whole, UNKNOWN):  # a negative number of a 32-bit kernel
            figures[part] = UNKNOWN
    return Sample(seq=seq, mono_s=mono_ms / 1000, page_ages=None if ages is None else _page_ages(ages), **figures)


def _said(words: Iterable[bytes]) -> tuple[dict[bytes, int], bytes | None]:
    """Numbers by their names, and the ages of pages, from the words of a line."""
    said: dict[bytes, int] = {}
    ages: bytes | None = None
    for word in words:
        if found := _AGES.fullmatch(word):
            if ages is not None:
                raise SampleError("ages is there twice")
            ages = found[1]
            continue
        match = _FIELD.fullmatch(word)
        if match is None and word.partition(b"=")[0] in _EXTRAS:
            continue
        if match is None:
            raise SampleError(f"{word[:32]!r} is not a name and a number of at most {MOST_DIGITS} digits")
        if match[1] in said:
            raise SampleError(f"{match[1].decode()} is there twice")
        said[match[1]] = int(match[2])
    return said, ages


def _counted(said: dict[bytes, int], key: bytes) -> int:
    """Take out a number that has to be there."""
    if key not in said:
        raise SampleError(f"{key.decode()} is missing")
    number = said.pop(key)
    if number >= 10**MOST_DIGITS:
        raise SampleError(f"{key.decode()} is {number}, more than there can be")
    return number


def _page_ages(text: bytes) -> tuple[tuple[float, float, float], ...]:
    generations = (map(int, generation.split(b":")) for generation in text.split(b","))
    return tuple((age_ms / 1000, float(anon * PAGE_KIB), float(file * PAGE_KIB)) for age_ms, anon, file in generations)


def _figure(key: bytes, number: int) -> tuple[str, float]:
    if key in _EXTRAS:
        name, units = _EXTRAS[key]
        return name, UNKNOWN if number // units > LARGEST_KIB else float(number // units)
    if key in _PLAIN:
        if number not in NEGATIVE and number > LARGEST_KIB:
            raise SampleError(f"{key.decode()} is {number}, more than there can be")
        return _PLAIN[key], UNKNOWN if number in NEGATIVE else float(number)
    if key in _COUNTERS:
        name, unit = _COUNTERS[key]
        if number not in NEGATIVE and number >= 10**MOST_DIGITS:
            raise SampleError(f"{key.decode()} is {number}, more than there can be")
        return name, UNKNOWN if number in NEGATIVE else number * unit
    raise SampleError(f"{key.decode()} is no figure that the sampler sends")


def traffic(earlier: Sample, later: Sample) -> Traffic:
    """What happened between two samples of a guest, which need not be neighbours."""
    rebooted = later.mono_s <= earlier.mono_s

    def grown(name: str) -> float:
        by: float = getattr(later, name) - getattr(earlier, name)
        return UNKNOWN if rebooted or by < 0 else by

    file = grown("refaulted_file_kib")
    anonymous = grown("refaulted_anon_kib") if not math.isnan(later.refaulted_anon_kib) else 0.0
    return Traffic(
        swap_in_kib=grown("swapped_in_kib"),
        swap_out_kib=grown("swapped_out_kib"),
        refault_kib=file + anonymous,
        major_faults=grown("major_faults"),
        oom_kills=grown("oom_kills"),
        stall_some_s=grown("stalled_some_s"),
        stall_full_s=grown("stalled_full_s"),
    )


def rates(earlier: Sample, later: Sample) -> Rates:
    """Per second of the guest's own clock; what cannot be known, as after a reboot, is NaN."""
    passed_s = later.mono_s - earlier.mono_s
    if passed_s <= 0:
        return Rates(**{field.name: UNKNOWN for field in fields(Rates)})
    between = traffic(earlier, later)
    return Rates(
        swap_in_kib_s=between.swap_in_kib / passed_s,
        swap_out_kib_s=between.swap_out_kib / passed_s,
        refault_kib_s=between.refault_kib / passed_s,
        major_faults_s=between.major_faults / passed_s,
        stall_some=_share(between.stall_some_s / passed_s),
        stall_full=_share(between.stall_full_s / passed_s),
    )


def _share(value: float) -> float:
    return value if math.isnan(value) else min(1.0, value)
