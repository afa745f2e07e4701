"""Touches random pages of a steady footprint, some pages more often than others.

`uniform`: every page is as likely. `zipf`: the page of rank r has a weight of 1/r^exponent; ranks are dealt over the
footprint at random, so that popular pages are no neighbours. All pages are filled before the clock starts, then touches
are asked for at a fixed pace, in small groups; a group that has to wait for pages delays the next.

The result: `touches_per_s`, touches per second of wall time (with ample memory: the pace that was asked for);
`lost_s`, the time by which groups ended after the next one was due.
"""

from __future__ import annotations

import argparse
import random
from array import array
from collections.abc import Sequence
from itertools import accumulate

from touching import CHUNK_PAGES, SEGMENT_PAGES, Memory, Over, Run, Schedule

GROUPS_PER_S = 25.0  # often enough for an even load, seldom enough for a slow processor


class Popularity:
    """Draws pages by their popularity; the same seed draws the same pages."""

    def __init__(self, law: str, exponent: float, pages: int, seed: int) -> None:
        """Deal the ranks over the pages."""
        self._random = random.Random(seed)
        self._ranked: Sequence[int] = range(pages)
        self._weights: array[float] | None = None
        if law == "zipf":
            chance = [self._random.random() for _ in range(pages)]
            self._ranked = array("I", sorted(range(pages), key=chance.__getitem__))
            self._weights = array("d", accumulate(rank**-exponent for rank in range(1, pages + 1)))

    def draw(self, count: int) -> list[int]:
        """Draw pages, with repetition."""
        return self._random.choices(self._ranked, cum_weights=self._weights, k=count)


def main() -> None:
    """Run until the deadline or a signal, then report."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--footprint-mib", type=int, required=True)
    parser.add_argument("--law", choices=("uniform", "zipf"), required=True)
    parser.add_argument("--exponent", type=float, default=1.0, help="of zipf")
    parser.add_argument("--touches-per-s", type=float, required=True, help="asked for; 0: as many as can be done")
    parser.add_argument("--seed", type=int, required=True)
    parser.add_argument("--duration-s", type=float, required=True)
    arguments = parser.parse_args()
    if arguments.footprint_mib <= 0 or arguments.touches_per_s < 0:
        parser.error("needs footprint-mib > 0 and touches-per-s >= 0")

    run = Run(arguments.duration_s)
    memory = Memory(run)
    group = CHUNK_PAGES
    if arguments.touches_per_s:
        group = min(CHUNK_PAGES, max(1, round(arguments.touches_per_s / GROUPS_PER_S)))
    pages = arguments.footprint_mib * SEGMENT_PAGES
    popularity = Popularity(arguments.law, arguments.exponent, pages, arguments.seed)
    memory.resize(arguments.footprint_mib)
    run.begin()
    schedule = Schedule(run, arguments.touches_per_s / group)
    try:
        while True:
            for page in popularity.draw(group):
                run.check()
                memory.touch_page(page, mark=page % 255 + 1)
            run.progress(f"{memory.touched_pages} touches, {schedule.lost_s:.1f} s lost")
            schedule.next()
    except Over:
        schedule.late()
    elapsed_s = run.elapsed_s
    run.report({"touches_per_s": memory.touched_pages / elapsed_s, "lost_s": schedule.lost_s, "elapsed_s": elapsed_s})


if __name__ == "__main__":
    main()
