"""What the loop writes while one trial runs; of a live one every tick is on its way to the disk before the next."""

from __future__ import annotations

import csv
import io
import json
import math
import os
import secrets
import shutil
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import ExitStack, suppress
from dataclasses import asdict
from functools import cache
from operator import itemgetter
from typing import TYPE_CHECKING, Any, BinaryIO, Self

import orjson

from harness.progress.plain import plain
from harness.records.columns import SAMPLE_COLUMNS, TRIAL_COLUMNS, RecordsError, Stamp, TrialKey, TrialRow
from harness.records.decision import decision_record, tick_record
from harness.records.folder import RunFolder
from harness.records.storage import TEMPORARY, refused, stored, write_whole
from harness.records.whole import DONE, RUN_FILES, certificate, fault

if TYPE_CHECKING:  # types only: the records can be read without the policies or a host
    from harness.governor import Plan
    from harness.policies.base import Allocation, Policy
    from harness.ports import Outcome
    from harness.view import HostView


SEEN = ("age_s", "current_kib")
_AFTER = tuple(SAMPLE_COLUMNS)[tuple(SAMPLE_COLUMNS).index("target_kib") + 1 :]
SEEN_TOO = _AFTER[: _AFTER.index("state")]
SEEN_LAST = _AFTER[_AFTER.index("state") + 1 :]
"""The figures that a sample has of a guest's view, before and after what was decided about it, and after the state."""

BUFFER = 1 << 20
"""Bytes of a file that may wait where not every tick is on its way to the disk before the next one."""


