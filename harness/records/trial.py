"""What the loop writes while one trial runs; of a live one every tick is on its way to the disk before the next."""

from __future__ import annotations

import csv
import io
import math
import os
import secrets
import shutil
from collections.abc import Callable, Iterable, Mapping
from dataclasses import asdict
from typing import Any, Self

from harness.progress.plain import plain
from harness.records.columns import TRIAL_COLUMNS, RecordsError, Stamp, TrialKey, TrialRow
from harness.records.folder import RunFolder
from harness.records.storage import TEMPORARY, stored, write_whole
from harness.records.ticks import TICK_FILES, TickWriter, encoded
from harness.records.whole import DONE, RUN_FILES, certificate, fault

HOSTS = "hosts"
"""A folder of an attempt: what the arbiters of several hosts have written, until the trial ends."""


class TrialWriter(TickWriter):
    """Writes one trial aside, into a folder of its own; `finish` makes it part of the run, in one step.

    An earlier attempt at the same trial that did not end is discarded, one that had ended and is damaged is put into
    `damaged/`, and an event says so. `stamp` tells the time: the simulator gives one of virtual time.
    """

    def __init__(
        self, run_folder: RunFolder, key: TrialKey, *, stamp: Callable[[], Stamp] = Stamp.now, at_once: bool = True
    ) -> None:
        """Begin a trial. `at_once`: every tick is on its way to the disk before the next one; else when it suits.

        Raises:
            RecordsError: this (block, order) has ended already, the key names another run, or nothing can be written.

        """
        self._run, self._place = run_folder, run_folder.trial(key.folder)
        path = self._place.with_name(f"{key.folder}.{secrets.token_hex(4)}{TEMPORARY}")
        if key.run != run_folder.run:
            raise RecordsError(
                f"trial key of run {key.run!r} in {run_folder.path}; use the run's own name {run_folder.run!r}"
            )
        if not run_folder.resumable:
            raise RecordsError(
                f"{run_folder.path / 'trials'} is missing; restore it to resume this run, or start a new one"
            )
        with stored(path):
            damaged, discarded = self._put_damaged_aside(), self._discard()
            path.mkdir()
            super().__init__(path, key, stamp=stamp, at_once=at_once)
        self._parts: list[TickWriter] = []
        if damaged:
            self.event("trial_damaged", detail=damaged)
        for ticks in discarded:
            self.event("attempt_discarded", detail=f"an attempt that did not end was discarded with {ticks} ticks")

    def on(self, host: str, stamp: Callable[[], Stamp]) -> TickWriter:
        """Return where the arbiter of one of several hosts writes; `finish` puts them together, one after the other.

        Raises:
            RecordsError: nothing can be written.

        """
        path = self.path / HOSTS / host
        with stored(path):
            path.mkdir(parents=True)
            part = TickWriter(path, self.key, stamp=stamp, at_once=self._at_once, host=host)
        self._parts.append(part)
        return part

    def __enter__(self) -> Self:
        """Return the writer; leaving the block without `finish` leaves the trial unfinished."""
        return self

    def __exit__(self, *exc: object) -> None:
        """Close the files."""
        for part in self._parts:
            part.close()
        self.close()

    def finish(self, rows: Iterable[TrialRow], *, commit: bool = True) -> None:
        """End the trial with its results, one row a guest and metric, and make it part of the run.

        A trial that failed has rows too. With `commit=False` the run's files follow at the next `RunFolder.commit()`.

        Raises:
            RecordsError: no rows, or something of the trial could not be written.

        """
        trial = self.key.columns() | {"experiment": self._run.experiment, "backend": self._run.backend}
        trial |= {"level": self.key.level}
        records = [trial | _row(row) for row in rows]
        if not records:
            raise RecordsError(f"{self.path}: a trial without rows; a trial that failed is a row with its reason")
        for writer in (self, *self._parts):
            if writer.refusal is not None:
                raise writer.refusal
        with stored(self.path):
            self._put_together()
            results = self._file("trials.csv")
            text = io.StringIO()
            csv.DictWriter(text, TRIAL_COLUMNS, lineterminator="\n").writerows(map(_csv, records))
            results.write(encoded(text.getvalue()))
            for file in (self._samples, self._decisions, self._events, results):
                file.flush()
                os.fsync(file.fileno())
            self.close()
            ticks = self.ticks + sum(part.ticks for part in self._parts)
            said = certificate(self.path, self.key.columns(), ticks=ticks, rows=len(records))
            write_whole(self.path / DONE, said)
            if self._place.exists():
                raise RecordsError(f"{self._place}: another process has ended this trial; start the same command again")
            self.path = self.path.rename(self._place)
        if commit:
            self._run.commit()

    def _put_together(self) -> None:
        """Append what the hosts' arbiters have written, in the order in which they began."""
        for part in self._parts:
            part.flush()
            for name, file in zip(TICK_FILES, (self._samples, self._decisions, self._events), strict=True):
                with (part.path / name).open("rb") as source:
                    source.seek(len(RUN_FILES[name].encode()))
                    shutil.copyfileobj(source, file)
            part.close()
        if self._parts:
            shutil.rmtree(self.path / HOSTS)

    def _put_damaged_aside(self) -> str:
        """Make way where the trial had ended and is damaged; return what is to be said of that."""
        place = self._place
        if not (place / DONE).exists():
            return ""
        if not (why := fault(place, self._run.manifest)):
            raise RecordsError(f"{place} has ended already; skip what RunFolder.finished() names")
        aside = self._run.path / "damaged" / f"{place.name}.{secrets.token_hex(4)}"
        aside.parent.mkdir(exist_ok=True)
        place.rename(aside)
        return f"{why}; what there is of it is kept in damaged/{aside.name}"

    def _discard(self) -> list[int]:
        """Remove attempts that did not end, those of old in the trial's own place; return how far each had come."""
        ticks = []
        for attempt in (*self._place.parent.glob(f"{self._place.name}.*{TEMPORARY}"), self._place):
            if attempt.exists():
                ticks.append(sum(file.read_bytes().count(b"\n") for file in attempt.rglob("decisions.jsonl")))
                shutil.rmtree(attempt)
        return ticks


def _row(row: TrialRow) -> dict[str, Any]:
    fields = asdict(row)
    started = fields.pop("started")
    return fields | {"started_utc": started["utc"], "started_mono_s": started["mono_s"]}


def _csv(row: Mapping[str, Any]) -> dict[str, Any]:
    return {
        name: "" if value is None or (isinstance(value, float) and math.isnan(value))
        else plain(value) if isinstance(value, str) else value
        for name, value in row.items()
    }  # fmt: skip
