"""What the signals of an experiment would show of simulated guests: ages of pages, and returns from swap by depth."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from harness.simulator.curves import PAGE_KIB
from harness.simulator.guest import Guest
from harness.view import Curve, FloatArray

DEPTHS = 16
"""Points of a histogram of returns."""


def page_ages(guest: Guest, window_s: float) -> Curve:
    """`(age_s, kib)`: what was used within half the window, within the window, and longer ago."""
    half, whole = (_touched_kib(guest, seconds) for seconds in (window_s / 2, window_s))
    everything = guest.used_kib + guest.cached_kib
    return ((0.0, half), (window_s / 2, whole - half), (window_s, max(0.0, everything - whole)))


def active_kib(guest: Guest, window_s: float) -> float:
    """What was touched within the window; all that a guest uses while it swaps, for its kernel then ages by itself."""
    return guest.used_kib if guest.swapped_kib > 0 else _touched_kib(guest, window_s)


def ghost_returns(guest: Guest, swap_in_kib_s: float) -> Curve:
    """`(depth_kib, kib_per_s)`: by how much more memory would have kept what came back.

    By strict LRU a cycle returns at the depth of all that is swapped; touches at random return as they are popular.
    """
    if swap_in_kib_s <= 0 or guest.swapped_kib <= 0:
        return ()
    if guest.load.cyclic:
        return ((guest.swapped_kib, swap_in_kib_s),)
    ends = np.linspace(guest.resident_kib, guest.footprint_kib, DEPTHS + 1)
    hits: FloatArray = guest.law.hottest(ends / guest.footprint_kib, guest.footprint_kib)
    parts = np.diff(hits)
    if not parts.any():  # what is swapped belongs to nobody's work
        return ()
    rates = swap_in_kib_s * parts / parts.sum()
    return tuple(zip((ends[1:] - ends[0]).tolist(), rates.tolist(), strict=True))


def _touched_kib(guest: Guest, seconds: float) -> float:
    """What its programs and work reach within a time: of the footprint, of files, and what has just been leaked."""
    touches, reads = guest.ops_s * guest.load.touches * seconds, guest.ops_s * guest.load.reads * seconds
    anonymous = min(guest.resident_kib, guest.law.touched(touches, guest.footprint_kib)) if guest.footprint_kib else 0.0
    files = min(guest.cached_kib, reads * PAGE_KIB)
    leaked = min(guest.leaked_here_kib, guest.leaking_kib_s * seconds)
    return guest.machine.own_mib * 1024.0 + anonymous + files + leaked


def known(guests: Sequence[Guest], window_s: float) -> tuple[tuple[Curve, ...], FloatArray]:
    """The columns `page_ages` and `active_kib` of a view."""
    active = np.array([active_kib(guest, window_s) for guest in guests])
    return tuple(page_ages(guest, window_s) for guest in guests), active
