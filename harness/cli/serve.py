"""`ballast balance --config`: the service by its own file; and what every way of balancing has of its caller."""

from __future__ import annotations

import signal
import sys
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path

from harness.experiment.document import ConfigError
from harness.governor import Trust
from harness.progress.plain import one_line, plain
from harness.records import Stamp
from harness.service.arbiter import Keep
from harness.service.file import load_service
from harness.service.standing import Standing
from harness.service.trust import TrustFile


def stand(file: Path, *, check: bool, dry_run: bool) -> None:
    """Balance as the file says until SIGTERM or Ctrl-C; SIGHUP has it read again.

    Raises:
        ConfigError: the file cannot be used.

    """
    if check:
        service = load_service(file)
        print(f"{file}: {service.host.address}, {len(service.guests)} kinds of guests, {service.policy.label} decides")
        return
    asked = {signal.SIGHUP: False, signal.SIGTERM: False, signal.SIGINT: False}

    def note(number: int, _: object) -> None:
        asked[signal.Signals(number)] = True

    for number in asked:
        signal.signal(number, note)

    def reload() -> bool:
        wanted, asked[signal.SIGHUP] = asked[signal.SIGHUP], False
        return wanted

    def stopped() -> bool:
        return asked[signal.SIGTERM] or asked[signal.SIGINT]

    standing = Standing(file, tell, stopped=stopped, reload=reload, dry_run=dry_run)
    path = standing.service.trust
    known, keep = ({}, keep_nothing) if path is None or dry_run else remembered(path)
    standing.run(known, keep)
    standing.event("stopped", "", "the guests keep what they have")


def remembered(path: Path) -> tuple[dict[str, Trust], Keep]:
    """What a file has kept of how guests follow, and what keeps it there from now on."""
    if not path.parent.is_dir():
        raise ConfigError(f"trust: {path}: there is no folder {path.parent}")
    file = TrustFile(path)
    known, ignored = file.read()
    if ignored:
        say(f"ballast: {ignored}")

    def keep(trust: Mapping[str, Trust], at_end: bool) -> None:
        try:
            file.keep(trust, at_once=at_end)
        except OSError as error:
            say(f"ballast: trust: {path}: {error.strerror}; it is not up to date")

    return known, keep


def keep_nothing(trust: Mapping[str, Trust], at_end: bool) -> None:
    """Without a file, or in a dry run, nothing is remembered."""


def tell(event: str, guest: str, detail: str) -> None:
    """One line of the service's log. Raises OSError or ValueError where it cannot be written; the reporter copes."""
    if sys.stderr is None:  # it was closed when we started; print would take standard output instead
        raise ValueError("standard error is closed")
    words = filter(None, (Stamp.now().utc, event, one_line(guest), one_line(detail)))
    print(" ".join(words), file=sys.stderr, flush=True)


def say(line: str) -> None:
    """For the person who may watch; that nobody does, or that a disk is full, is no reason to stop."""
    with suppress(OSError, ValueError):
        if sys.stderr is not None:
            print(plain(line), file=sys.stderr, flush=True)
