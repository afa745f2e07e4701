"""How a command ends: its exit codes, what a person can mend in one message, and signals that stop it like Ctrl-C."""

from __future__ import annotations

import signal
import sys
import threading
import traceback
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from enum import IntEnum

from harness.compiled import CompileError
from harness.experiment.away import HostAwayError
from harness.experiment.document import ConfigError
from harness.lab.image import LabError
from harness.policies import PolicyError
from harness.records import RecordsError, refused
from harness.service.door import DoorError
from harness.simulator.cluster import ClusterError
from harness.simulator.workers import WorkerError
from harness.view import ViewError
from harness.xen.host import HostError
from harness.xen.ssh import ConnectionFailed

USER_ERRORS = (
    ConfigError,
    PolicyError,
    ViewError,
    RecordsError,
    LabError,
    HostError,
    HostAwayError,
    ConnectionFailed,
    ClusterError,
    CompileError,
    WorkerError,
    DoorError,
)
OUR_FAULT = (
    "ballast: that is a fault of ballast itself, not of your input; what had ended is kept. Please report it with the "
    'lines above, the command and the manifest.json of its run (CONTRIBUTING.md, "Report a fault")'
)
STOPPING = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


class Exit(IntEnum):
    """What the exit codes of all commands mean."""

    DONE = 0
    SOME_TRIAL_FAILED = 1
    BAD_INPUT = 2
    OUR_FAULT = 70
    """EX_SOFTWARE of sysexits.h: an error that ballast did not foresee, and must not be taken for a failed trial."""
    STOPPED = 130
    """By Ctrl-C, as shells have it: 128 and the number of the signal."""
    UNHEARD = 141
    """Whoever read what was printed has gone; likewise."""


def told(error: Exception) -> Exit:
    """Say what has ended a command, and return its exit code, also where nothing more can be written."""
    known = error if isinstance(error, USER_ERRORS) else refused(error) if isinstance(error, OSError) else None
    with suppress(OSError):
        if known is not None:
            print(f"ballast: {known}", file=sys.stderr, flush=True)
        else:
            traceback.print_exception(error)
            print(OUR_FAULT, file=sys.stderr, flush=True)
    return Exit.OUR_FAULT if known is None else Exit.BAD_INPUT


@contextmanager
def stopped_by_signals() -> Iterator[None]:
    """While inside, SIGTERM and a terminal that goes away stop like Ctrl-C. Once: what follows is cleaning up."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    # One that is ignored, as by nohup, stays so.
    before = {number: signal.getsignal(number) for number in STOPPING}
    heeded = [number for number, handler in before.items() if handler is not signal.SIG_IGN]

    def stop(*_: object) -> None:
        for number in heeded:
            signal.signal(number, signal.SIG_IGN)
        raise KeyboardInterrupt

    for number in heeded:
        signal.signal(number, stop)
    try:
        yield
    finally:
        for number in heeded:
            if signal.getsignal(number) is stop:  # a second one is still to come where the first came
                signal.signal(number, before[number])
