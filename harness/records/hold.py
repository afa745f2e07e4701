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

from harness.progress.plain import plain
from harness.records.columns import RecordsError, Stamp
from harness.records.storage import stored

HOLDER = ".holder"
CHOOSING_S = 30.0
"""Manifests are read in milliseconds; on a network's disk, and with several who wait, in seconds."""
LOOK_S = 0.02
_LOOK = "look for it with: ps -ef | grep -e ballast -e harness"


class HeldError(RecordsError):
    """Somebody else is at work on the run; the message says who."""


@contextmanager
def held(run: Path) -> Iterator[None]:
    """Hold a run for this process and those that it forks. It is let go when all of them have ended, however they do.

    Raises:
        HeldError: another process holds it.

    """
    with stored(run / HOLDER), (run / HOLDER).open("a+", encoding="utf-8") as file:
        if not _locked(file):
            raise HeldError(f"{run} is being worked on by {_told(file)}")
        file.truncate(0)
        file.write(json.dumps(_ourselves()))
        file.flush()
        try:
            yield
        finally:
            file.truncate(0)


@contextmanager
def choosing(folder: Path) -> Iterator[None]:
    """Let one process at a time look for a run in this folder and begin to hold it. It leaves no file.

    Raises:
        HeldError: another one has been at it for longer than that takes.

    """
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        until_s = time.monotonic() + CHOOSING_S
        while not _locked(descriptor):
            if time.monotonic() > until_s:
                said = f"another process has been looking for a run there for {CHOOSING_S:.0f} s"
                raise HeldError(f"{folder}: {said}; {_LOOK}")
            time.sleep(LOOK_S)
        yield
    finally:
        os.close(descriptor)


def _locked(file: TextIO | int) -> bool:
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
        who, stop = "another process", _LOOK
    return plain(f"{who}. Wait until it has ended, or stop it ({stop}); the same command then goes on where it was")
