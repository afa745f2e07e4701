"""What guests need, as a host can see it: uncensored, a little ahead, and by what a shortage would do to them.

**Uncensored.** Used memory cannot exceed what a guest has (theory T20). Committed memory can, but counts claims that
are never touched. The difference between what a guest uses and what it has committed is learned while it lacks nothing,
and added to what it has committed when it does: a claim, or a constant lie, cancels out (theory T28).

**Ahead.** A balloon takes a period to be told and seconds to move; committed memory rises at once. What it will have
risen by then is asked for now, and up to four times that if it lately needed so much: who rises goes where it was.

**Cliff or slope.** A program that cycles through its memory gains nothing from half of what it lacks; one that prefers
some pages lives with less of it. Which one a guest is, shows in how much time it waits for pages from swap per part of
its memory that it lacks. What it waits while pages are written out says nothing of that.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field

import numpy as np

from harness.policies.base import MIB
from harness.view import BoolArray, FloatArray, HostView

CALM_KIB_S = 64.0
"""Less swap traffic than this is none."""
STICKY_KIB = 24 * MIB
"""So much in swap, if none of it is read, is of programs that sleep, and not lacking (theory T19)."""
SLIGHT_KIB = 6 * MIB
"""A guest that lacks less lacks nothing."""
BARE_KIB = 4 * MIB
"""What a guest keeps beside what it uses, however short memory is."""
COLD_KIB, COLD_PART = 32 * MIB, 0.25
"""So much that was long not touched is the kernel's and its libraries'; with more than this part there is no cliff."""
WINDOW_S = 30.0
"""Page ages say nothing of a guest that would grow by half in this time: what it has just filled is not touched yet."""
AT_EASE = 0.1
"""Nor of one that stalls more than this: what waits for its turn in a cycle of swapping is not touched either."""
CACHE_STALL = 0.02
"""Share of time lost from which a guest that does not swap is taken to lack page cache."""
FULL = 0.05
"""Part of its memory that is free when page cache has filled the rest."""
CACHE_STEP = 0.08
"""By what part of its memory a guest that lacks page cache is raised at a time."""
READING = 0.2
"""Time lost to pages from swap from which a guest asks for all that it lacks; below, for a part."""
UNREAD = 0.01
"""Below, what it has in swap is not read back, and what it comes to need pushes out more of that: as a leak does."""
GROWING_S, GROWING_STALL = 20.0, 0.3
"""A guest that grew so lately and stalls so much lacks what it is about to use: a cliff, until it is seen otherwise
while it does not rise, also where it does not stall, being served."""
STEEP_S = 120.0
"""Time in which the memory of a cliff fades to 1/e."""
LEAST_PART = 0.02
"""A smaller part that is lacking is too small to divide by."""
MOSTLY_WRITING = 0.9
"""Above so much time lost to writing out, nothing is learned of how a guest bears what it lacks."""
PERIOD_S = 2.0
"""Taken for the period before there are two views; and the time that a balloon takes."""
FAMILIAR = 4.0
"""By how many times its lead a guest is served ahead on a way that it has gone before."""
LONGEST_S = 3600.0
"""A longer gap between two views counts as this."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Demand:
    """What is known of every guest of a view; arrays of its length, sizes in KiB."""

    live: FloatArray
    """What it has and cannot give back without swapping: C less what is available, ZFS's cache included."""
    base: FloatArray
    """What it needs now, within its bounds: all of it for a guest with a cliff, what it has for one with a slope."""
    most: FloatArray
    """What a guest with a slope would like, within its bounds."""
    lead: FloatArray
    """What it is about to need besides."""
    peak: FloatArray
    """The most that it lately needed."""
    rise: FloatArray
    """KiB/s: the fastest that it has lately come to need more."""
    lack: FloatArray
    """What a guest with a slope lacks; 0 for others."""
    steepness: FloatArray
    """Share of its time that a guest with a slope loses per KiB that it lacks."""
    cold: FloatArray
    """Of `live`, what was long not touched, where that is known."""
    caches: BoolArray
    """It lacks page cache, which it gives back without writing anything out."""
    slopes: BoolArray
    """It lives with less than it needs, as far as was seen."""
    known: BoolArray
    """How it bears what it lacks was seen in the last period."""
    done: FloatArray
    """Share of its time that it did not lose, averaged over a turn."""
    first: FloatArray
    """What it had when it was first seen."""
    held: BoolArray
    """It was served whole in its turn when this was last decided."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Habits:
    """How demand is estimated; the parameters of `ballast` of the same names."""

    uncensored: bool
    lead: float
    spare_kib: float
    memory_s: float
    turn_s: float
    smoothing_s: float
    cliff: float


class Seen:
    """What a view shows, and what follows from it at once. What a guest does not say counts as 0."""

    def __init__(self, view: HostView) -> None:
        self.current = view.current_kib
        self.live = np.maximum(view.current_kib - view.available_kib, 0.0)
        self.in_use = view.mem_total_kib - view.available_kib
        self.used, self.free = np.nan_to_num(view.used_kib), np.nan_to_num(view.mem_free_kib)
        self.cached, self.committed = np.nan_to_num(view.cached_kib), view.committed_kib
        self.swapped = np.nan_to_num(view.swap_used_kib)
        self.reading, self.writing = np.nan_to_num(view.swap_in_kib_s), np.nan_to_num(view.swap_out_kib_s)
        self.refaults = np.nan_to_num(view.refault_kib_s) - self.reading
        self.stall = np.minimum(view.stall_some, 1.0)
        traffic = self.reading + self.writing
        self.quiet = traffic < CALM_KIB_S
        self.calm = self.quiet & (self.swapped < STICKY_KIB)
        part = np.where(self.quiet, 1.0, self.reading / np.maximum(traffic, 1.0))
        self.read_stall = self.stall * part
        self.write_stall = self.stall - self.read_stall
        self.oldest = oldest_kib(view)


def oldest_kib(view: HostView) -> FloatArray:
    """Of all its pages, those of the oldest age of a guest's histogram; NaN where page ages are not known."""
    if not any(view.page_ages):
        return np.full(len(view), np.nan)
    return np.array([curve[-1][1] if curve else np.nan for curve in view.page_ages])


