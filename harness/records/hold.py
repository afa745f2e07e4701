"""Who is at work on a run: one campaign at a time, and whoever comes second hears who the first is."""

from __future__ import annotations

import fcntl
import json
import os
import platform
import shlex
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TextIO

from harness.records.columns import RecordsError, Stamp, plain
from harness.records.storage import stored

HOLDER = ".holder"
ENDING_S = 3.0
"""For a holder that is just ending: the processes of a killed one follow it within milliseconds, or a little later."""
LOOK_S = 0.02


class HeldError(RecordsError):
    """Somebody else is at work on the run; the message says who."""


@contextmanager
def held(run: Path, *, patience_s: float = ENDING_S) -> Iterator[None]:
    """Hold a run for this process and those that it forks. It is let go when all of them have ended, however they do.

    Raises:
        HeldError: another process holds it.

    """
    with stored(run / HOLDER), (run / HOLDER).open("a+", encoding="utf-8") as file:
        until_s = time.monotonic() + patience_s
        while not _locked(file):
            if time.monotonic() > until_s:
                raise HeldError(f"{run} is being worked on by {_told(file)}")
            time.sleep(LOOK_S)
        file.truncate(0)
        file.write(json.dumps(_ourselves()))
        file.flush()
        try:
            yield
        finally:
            file.truncate(0)


@contextmanager
def choosing(folder: Path) -> Iterator[None]:
    """Let one process at a time look for a run in this folder and begin to hold it; others wait. It leaves no file."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)


def _locked(file: TextIO) -> bool:
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _ourselves() -> dict[str, object]:
    command = shlex.join(["ballast", *sys.argv[1:]])
    return {"pid": os.getpid(), "host": platform.node(), "since": Stamp.now().utc, "command": command}


def _told(file: TextIO) -> str:
    """Who holds it, and what to do."""
    file.seek(0)
    try:
        said = json.loads(file.read())
        who = f"process {said['pid']} on {said['host']} since {said['since']} ({said['command']})"
        stop = f"kill {int(said['pid'])}"
    except (ValueError, KeyError, TypeError):  # it has only just begun, or is ending
        who, stop = "another process", "look for it with: ps -C ballast,python3 -f"
    return plain(f"{who}. Wait until it has ended, or stop it ({stop}); the same command then goes on where it was")
