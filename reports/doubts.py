"""What of a run is not what was sealed, or cannot be read: said before all that hangs on it."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

from harness.records import NOT_SEALED, Run, read_run
from reports import words
from reports.document import Block, Paragraph
from reports.language import joined, phrase

FEEDS = {
    "samples.csv": "{} of run {} cannot be read: where the memory was is not known, nor whether a policy ever decided.",
    "decisions.jsonl": "{} of run {} cannot be read: no figure that looks at single decisions is drawn, nor shadows.",
    "events.jsonl": "{} of run {} cannot be read: nothing in this report is made of it.",
}
"""What a report has to do without."""


class LackingError(ValueError):
    """What a figure is made of cannot be read."""


def read(path: Path, say: Callable[[str], None]) -> Run:
    """Read what can be read of a run, and say what is doubtful of it."""
    say(f"reading {path}")
    run = read_run(path, whole=False)
    for doubt in run.doubts():
        say(doubt)
    for why in run.unread.values():
        say(f"the report is made without a file: {why}")
    return run


def lacks(runs: Sequence[Run], name: str) -> bool:
    """Whether of some run nothing can be read of a file."""
    return any(name in run.unread for run in runs)


def need(runs: Sequence[Run], name: str) -> None:
    """See that a file can be read of every run.

    Raises:
        LackingError: of one it cannot.

    """
    if lacks(runs, name):
        raise LackingError(phrase("{} cannot be read.", name))


def blocks(runs: Sequence[Run]) -> Iterator[Block]:
    """Yield what is doubtful of runs; nothing where all is as it was sealed, or was not sealed yet."""
    parts = []
    for run in runs:
        if doubtful := altered(run):
            parts.append(
                phrase(
                    "Of run {}: {}. What is said here of it may not be what was recorded.",
                    run.manifest["run"], words.semicolon().join(doubtful),
                )
            )  # fmt: skip
    for name, means in FEEDS.items():
        if of := [str(run.manifest["run"]) for run in runs if name in run.unread]:
            parts.append(phrase(means, name, words.listed(of)))
    if parts:
        yield Paragraph(lead=phrase("Not as it was sealed."), text=joined(parts))


def altered(run: Run) -> list[str]:
    """Return the files of a run that are damaged or not what was sealed, each with what it is."""
    changed = {
        name: phrase(what)
        for name, what in run.changed_files.items()
        if what != NOT_SEALED and name not in run.unread  # of which more is said
    }
    found = changed | {name: phrase("damaged ({})", why) for name, why in run.damage.items()}
    return [f"{name} {what}" for name, what in sorted(found.items()) if name in run.damage or "/" not in name]