class TrialWriter:
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
        self.key = key
        self._run, self._stamp, self._at_once = run_folder, stamp, at_once
        self._place = run_folder.trial(key.folder)
        self.path = self._place.with_name(f"{key.folder}.{secrets.token_hex(4)}{TEMPORARY}")
        self._refusal: Exception | None = None
        if key.run != run_folder.run:
            raise RecordsError(
                f"trial key of run {key.run!r} in {run_folder.path}; use the run's own name {run_folder.run!r}"
            )
        if not run_folder.resumable:
            raise RecordsError(
                f"{run_folder.path / 'trials'} is missing; restore it to resume this run, or start a new one"
            )
        self._closing = ExitStack()
        with stored(self.path), ExitStack() as failed:
            failed.callback(self.close)
            damaged, discarded = self._put_damaged_aside(), self._discard()
            self.path.mkdir()
            self._samples, self._decisions, self._events = map(
                self._file, ("samples.csv", "decisions.jsonl", "events.jsonl")
            )
            failed.pop_all()
        self._name_csv = cache(lambda name: line_csv((name,)))
        self.started = stamp()
        self.ticks = 0
        if damaged:
            self.event("trial_damaged", detail=damaged)
        for ticks in discarded:
            self.event("attempt_discarded", detail=f"an attempt that did not end was discarded with {ticks} ticks")

    def __enter__(self) -> Self:
        """Return the writer; leaving the block without `finish` leaves the trial unfinished."""
        return self

    def __exit__(self, *exc: object) -> None:
        """Close the files."""
        self.close()

    def close(self) -> None:
        """Close the files; the trial stays unfinished unless `finish` was called."""
        with suppress(OSError):  # a full disk is told again; what `finish` has not seen written is discarded anyway
            self._closing.close()

    def begin(self) -> None:
        """The work begins now: from here on `trial_s` counts."""
        self.started = self._stamp()

    def tick(
        self,
        view: HostView,
        allocation: Allocation,
        policy: Policy,
        plan: Plan,
        outcome: Outcome,
        timing: Mapping[str, float],
        *,
        names: Sequence[str] | None = None,
        shadow: Mapping[str, Any] | None = None,
    ) -> None:
        """Write one tick: a decision line and one sample row a guest.

        `view` holds all guests; `names` are those the allocation covers, in its order, when that is not all of them.
        `timing` has `collect_s`, `decide_s` and `apply_s`. `shadow` is label → `decision_record` of those that watch.

        Raises:
            RecordsError: the allocation does not fit the names.

        """
        decision = decision_record(policy, view.names if names is None else names, allocation)
        line = tick_record(view, decision, plan, outcome, timing) | ({"shadow": dict(shadow)} if shadow else {})
        now = self._stamp()
        self.ticks += 1
        asked, sent = decision["targets_kib"], line["plan"]["targets_kib"]
        when = {"tick": self.ticks, "utc": now.utc, "mono_s": now.mono_s, "trial_s": self._trial_s(now)}
        self._write_line(self._decisions, self.key.columns() | when | line)
        guests = line["view"]["guests"]
        seen, seen_too, seen_last = itemgetter(*SEEN), itemgetter(*SEEN_TOO), itemgetter(*SEEN_LAST)
        figures = numbers_csv(
            [(*seen(guest), asked.get(guest["name"]), sent.get(guest["name"]), *seen_too(guest)) for guest in guests]
        )
        last = numbers_csv([seen_last(guest) for guest in guests])
        head = line_csv((*self.key.columns().values(), *when.values()))
        state = line_csv((plain(allocation.state or ""),))
        rows = (
            f"{head},{self._name_csv(guest['name'])},{row},{state},{rest}\n"
            for guest, row, rest in zip(guests, figures, last, strict=True)
        )
        self._put(self._samples, _encoded("".join(rows)))

    def event(self, event: str, *, guest: str | None = None, detail: str = "") -> None:
        """Write something that happened in this trial."""
        now = self._stamp()
        key = {name: value for name, value in self.key.columns().items() if name != "policy"}
        line = key | {"utc": now.utc, "mono_s": now.mono_s, "event": event, "guest": guest, "detail": plain(detail)}
        self._write_line(self._events, line)

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
        if self._refusal is not None:
            raise self._refusal
        with stored(self.path):
            results = self._file("trials.csv")
            text = io.StringIO()
            csv.DictWriter(text, TRIAL_COLUMNS, lineterminator="\n").writerows(map(_csv, records))
            results.write(_encoded(text.getvalue()))
            for file in (self._samples, self._decisions, self._events, results):
                file.flush()
                os.fsync(file.fileno())
            self.close()
            said = certificate(self.path, self.key.columns(), ticks=self.ticks, rows=len(records))
            write_whole(self.path / DONE, said)
            if self._place.exists():
                raise RecordsError(f"{self._place}: another process has ended this trial; start the same command again")
            self.path = self.path.rename(self._place)
        if commit:
            self._run.commit()

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
                decisions = attempt / "decisions.jsonl"
                ticks.append(decisions.read_bytes().count(b"\n") if decisions.exists() else 0)
                shutil.rmtree(attempt)
        return ticks

    def _file(self, name: str) -> BinaryIO:
        file = self._closing.enter_context((self.path / name).open("xb", -1 if self._at_once else BUFFER))
        file.write(_encoded(RUN_FILES[name]))
        return file

    def _write_line(self, file: BinaryIO, line: Mapping[str, Any]) -> None:
        try:
            text = orjson.dumps(line)
        except TypeError:  # a text that is no UTF-8
            text = _encoded(json.dumps(line, ensure_ascii=False, allow_nan=False, separators=(",", ":")))
        self._put(file, text + b"\n")

    def _put(self, file: BinaryIO, data: bytes) -> None:
        """Write to a file. A trial of which something could not be written cannot be finished."""
        try:
            file.write(data)
            if self._at_once:
                file.flush()
        except OSError as error:
            self._refusal = refused(error, self.path) or error
            raise self._refusal from error

    def _trial_s(self, now: Stamp) -> float:
        return round(now.mono_s - self.started.mono_s, 3)


def line_csv(cells: Iterable[object]) -> str:
    """One line of CSV without its end. A single empty cell is nothing, not the quotes that keep its line from that."""
    line = io.StringIO()
    csv.writer(line, lineterminator="").writerow(cells)
    return "" if line.getvalue() == '""' else line.getvalue()


def numbers_csv(rows: Sequence[Sequence[float | None]]) -> list[str]:
    """Lines of CSV, one a row; None is an empty cell. JSON has the same notation and a much faster writer."""
    return orjson.dumps(rows)[2:-2].replace(b"null", b"").decode().split("],[") if rows else []


def _encoded(text: str) -> bytes:
    """As UTF-8. A guest's output can hold bytes that are none; they must not stop the trial."""
    return text.encode(errors="backslashreplace")


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
