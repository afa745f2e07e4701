"""Lets memtester write patterns into memory and compare, and counts what it finds wrong.

memtester is kept from locking its memory, so that the kernel can swap it and the balloon can take what it leaves: this
is to find a page that came back with other content than it left with. The tests named by the mask follow each other,
loop after loop, until the deadline.

The result: `tests_per_s`, finished tests per second, up to the moment when the last one ended, since a run has time for
few; `errors`, comparisons that failed.
"""

from __future__ import annotations

import argparse
import contextlib
import time
from collections.abc import Mapping
from pathlib import Path

from programs import POLL_S, Failed, Program, conclude, scratch
from touching import Over, Run

NAMES = ("Stuck Address", "Random Value", "Compare XOR", "Compare SUB", "Compare MUL", "Compare DIV", "Compare OR",
         "Compare AND", "Sequential Increment", "Solid Bits", "Block Sequential", "Checkerboard", "Bit Spread",
         "Bit Flip", "Walking Ones", "Walking Zeroes", "8-bit Writes", "16-bit Writes")  # fmt: skip
UNLOCKED = ["setpriv", "--bounding-set=-ipc_lock", "--inh-caps=-ipc_lock", "prlimit", "--memlock=0:0"]
LOOPS = 1_000_000  # more than any run can do


def tests_done(said: str) -> int:
    """How many tests memtester says have ended without an error."""
    lines = (line.replace("\b", "").strip() for line in said.splitlines())
    return sum(line.startswith(NAMES) and line.endswith("ok") for line in lines)


def followed(run: Run, program: Program) -> tuple[int, float]:
    """Wait until the run or the program ends; how many tests were done, and when the last of them was seen to be."""
    done, ended_s, rest = 0, 0.0, ""
    with program.log.open(encoding="utf-8", errors="replace") as log, contextlib.suppress(Over):
        while program.status is None:
            run.sleep_until(time.monotonic() + POLL_S)
            whole, _, rest = (rest + log.read()).rpartition("\n")
            if more := tests_done(whole):
                done, ended_s = done + more, run.elapsed_s
    return done, ended_s


def measure(run: Run, mib: int, tests: int, folder: Path) -> Mapping[str, float]:
    """Test until the deadline."""
    environment = {"MEMTESTER_TEST_MASK": str(tests)} if tests else {}
    run.begin()
    program = Program([*UNLOCKED, "memtester", f"{mib}M", str(LOOPS)], folder / "output", environment=environment)
    done, ended_s = followed(run, program)
    elapsed_s = run.elapsed_s
    program.require()
    program.end()
    errors = program.said.count("FAILURE")
    if errors:
        raise Failed(f"{errors} comparisons failed: {program.said[program.said.index('FAILURE') :][:300]}")
    if not done:
        raise Failed(f"no test ended within {elapsed_s:.0f} s; give it fewer MiB or cheaper tests")
    return {"tests_per_s": done / ended_s, "errors": errors, "elapsed_s": elapsed_s}


def main() -> None:
    """Run until the deadline or a signal, then report."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--mib", type=int, required=True)
    parser.add_argument("--tests", type=int, required=True, help="memtester's mask of tests; 0: all of them")
    parser.add_argument("--data", required=True)
    parser.add_argument("--duration-s", type=float, required=True)
    arguments = parser.parse_args()
    run = Run(arguments.duration_s)

    def work() -> Mapping[str, float]:
        with scratch(arguments.data) as folder:
            return measure(run, arguments.mib, arguments.tests, folder)

    conclude(run, work)


if __name__ == "__main__":
    main()
