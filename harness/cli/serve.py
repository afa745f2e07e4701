"""`ballast balance --config`: the service by its own file; and what every way of balancing has of its caller."""

from __future__ import annotations

import signal
import sys
from collections.abc import Mapping
from pathlib import Path

from harness.experiment.document import ConfigError
from harness.governor import Trust
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
    tell("stopped", "", "the guests keep what they have")


def remembered(path: Path) -> tuple[dict[str, Trust], Keep]:
    """What a file has kept of how guests follow, and what keeps it there from now on."""
    if not path.parent.is_dir():
        raise ConfigError(f"trust: {path}: there is no folder {path.parent}")
    file = TrustFile(path)
    known, ignored = file.read()
    if ignored:
        print(f"ballast: {ignored}", file=sys.stderr)

    def keep(trust: Mapping[str, Trust], at_end: bool) -> None:
        try:
            file.keep(trust, at_once=at_end)
        except OSError as error:
            print(f"ballast: trust: {path}: {error.strerror}; it is not up to date", file=sys.stderr)

    return known, keep


def keep_nothing(trust: Mapping[str, Trust], at_end: bool) -> None:
    """Without a file, or in a dry run, nothing is remembered."""


def tell(event: str, guest: str, detail: str) -> None:
    """Say an event, where a service's log is."""
    print(" ".join(filter(None, (Stamp.now().utc, event, guest, detail))), file=sys.stderr, flush=True)
