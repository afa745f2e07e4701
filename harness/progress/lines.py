"""Progress for the person who waits.

Inside an Ansible task, standard output is kept back until the task ends. The callback plugin of the playbook therefore
starts a process that shares its standard output (`harness/heartbeat.py`) and tells us in an environment variable how to
reach it. Where there is none, lines go to standard error.
"""

from __future__ import annotations

import os
import socket
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress

from harness.progress.plain import one_line

EVERY_S = 8.0
"""A person should never wait longer than this for a sign of life."""
SOCKET_VARIABLE = "BALLAST_PROGRESS_SOCKET"
LONGEST_LINE = 1000


def printer() -> Callable[[str], None]:
    """Return what prints a line where the person sees it."""
    if path := os.environ.get(SOCKET_VARIABLE):
        listener = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        with suppress(OSError):
            listener.connect(path)
            return lambda line: listener.sendall(line[:LONGEST_LINE].encode(errors="replace")) if line else None
    return to_standard_error


def to_standard_error(line: str) -> None:
    """Print a line there."""
    sys.stderr.write(line + "\n")


class Progress:
    """Says what goes on. Repeats the last line, with the seconds it has lasted, when nothing new comes for a while."""

    def __init__(self, write: Callable[[str], None] | None = None) -> None:
        self._write = write or printer()
        self._start_s = time.monotonic()
        self._lock = threading.Lock()
        self._last = ""
        self._said_s = self._start_s

    def say(self, line: str) -> None:
        """Print one line now."""
        with self._lock:
            self._last, self._said_s = line, time.monotonic()
            self._print(line)

    def _print(self, line: str) -> None:
        elapsed_s = time.monotonic() - self._start_s
        with suppress(OSError, ValueError):  # nobody reads any more: the work goes on
            self._write(f"  [{elapsed_s:5.0f} s] {one_line(line, LONGEST_LINE)}")

    @contextmanager
    def alive(self, more: Callable[[], str] | None = None) -> Iterator[None]:
        """While inside, never be silent for longer than `EVERY_S`; `more` adds what is known by then."""
        done = threading.Event()

        def beat() -> None:
            while not done.wait(1.0):
                with self._lock:
                    now_s = time.monotonic()
                    if now_s - self._said_s >= EVERY_S:
                        self._said_s = now_s
                        self._print(more() if more else f"… {self._last}")

        thread = threading.Thread(target=beat, daemon=True, name="progress")
        thread.start()
        try:
            yield
        finally:
            done.set()
            thread.join()
