"""A trial on several hosts: each does its own part at the same time, and the work begins on all of them at once."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable, Mapping
from concurrent.futures import FIRST_EXCEPTION, ThreadPoolExecutor, wait
from functools import partial

from harness.records import TrialRow

LOOK_S = 1.0
"""How often who waits for the others does what must be done meanwhile; by the controller's time, for each host has its
own."""
Watch = Callable[[str], None]
Begin = Callable[[Callable[[], None]], None]
"""Returns when work may begin; what it is given is called once in a while until then."""
Part = Callable[[Begin, Watch], list[TrialRow]]


class GivenUpError(Exception):
    """Another part of the trial has come to nothing, or somebody stopped it: this one ends too."""


class Start:
    """The moment at which work begins: when the last of those that take part is ready for it."""

    def __init__(self, parts: Iterable[str]) -> None:
        self._due = set(parts)
        self._changed = threading.Condition()
        self._given_up = False

    def wait(self, part: str, meanwhile: Callable[[], None]) -> None:
        """Return when all parts are ready or have ended.

        Raises:
            GivenUpError: the trial was given up.

        """
        self.leave(part)
        while not self._all_here():
            meanwhile()

    def leave(self, part: str) -> None:
        """Wait for this one no more: it is ready, or has ended."""
        with self._changed:
            self._due.discard(part)
            self._changed.notify_all()

    def give_up(self) -> None:
        """Let nobody begin, or go on."""
        with self._changed:
            self._given_up = True
            self._changed.notify_all()

    def check(self) -> None:
        """Raise GivenUpError where the trial was given up."""
        if self._given_up:
            raise GivenUpError

    def _all_here(self) -> bool:
        with self._changed:
            here = self._changed.wait_for(lambda: self._given_up or not self._due, LOOK_S)
        self.check()
        return here


def at_once(meanwhile: Callable[[], None]) -> None:
    """For a trial on one host: nobody is waited for."""


def together(parts: Mapping[str, Part], watch: Watch) -> list[TrialRow]:
    """Run the parts of a trial, by the names of their hosts, side by side; return the rows of all.

    A part that fails has rows that say so, and the others go on. One that raises, and whoever interrupts this, gives up
    the whole trial: what was raised is raised here once the others have ended, each within a tick.
    """
    start, seen = Start(parts), dict.fromkeys(parts, "")

    def run(host: str) -> list[TrialRow]:
        def look(what: str) -> None:
            start.check()
            seen[host] = what
            watch("; ".join(f"{name}: {said}" for name, said in seen.items() if said))

        try:
            return parts[host](partial(start.wait, host), look)
        except BaseException:
            start.give_up()
            raise
        finally:
            start.leave(host)

    with ThreadPoolExecutor(len(parts)) as pool:
        futures = [pool.submit(run, host) for host in parts]
        try:
            wait(futures, return_when=FIRST_EXCEPTION)
        except BaseException:
            start.give_up()
            raise
    faults = [error for future in futures if (error := future.exception()) is not None]
    if faults:
        raise next((error for error in faults if not isinstance(error, GivenUpError)), faults[0])
    return [row for future in futures for row in future.result()]
