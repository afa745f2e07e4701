"""What an arbiter writes in every tick of a trial, and what happens between them."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import ExitStack, suppress
from functools import cache
from operator import itemgetter
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO

import orjson

from harness.progress.plain import plain
from harness.records.columns import SAMPLE_COLUMNS, Stamp, TrialKey
from harness.records.decision import decision_record, tick_record
from harness.records.storage import refused
from harness.records.whole import RUN_FILES

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
TICK_FILES = ("samples.csv", "decisions.jsonl", "events.jsonl")
"""What is written while a trial runs; its results follow when it ends."""


class TickWriter:
    """The records of one arbiter in one trial, in a folder that is there.

    `host` is whose they are, where a trial has several: each has its own clock, its own t = 0 and its own ticks.
    """

    def __init__(self, path: Path, key: TrialKey, *, stamp: Callable[[], Stamp], at_once: bool, host: str = "") -> None:
        self.path, self.key, self.host = path, key, host
        self._stamp, self._at_once = stamp, at_once
        self.refusal: Exception | None = None
        """Why something could not be written: what lacks it cannot be finished."""
        self._closing = ExitStack()
        with ExitStack() as failed:
            failed.callback(self.close)
            self._samples, self._decisions, self._events = map(self._file, TICK_FILES)
            failed.pop_all()
        self._name_csv = cache(lambda name: line_csv((name,)))
        self.started = stamp()
        self.ticks = 0

    def close(self) -> None:
        """Close the files."""
        with suppress(OSError):  # a full disk is told again; what `finish` has not seen written is discarded anyway
            self._closing.close()

    def flush(self) -> None:
        """Hand over what waits to the operating system.

        Raises:
            OSError: it does not take it.

        """
        for file in (self._samples, self._decisions, self._events):
            file.flush()

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
        self._write_line(self._decisions, self.key.columns() | when | self._whose() | line)
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
        self._put(self._samples, encoded("".join(rows)))

    def event(self, event: str, *, guest: str | None = None, detail: str = "") -> None:
        """Write something that happened in this trial."""
        now = self._stamp()
        key = {name: value for name, value in self.key.columns().items() if name != "policy"}
        line = key | {"utc": now.utc, "mono_s": now.mono_s, "event": event, "guest": guest, "detail": plain(detail)}
        self._write_line(self._events, line | self._whose())

    def _whose(self) -> dict[str, str]:
        return {"host": self.host} if self.host else {}

    def _file(self, name: str) -> BinaryIO:
        file = self._closing.enter_context((self.path / name).open("xb", -1 if self._at_once else BUFFER))
        file.write(encoded(RUN_FILES[name]))
        return file

    def _write_line(self, file: BinaryIO, line: Mapping[str, Any]) -> None:
        try:
            text = orjson.dumps(line)
        except TypeError:  # a text that is no UTF-8
            text = encoded(json.dumps(line, ensure_ascii=False, allow_nan=False, separators=(",", ":")))
        self._put(file, text + b"\n")

    def _put(self, file: BinaryIO, data: bytes) -> None:
        """Write to a file. A trial of which something could not be written cannot be finished."""
        try:
            file.write(data)
            if self._at_once:
                file.flush()
        except OSError as error:
            self.refusal = refused(error, self.path) or error
            raise self.refusal from error

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


def encoded(text: str) -> bytes:
    """As UTF-8. A guest's output can hold bytes that are none; they must not stop the trial."""
    return text.encode(errors="backslashreplace")
