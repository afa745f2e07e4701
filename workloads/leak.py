"""Touches random pages of a steady footprint, and leaks memory: each page written once, and never touched again.

The live set is filled before the clock starts. Then touches of it are asked for at a fixed pace, every page as likely,
in small groups; before each group a whole number of MiB is leaked, as many as are due by the clock. Whatever the
policy, the same memory is wanted at the same time; a group that has to wait for it delays the next.

The result: `touches_per_s`, touches of the live set per second of wall time (with ample memory: the pace that was asked
for); `leaked_mib`, what was leaked until the end; `lost_s`, the time by which groups ended after the next one was due.
"""

from __future__ import annotations

import argparse
import random

from touching import CHUNK_PAGES, SEGMENT_PAGES, Memory, Over, Run, Schedule

GROUPS_PER_S = 25.0  # as random_touch.py


def main() -> None:
    """Run until the deadline or a signal, then report."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--live-mib", type=int, required=True)
    parser.add_argument("--touches-per-s", type=float, required=True, help="asked for; 0: as many as can be done")
    parser.add_argument("--rate-mib-s", type=float, required=True)
    parser.add_argument("--most-mib", type=int, required=True)
    parser.add_argument("--seed", type=int, required=True)
    parser.add_argument("--duration-s", type=float, required=True)
    arguments = parser.parse_args()
    if arguments.live_mib <= 0 or min(arguments.touches_per_s, arguments.rate_mib_s, arguments.most_mib) < 0:
        parser.error("needs live-mib > 0, and touches-per-s, rate-mib-s and most-mib >= 0")

    run = Run(arguments.duration_s)
    live, leaked, leaked_mib = Memory(run), Memory(run), 0
    group = CHUNK_PAGES
    if arguments.touches_per_s:
        group = min(CHUNK_PAGES, max(1, round(arguments.touches_per_s / GROUPS_PER_S)))
    pages = range(arguments.live_mib * SEGMENT_PAGES)
    chance = random.Random(arguments.seed)
    live.resize(arguments.live_mib)
    run.begin()
    schedule = Schedule(run, arguments.touches_per_s / group)
    try:
        while True:
            due_mib = min(arguments.most_mib, int(arguments.rate_mib_s * run.elapsed_s))
            while leaked_mib < due_mib:
                leaked.resize(leaked_mib + 1)
                leaked_mib += 1
            for page in chance.choices(pages, k=group):
                run.check()
                live.touch_page(page, mark=page % 255 + 1)
            run.progress(f"{live.touched_pages} touches, {leaked_mib} MiB leaked, {schedule.lost_s:.1f} s lost")
            schedule.next()
    except Over:
        schedule.late()
    elapsed_s = run.elapsed_s
    run.report(
        {
            "touches_per_s": live.touched_pages / elapsed_s,
            "leaked_mib": leaked_mib,
            "lost_s": schedule.lost_s,
            "elapsed_s": elapsed_s,
        }
    )


if __name__ == "__main__":
    main()
