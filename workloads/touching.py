"""Memory that is really touched, on a schedule, until a deadline: what mono.py, random_touch.py and leak.py share.

Runs on the guest's own Python (3.9 or newer) with nothing but its standard library.
"""

from __future__ import annotations

import contextlib
import json
import math
import mmap
import os
import signal
import sys
import time
from collections.abc import Iterator

PAGE = 4096
MIB = 1024 * 1024
SEGMENT_PAGES = MIB // PAGE
CHUNK_PAGES = 64  # between two looks at the clock
PROGRESS_S = 5.0


class Over(Exception):  # noqa: N818 - not an error: the time is up, or somebody asked to stop
    """The run has ended."""


class Run:
    """A run's deadline and its reports; SIGTERM and SIGINT end it early, and what it did so far is still reported.

    Until `begin` it gets ready: there is no deadline, and whoever is told to stop then has nothing to report.
    """

    def __init__(self, duration_s: float) -> None:
        """Get ready for a run that lasts so long."""
        self.duration_s = duration_s
        self.start_s = time.monotonic()
        self.deadline_s = math.inf
        self.stopped = False
        self._begun = False
        self._progress_s = self.start_s + PROGRESS_S
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, self._stop)

    def begin(self) -> None:
        """Say that all is ready, wait for the word, and start the clock. Exits with 1 when the word does not come."""
        print("ready", flush=True)
        word = b""
        with contextlib.suppress(OSError):  # there is no input at all
            while not word.endswith(b"\n") and (more := os.read(0, 1)):
                word += more
        if word.strip() != b"go":
            sys.exit("failed: it was never told to go; by hand: echo go | " + " ".join(sys.argv[:1]) + " ...")
        self.start()

    def start(self) -> None:
        """Start the clock now: for what waits for no word, such as a preparation."""
        self.start_s = time.monotonic()
        self.deadline_s = self.start_s + self.duration_s
        self._progress_s = self.start_s + PROGRESS_S
        self._begun = True

    def _stop(self, _number: int, _frame: object) -> None:
        told, self.stopped = self.stopped, True
        if not self._begun and not told:
            sys.exit("failed: it was told to stop before it was told to go")

    @property
    def elapsed_s(self) -> float:
        """Seconds since the word; before it, since it began to get ready."""
        return time.monotonic() - self.start_s

    def check(self) -> float:
        """Return the time. Raises Over when the run is to end."""
        now = time.monotonic()
        if self.stopped or now >= self.deadline_s:
            raise Over
        return now

    def sleep_until(self, time_s: float) -> None:
        """Sleep in steps short enough to notice a signal. Raises Over when the run ends meanwhile."""
        while (now := self.check()) < time_s:
            time.sleep(min(time_s, self.deadline_s, now + 0.1) - now)

    def progress(self, text: str) -> None:
        """Say every few seconds, on standard error, how far the run is."""
        now = time.monotonic()
        if now >= self._progress_s:
            self._progress_s = now + PROGRESS_S
            print(f"{now - self.start_s:.1f} s: {text}", file=sys.stderr, flush=True)

    def report(self, figures: dict[str, float]) -> None:
        """Print the result, one JSON line, the last on standard output; and end.

        At once: the interpreter's own farewell reads back, page by page, what a squeezed guest has swapped out of it.
        """
        ended = "signal" if self.stopped else "deadline"
        print(json.dumps({**figures, "ended": ended}), flush=True)
        os._exit(0)


class Schedule:
    """Steps asked for at a fixed pace; `lost_s` is the time by which steps ended after the next one was due."""

    def __init__(self, run: Run, per_s: float) -> None:
        """Steps begin `1/per_s` apart, the first now; 0 asks for as many as can be done."""
        self._run = run
        self._interval_s = 1 / per_s if per_s else 0.0
        self._due_s = time.monotonic() + self._interval_s
        self.lost_s = 0.0

    def next(self) -> None:
        """Wait until the next step is due. One that is overdue begins at once, and the schedule goes on from there."""
        if self.late():
            self._due_s = time.monotonic()
        else:
            self._run.sleep_until(self._due_s)
        self._due_s += self._interval_s

    def late(self) -> bool:
        """Add the time by which the step is late, if it is."""
        late_s = time.monotonic() - self._due_s
        if self._interval_s and late_s > 0:
            self.lost_s += late_s
        return late_s > 0


class Memory:
    """Anonymous private memory in segments of 1 MiB: what is not held is not committed either."""

    def __init__(self, run: Run) -> None:
        """Hold nothing yet."""
        self._run = run
        self._segments: list[mmap.mmap] = []
        self._content = os.urandom(CHUNK_PAGES * PAGE)  # swap that compresses, or merges equal pages, gains nothing
        self.touched_pages = 0

    @property
    def mib(self) -> int:
        """MiB held."""
        return len(self._segments)

    def resize(self, mib: int) -> None:
        """Hold so much: take and fill new segments, or give the last ones back to the kernel."""
        while self.mib > mib:
            self._segments.pop().close()
        while self.mib < mib:
            segment = mmap.mmap(-1, MIB, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
            with contextlib.suppress(OSError):  # a kernel without huge pages
                segment.madvise(mmap.MADV_NOHUGEPAGE)
            self._segments.append(segment)
            for first, last in self._chunks():
                segment[first * PAGE : last * PAGE] = self._content[: (last - first) * PAGE]

    def touch(self, index: int, mark: int) -> None:
        """Write one byte into every page of a segment."""
        segment = self._segments[index]
        for first, last in self._chunks():
            segment[first * PAGE : last * PAGE : PAGE] = bytes([mark]) * (last - first)
            self.touched_pages += last - first

    def touch_page(self, page: int, mark: int) -> None:
        """Write one byte into one page."""
        self._segments[page // SEGMENT_PAGES][page % SEGMENT_PAGES * PAGE] = mark
        self.touched_pages += 1

    def _chunks(self) -> Iterator[tuple[int, int]]:
        """The pages of a segment in chunks, with a look at the clock before each.

        All of a size: were they smaller where pages come slowly, no two runs would do the same work.
        """
        for first in range(0, SEGMENT_PAGES, CHUNK_PAGES):
            self._run.check()
            yield first, first + CHUNK_PAGES
