"""Grows and shrinks its memory like a triangle, and touches all of it, pass after pass.

A pass writes one byte into each page of the present footprint. Passes are asked for at a fixed pace, so that the
processor is idle in between while memory is ample; a pass that has to wait for pages delays the next. The footprint
follows the clock and not the passes: whatever the policy, the same memory is wanted at the same time. Taking the memory
is part of the work, from its first MiB on.

The result: `touched_mib_per_s`, MiB touched per second of wall time, counted page by page (with ample memory: passes
per second times the mean footprint); `passes_per_s`; `lost_s`, the time by which passes ended after the next was due.
"""

from __future__ import annotations

import argparse

from touching import SEGMENT_PAGES, Memory, Over, Run, Schedule


def footprint_mib(time_s: float, low_mib: int, high_mib: int, rate_mib_s: float, hold_s: float) -> int:
    """MiB wanted at a time: `hold_s` low, up at `rate_mib_s`, `hold_s` high, down at `rate_mib_s`, and again."""
    ramp_s = (high_mib - low_mib) / rate_mib_s
    period_s = 2 * (hold_s + ramp_s)
    at_s = time_s % period_s if period_s else 0.0
    from_peak_s = abs(at_s - hold_s - ramp_s - hold_s / 2)  # the middle of the high hold is where the period mirrors
    return round(min(high_mib, max(low_mib, high_mib - (from_peak_s - hold_s / 2) * rate_mib_s)))


def one_pass(run: Run, memory: Memory, arguments: argparse.Namespace, mark: int) -> None:
    """Touch the whole footprint once, while it goes on growing or shrinking with the time."""
    index = 0
    while True:
        memory.resize(
            footprint_mib(run.elapsed_s, arguments.low_mib, arguments.high_mib, arguments.rate_mib_s, arguments.hold_s)
        )
        if index >= memory.mib:
            return
        memory.touch(index, mark)
        index += 1


def main() -> None:
    """Run until the deadline or a signal, then report."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--low-mib", type=int, required=True)
    parser.add_argument("--high-mib", type=int, required=True)
    parser.add_argument("--rate-mib-s", type=float, required=True)
    parser.add_argument("--hold-s", type=float, required=True)
    parser.add_argument("--passes-per-s", type=float, required=True, help="asked for; 0: as many as can be done")
    parser.add_argument("--duration-s", type=float, required=True)
    arguments = parser.parse_args()
    if not (0 < arguments.low_mib <= arguments.high_mib and arguments.rate_mib_s > 0 and arguments.hold_s >= 0):
        parser.error("needs 0 < low-mib <= high-mib, rate-mib-s > 0 and hold-s >= 0")

    run = Run(arguments.duration_s)
    memory = Memory(run)
    run.begin()
    schedule = Schedule(run, arguments.passes_per_s)
    passes = passed_pages = 0
    try:
        while True:
            one_pass(run, memory, arguments, mark=passes % 255 + 1)
            passes, passed_pages = passes + 1, memory.touched_pages
            run.progress(f"footprint {memory.mib} MiB, {passes} passes, {schedule.lost_s:.1f} s lost")
            schedule.next()
    except Over:
        schedule.late()
    elapsed_s, held_pages = run.elapsed_s, max(1, memory.mib * SEGMENT_PAGES)
    unfinished = min(1.0, (memory.touched_pages - passed_pages) / held_pages)
    run.report(
        {
            "touched_mib_per_s": memory.touched_pages / SEGMENT_PAGES / elapsed_s,
            "passes_per_s": (passes + unfinished) / elapsed_s,
            "lost_s": schedule.lost_s,
            "elapsed_s": elapsed_s,
        }
    )


if __name__ == "__main__":
    main()
