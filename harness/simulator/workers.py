"""Processes that work for this one, and end with it however it ends."""

from __future__ import annotations

import multiprocessing
import os
import signal
import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from concurrent.futures.process import BrokenProcessPool
from contextlib import ExitStack, contextmanager
from typing import TypeVar

from harness.progress.owner import wait_readable

T = TypeVar("T")
R = TypeVar("R")

FORK = multiprocessing.get_context("fork")
"""Forked workers hold with us what we hold: nobody else begins before the last of them has ended."""
SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


class WorkerError(RuntimeError):
    """A worker died under its work."""


def map_in_processes(jobs: int, work: Callable[[T], R], items: Sequence[T]) -> Iterator[R]:
    """Do the work of every item in so many processes; yields the results as they are done, in any order.

    Whatever ends this early, an error, Ctrl-C or the death of this process by any signal, ends the workers at once.

    Raises:
        WorkerError: one of them was killed.

    """
    with ExitStack() as stack:
        leash, ours = os.pipe()
        stack.callback(os.close, leash)
        pool = ProcessPoolExecutor(jobs, mp_context=FORK, initializer=_obey, initargs=(leash, ours))
        stack.callback(pool.shutdown, wait=True, cancel_futures=True)
        stack.callback(os.close, ours)  # before the pool is waited for: what is still at work then ends
        try:
            with _deaf():
                futures = [pool.submit(work, item) for item in items]
            for future in as_completed(futures):
                yield future.result()
        except BrokenProcessPool as error:
            raise WorkerError(
                "a process that ran trials was killed, by somebody or for want of memory; the same command goes on "
                "with what it had not ended, and --jobs with a smaller number takes less memory"
            ) from error


@contextmanager
def _deaf() -> Iterator[None]:
    """Let no signal in before it is clear who is to hear it: workers that are forked in here would take it as we do."""
    before = signal.pthread_sigmask(signal.SIG_BLOCK, SIGNALS)
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def _obey(leash: int, ours: int) -> None:
    """Make this process end when nobody holds the other end of the leash, and by every signal, without a word."""
    os.close(ours)
    for number in SIGNALS:
        signal.signal(number, signal.SIG_DFL)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, SIGNALS)

    def watch() -> None:
        wait_readable([leash])
        os._exit(1)

    threading.Thread(target=watch, daemon=True, name="leash").start()
