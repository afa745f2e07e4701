"""Other people's programs in a workload: started so that none outlives us, waited for, driven, taken down.

Runs on the guest's own Python (3.9 or newer) with nothing but its standard library. A guest that thrashes is slow in
all of it: what is waited for may take as long as it takes until the run begins, then as long as the run lasts, and what
follows the run has its own limits.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import NoReturn

from touching import Over, Run

POLL_S = 0.1
END_S = 10.0  # for a program to end when it is told to; the harness gives a run a minute after its time
CHECK_S = 30.0  # for a look at what was done, after the run
LAST_LINES = 4


class Failed(Exception):  # noqa: N818 - what became of the run, not of a call
    """The run is worth nothing; the message says why."""


def conclude(run: Run, work: Callable[[], Mapping[str, float]]) -> NoReturn:
    """Do the work and report its figures, or say why there are none and exit with 1."""
    try:
        figures = work()
    except Over:
        reason = "it was told to stop" if run.stopped else "the time was up"
        print(f"failed: {reason} before anything could be measured", file=sys.stderr, flush=True)
    except (Failed, OSError, subprocess.SubprocessError) as error:
        print(f"failed: {error}", file=sys.stderr, flush=True)
    else:
        run.report(dict(figures))
    os._exit(1)


@contextlib.contextmanager
def scratch(data: str) -> Iterator[Path]:
    """Make a folder for this run alone, and remove it afterwards, with those of runs that were killed."""
    Path(data).mkdir(parents=True, exist_ok=True)
    for leftover in Path(data).glob("run-*"):
        shutil.rmtree(leftover, ignore_errors=True)
    folder = Path(tempfile.mkdtemp(prefix="run-", dir=data))
    folder.chmod(0o755)  # a server that gives up root must read it too
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def bound(argv: Sequence[str], user: str | None = None) -> list[str]:
    """Return the command, such that the kernel kills the program when we end, however we end.

    This does not reach a program that changes its user later (hence `user`), nor the children of one.
    """
    become = [] if user is None else [f"--reuid={user}", f"--regid={user}", "--init-groups"]
    return ["setpriv", "--pdeathsig=KILL", *become, "--", *argv]


class Program:
    """A program that runs beside us, its output in a file.

    It has a session of its own: a signal to our process group is for us, who then decide how the program ends.
    """

    def __init__(
        self,
        argv: Sequence[str],
        log: Path,
        *,
        user: str | None = None,
        environment: Mapping[str, str] | None = None,
        directory: Path | None = None,
    ) -> None:
        """Start it."""
        self.name = Path(argv[0]).name
        self.log = log
        with log.open("wb") as output:
            self._process = subprocess.Popen(
                bound(argv, user),
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                env={**os.environ, **(environment or {})},
                cwd=directory,
                start_new_session=True,
            )

    @property
    def said(self) -> str:
        """All that it printed so far."""
        return self.log.read_text(encoding="utf-8", errors="replace")

    @property
    def status(self) -> int | None:
        """What it ended with; None while it runs."""
        return self._process.poll()

    def send(self, number: int) -> None:
        """Send it a signal, if it still runs."""
        self._process.send_signal(number)

    def wait(self, timeout_s: float) -> int:
        """Return what it ended with. Raises Failed when it does not end in time."""
        try:
            return self._process.wait(timeout_s)
        except subprocess.TimeoutExpired:
            raise Failed(f"{self.name} had not ended after {timeout_s:.0f} s") from None

    def follow(self, run: Run) -> int | None:
        """Wait until it ends (what it ended with) or the run does (None)."""
        with contextlib.suppress(Over):
            while self.status is None:
                run.sleep_until(time.monotonic() + POLL_S)
        return self.status

    def require(self) -> None:
        """Raise Failed when it has ended by itself, which a server must not."""
        if self.status is not None:
            raise self.failure()

    def failure(self) -> Failed:
        """How it ended and what it said last."""
        last = " | ".join(self.said.strip().splitlines()[-LAST_LINES:]) or "it said nothing"
        status = self.status or 0
        how = f"was killed by signal {-status}" if status < 0 else f"ended with {status}"
        return Failed(f"{self.name} {how}: {last}")

    def end(self, number: int = signal.SIGTERM) -> None:
        """Tell it to end, and kill it if it does not."""
        for each in (number, signal.SIGKILL):
            self.send(each)
            with contextlib.suppress(Failed):
                self.wait(END_S)
                return


@contextlib.contextmanager
def serving(program: Program, run: Run, ready: Callable[[], bool], number: int = signal.SIGTERM) -> Iterator[Program]:
    """Wait until a server is ready, and take it down afterwards. Raises Failed when it ends instead."""
    try:
        while not ready():
            program.require()
            run.sleep_until(time.monotonic() + POLL_S)
        yield program
        program.require()
    finally:
        program.end(number)


def ask(argv: Sequence[str], *, user: str | None = None, timeout_s: float = CHECK_S) -> str:
    """Run a command to its end and return what it printed. Raises Failed when it fails or takes too long."""
    try:
        done = subprocess.run(
            bound(argv, user), stdin=subprocess.DEVNULL, capture_output=True, check=False, timeout=timeout_s
        )
    except subprocess.TimeoutExpired:
        raise Failed(f"{Path(argv[0]).name} did not answer within {timeout_s:.0f} s") from None
    printed = done.stdout.decode(errors="replace")
    if done.returncode:
        said = (done.stderr.decode(errors="replace") or printed).strip().splitlines()[-LAST_LINES:]
        raise Failed(f"{' '.join(argv)[:200]}: exit {done.returncode}: {' | '.join(said)}")
    return printed


def which(*names: str) -> str:
    """Return the first of these programs that is installed; distributions differ. Raises Failed when none is."""
    found = next((path for name in names if (path := shutil.which(name, path=f"{os.environ['PATH']}:/usr/sbin"))), None)
    if found is None:
        raise Failed(f"{' or '.join(names)} is not installed; the workload's packages are missing")
    return found


def quantile(values: Sequence[float], share: float) -> float:
    """Return the smallest value that at least `share` of all do not exceed."""
    return sorted(values)[min(len(values) - 1, int(share * len(values)))]
