"""Runs a program again and again until the deadline, and averages the number that it prints each time.

For programs that measure themselves (7-Zip, John the Ripper). A run that the deadline cuts short does not count; the
first one may end a little later, so that a slow guest has a number too. What does not end well, or prints no number,
fails the whole.

The result: `number`, the mean over the runs; `runs`.
"""

from __future__ import annotations

import argparse
import re
import statistics
from collections.abc import Mapping
from pathlib import Path

from programs import CHECK_S, Failed, Program, conclude, scratch, which
from touching import Run

SUFFIXES = {"": 1, "K": 1_000, "M": 1_000_000}


def number_in(said: str, pattern: str) -> float:
    """Return the number that a program printed: the pattern's first group, with the suffix that follows it.

    Raises:
        Failed: there is none.

    """
    found = re.findall(rf"{pattern}([KM]?)\b", said, re.MULTILINE)
    if not found:
        last = " | ".join(said.strip().splitlines()[-3:]) or "nothing"
        raise Failed(f"no number in what it printed, which ends with: {last}")
    number, suffix = found[-1]
    return float(number) * SUFFIXES[suffix]


def repeat(run: Run, argv: list[str], pattern: str, folder: Path) -> Mapping[str, float]:
    """Run the program until the deadline."""
    numbers: list[float] = []
    while True:
        program = Program(argv, folder / "output")
        status = program.follow(run)
        if status is None and not numbers and not run.stopped:
            status = program.wait(CHECK_S)
        if status is None:
            program.end()
            break
        if status:
            raise program.failure()
        numbers.append(number_in(program.said, pattern))
        run.progress(f"{len(numbers)} runs, the last one {numbers[-1]:g}")
        if run.elapsed_s >= run.deadline_s - run.start_s:
            break
    if not numbers:
        raise Failed("it was told to stop before the first run had ended")
    return {"number": statistics.fmean(numbers), "runs": len(numbers), "elapsed_s": run.elapsed_s}


def main() -> None:
    """Run until the deadline or a signal, then report."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--program", required=True, help="its name; or several, of which the first there is is taken")
    parser.add_argument("--number", required=True, metavar="REGEX", help="one group around the number")
    parser.add_argument("--data", required=True)
    parser.add_argument("--duration-s", type=float, required=True)
    parser.add_argument("arguments", nargs="*")
    arguments = parser.parse_args()
    run = Run(arguments.duration_s)

    def work() -> Mapping[str, float]:
        with scratch(arguments.data) as folder:
            argv = [which(*arguments.program.split(",")), *arguments.arguments]
            run.begin()
            return repeat(run, argv, arguments.number, folder)

    conclude(run, work)


if __name__ == "__main__":
    main()
