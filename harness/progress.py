"""Progress for the person who waits.

Inside an Ansible task standard output is kept back until the task ends. A line of progress therefore goes to where the
playbook itself prints: standard output of the ansible-playbook above us, if there is one, else our standard error.
"""

from __future__ import annotations

import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TextIO

from harness.owner import playbook_pid

EVERY_S = 8.0
"""A person should never wait longer than this for a sign of life."""


def open_stream() -> TextIO:
    """Where lines of progress go."""
    if (pid := playbook_pid()) is not None:
        with suppress(OSError):
            return Path(f"/proc/{pid}/fd/1").open("a", buffering=1)
    return sys.stderr


class Progress:
    """Says what goes on. Repeats the last line, with the seconds it has lasted, when nothing new comes for a while."""

    def __init__(self, stream: TextIO | None = None) -> None:
        self._stream = stream or open_stream()
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
            print(f"  [{elapsed_s:5.0f} s] {line}", file=self._stream, flush=True)

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