@dataclass(slots=True)
class Estimator:
    """Sees view after view. What it remembers of each guest is a column in rows by name; NaN: nothing yet."""

    habits: Habits
    period_s: float = PERIOD_S
    _names: tuple[str, ...] = ()
    _time_s: float = math.nan
    _rows: dict[str, FloatArray] = field(default_factory=dict)

    def look(self, view: HostView) -> Demand:
        """Take in a view, whose guests say what they have, MemTotal, MemAvailable, Committed_AS and stall."""
        self._recall(view)
        seen, habits, low, high = Seen(view), self.habits, view.least_kib, view.max_kib
        missing, rise_kib_s = self._missing(seen), self._rise_kib_s(seen)
        lacking = missing > SLIGHT_KIB
        caches, hot = self._page_cache(seen, rise_kib_s)
        cool = self._cool(seen, rise_kib_s)
        cliffs = lacking & self._cliffs(seen, missing, rise_kib_s, cool)
        cold = np.where(lacking | caches, 0.0, cool * seen.used)
        slopes = ((lacking | caches) & ~cliffs) | (cold > 0)
        lack = np.where(slopes, missing + np.where(caches, seen.cached, 0.0), 0.0)
        known = slopes & (seen.write_stall < MOSTLY_WRITING)
        lead = rise_kib_s * (PERIOD_S + self.period_s) * habits.lead
        beside = np.where(slopes, 0.0, np.where(cliffs, missing, 0.0) + BARE_KIB)
        base = np.clip(seen.live + hot + beside, low, high)
        waits = self._averaged("reads", seen.read_stall, habits.smoothing_s, seen.read_stall)
        likes = missing * np.minimum(1.0, waits / READING) + np.where(caches, CACHE_STEP * seen.current, 0.0)
        likes = likes + np.where(lacking & (waits <= UNREAD), 0.0, lead)
        most = np.clip(base + np.where(slopes, likes, 0.0), base, high)
        wanted = np.maximum(most, base + np.where(slopes, 0.0, habits.spare_kib - BARE_KIB))
        peak = np.clip(self._fading("peak", wanted, habits.memory_s), low, high)
        familiar = np.where(slopes, 0.0, np.minimum(peak - base, FAMILIAR * lead))
        return Demand(
            live=seen.live, base=base, most=most, lead=np.maximum(lead, familiar), peak=peak, lack=lack, cold=cold,
            rise=self._fading("rise", rise_kib_s, STEEP_S), caches=caches, slopes=slopes, known=known,
            steepness=self._steepness(seen, lack, caches, slopes, known),
            done=self._averaged("done", 1 - seen.stall, habits.turn_s, 1.0),
            first=self._keep("first", self._last("first", seen.current)),
            held=self._last("held", 0.0) > 0,
        )  # fmt: skip

    def served_whole(self, served: BoolArray) -> None:
        """Remember who, of the guests of the last view, has been served whole in its turn."""
        self._keep("held", served.astype(float))

    def _missing(self, seen: Seen) -> FloatArray:
        """What a guest lacks: K + offset - live, no more than it has in swap; offset = live - K when it was calm."""
        offset = self._keep("offset", np.where(seen.calm, seen.live - seen.committed, self._last("offset", np.nan)))
        learned = ~np.isnan(offset) & self.habits.uncensored
        missing = np.where(learned, seen.committed + offset - seen.live, seen.swapped)
        return np.where(seen.calm, 0.0, np.clip(missing, 0.0, seen.swapped))

    def _rise_kib_s(self, seen: Seen) -> FloatArray:
        """How fast its committed memory rises; 0 when it falls."""
        before = self._last("committed", seen.committed)
        return np.maximum(self._keep("committed", seen.committed) - before, 0.0) / self.period_s

    def _page_cache(self, seen: Seen, rise_kib_s: FloatArray) -> tuple[BoolArray, FloatArray]:
        """Whether it lacks page cache, and how much of what it has was needed lately; not while it comes to need more.

        One that fills memory of its own drops its page cache and stalls for it too, and what it lacks is not that.
        """
        filled = seen.quiet & (seen.free < FULL * seen.current)
        stalls = (seen.stall > CACHE_STALL) & (rise_kib_s < CALM_KIB_S)
        caches = stalls & ((seen.refaults > CALM_KIB_S) | filled)
        fading = self._last("hot", 0.0) * self._fades(self.habits.memory_s)
        return caches, self._keep("hot", np.where(caches, seen.cached, np.minimum(fading, seen.cached)))

    def _cool(self, seen: Seen, rise_kib_s: FloatArray) -> FloatArray:
        """The part of its used memory that was long not touched, as page ages last told it; 0 once it is read back."""
        tells = ~np.isnan(seen.oldest) & (seen.stall < AT_EASE) & (rise_kib_s * WINDOW_S < seen.used / 2)
        untouched = np.maximum(np.nan_to_num(seen.oldest) - seen.cached - COLD_KIB, 0.0)
        last = np.where(seen.read_stall > READING, 0.0, self._last("cool", 0.0))
        return self._keep("cool", np.where(tells, untouched / np.maximum(seen.used, 1.0), last))

    def _cliffs(self, seen: Seen, missing: FloatArray, rise_kib_s: FloatArray, cool: FloatArray) -> BoolArray:
        """Whether a guest that lacks memory loses all by it: as was seen, or because it grows into it."""
        part = missing / np.maximum(seen.in_use + missing, 1.0)
        shows = (missing > SLIGHT_KIB) & (seen.reading > CALM_KIB_S)
        steep = np.where(shows, seen.read_stall / np.maximum(part, LEAST_PART), 0.0)
        steep = self._keep("steep", np.maximum(steep, self._last("steep", 0.0) * self._fades(STEEP_S)))
        grew = self._keep("grew", np.maximum(rise_kib_s > 0, self._last("grew", 0.0) * self._fades(GROWING_S)))
        stall = self._averaged("stall", seen.stall, self.habits.smoothing_s, seen.stall)
        unseen = (self._last("grows", 0.0) > 0) & (~shows | (rise_kib_s > CALM_KIB_S))
        grows: BoolArray = (grew > 1 / math.e) & ((stall > GROWING_STALL) | unseen) & (cool < COLD_PART)
        self._keep("grows", (grows & (missing > SLIGHT_KIB)).astype(float))
        return grows | (steep > self.habits.cliff)

    def _steepness(
        self, seen: Seen, lack: FloatArray, caches: BoolArray, slopes: BoolArray, known: BoolArray
    ) -> FloatArray:
        """Time lost to reading, of that not lost to writing out, over what is lacking; averaged while it is known."""
        loses = np.where(caches, seen.stall, seen.read_stall / np.maximum(1 - seen.write_stall, 0.2))
        loses = loses / np.maximum(lack, 1.0)
        sloped = self._last("sloped", 0.0) > 0
        self._keep("sloped", slopes.astype(float))
        before = np.where(sloped, self._last("steepness", loses), loses)
        now = np.where(known, loses + (before - loses) * self._fades(self.habits.smoothing_s), before)
        return self._keep("steepness", now)

    def _recall(self, view: HostView) -> None:
        """Order what is remembered as the guests of the view, and see how much time has passed."""
        if view.names != self._names:
            at = {name: i for i, name in enumerate(self._names)}
            order = np.array([at.get(name, -1) for name in view.names])
            self._rows = {key: np.append(row, np.nan)[order] for key, row in self._rows.items()}
            self._names = view.names
        elapsed_s = view.time_s - self._time_s
        self.period_s = min(elapsed_s, LONGEST_S) if elapsed_s > 0 else PERIOD_S
        self._time_s = view.time_s

    def _fades(self, tau_s: float) -> float:
        return math.exp(-self.period_s / tau_s)

    def _last(self, key: str, otherwise: FloatArray | float) -> FloatArray:
        """What was kept, or something else where nothing was."""
        if (row := self._rows.get(key)) is None:
            return np.full(len(self._names), otherwise)
        return np.where(np.isnan(row), otherwise, row)

    def _keep(self, key: str, row: FloatArray) -> FloatArray:
        self._rows[key] = row
        return row

    def _averaged(self, key: str, sample: FloatArray, tau_s: float, start: FloatArray | float) -> FloatArray:
        """The exponential average of all samples."""
        return self._keep(key, sample + (self._last(key, start) - sample) * self._fades(tau_s))

    def _fading(self, key: str, sample: FloatArray, tau_s: float) -> FloatArray:
        """The largest sample, fading towards the last one."""
        return self._keep(key, sample + np.maximum(self._last(key, 0.0) - sample, 0.0) * self._fades(tau_s))
