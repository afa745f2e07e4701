"""Reads a run back as frames with the promised types; what is not as promised is an error that names its place."""

from __future__ import annotations

import csv
import json
import math
from collections import deque
from collections.abc import Collection, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from harness.records.columns import EVENT_COLUMNS, SAMPLE_COLUMNS, TRIAL_COLUMNS, YOUNGER, RecordsError
from harness.records.doubts import doubts, remedy
from harness.records.folder import RunFolder
from harness.records.sound import contradiction

_DTYPES = {"str": "str", "int": "int64", "float": "float64"}
LATER = ("level",)
"""Numbers that runs of earlier versions do not have; unknown there."""
_TYPES = {"int": int, "float": float}
DECISION_KEYS: Mapping[str, type] = {
    "block": int, "order": int, "policy": str, "label": str, "tick": int,
    "view": dict, "decision": dict, "plan": dict, "outcome": dict,
}  # fmt: skip
"""Without these a line of `decisions.jsonl` tells nothing."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Run:
    """One run as read: frames with the columns of `TRIAL_COLUMNS`, `SAMPLE_COLUMNS` and `EVENT_COLUMNS`."""

    path: Path
    manifest: Mapping[str, Any]
    trials: pd.DataFrame
    samples: pd.DataFrame
    events: pd.DataFrame
    changed_files: Mapping[str, str]
    """Files that are not what the manifest's SHA-256 says; name → missing, changed or not sealed."""
    damage: Mapping[str, str]
    """What else was found damaged; name in the folder → why."""
    unread: Mapping[str, str]
    """Files that nothing can be read of; name → why. The frame of one has no rows."""

    def decisions(self) -> Iterator[dict[str, Any]]:
        """Yield the decision lines one by one: a long run does not fit into memory."""
        return read_decisions(self.path)

    def doubts(self) -> Iterator[str]:
        """Say of each file that is damaged, or is not what was sealed, what that means; `unread` says why of others."""
        changed = {name: what for name, what in self.changed_files.items() if name not in self.unread}
        return doubts(self.path, changed, self.damage)


def read_run(path: Path, *, whole: bool = True) -> Run:
    """Read a run folder. Only trials that have ended are in the frames; unknown numbers are NaN, unknown text is empty.

    Unless it is to be `whole`, what cannot be read besides manifest and trials.csv is `unread`.

    Raises:
        RecordsError: a file or column is missing or malformed; the message names both and the remedy.

    """
    folder = RunFolder.open(path)
    trials, changed = read_trials(path), folder.changed_files()
    if wrong := contradiction(path / "trials.csv", folder.run):
        raise RecordsError(f"{path / 'trials.csv'}: {wrong}; {remedy(path / 'trials.csv')}")
    unread: dict[str, str] = {}

    @contextmanager
    def reading(name: str) -> Iterator[Path]:
        try:
            yield path / name
        except RecordsError as error:
            if whole:
                raise
            unread[name] = str(error)

    samples, events = _empty(SAMPLE_COLUMNS), _empty(EVENT_COLUMNS)
    with reading("samples.csv") as file:
        samples = read_table(file, SAMPLE_COLUMNS, later=YOUNGER, finite=True)
    with reading("events.jsonl") as file:
        events = _events(file)
    with reading("decisions.jsonl") as file:
        # What is as sealed was read when it was sealed; what else may be a long run's, and is read only for this.
        if not whole and (file.name in folder.damage or (folder.sealed and file.name in changed)):
            deque(read_decisions(path), maxlen=0)
    ended = folder.committed()
    return Run(
        path=path,
        manifest=folder.manifest,
        trials=trials,
        samples=_of(samples, ended),
        events=_of(events, ended),
        changed_files=changed,
        damage=folder.damage,
        unread=unread,
    )


def read_trials(path: Path) -> pd.DataFrame:
    """Read the results of the run in a folder without anything else of it.

    Raises:
        RecordsError: as `read_run`.

    """
    return read_table(path / "trials.csv", TRIAL_COLUMNS, later=LATER)


def read_decisions(path: Path) -> Iterator[dict[str, Any]]:
    """Yield the decision lines of the run in a folder one by one, without anything else of it.

    Raises:
        RecordsError: naming the line that is not as promised.

    """
    file = path / "decisions.jsonl"
    for number, line in enumerate(read_lines(file), start=1):
        if lacking := [key for key in DECISION_KEYS if not isinstance(line.get(key), DECISION_KEYS[key])]:
            raise RecordsError(f"{file}: line {number} has no {lacking[0]}; {remedy(file)}")
        yield line


def read_table(
    path: Path, columns: Mapping[str, str], *, later: Collection[str] = (), finite: bool = False
) -> pd.DataFrame:
    """Read a CSV file whose columns must hold at least these, with their types; those of `later` may be missing.

    Numbers that are not known are empty; infinite ones are refused where all must be `finite`.

    Raises:
        RecordsError: naming the line and column that is wrong.

    """
    numbers = [name for name, kind in columns.items() if kind != "str"]
    due = {name: kind for name, kind in columns.items() if name not in later}
    types = {name: _DTYPES[kind] for name, kind in columns.items()}
    try:
        if fault := _fault(path, due):
            raise RecordsError(f"{path}: {fault}; {remedy(path)}")
        na_values = {name: [""] for name in numbers}
        found = pd.read_csv(path, dtype=types, keep_default_na=False, na_values=na_values, index_col=False)
        if finite and np.isinf(found[[name for name in numbers if name in found]].to_numpy(dtype=float)).any():
            raise ValueError("a number is infinite")
        return found.assign(**{name: math.nan for name in later if name not in found})
    except FileNotFoundError:
        raise RecordsError(f"{path} is missing; {remedy(path)}") from None
    except OSError as error:
        raise RecordsError(f"{path}: {error.strerror}; let it be read, or give a copy of the run") from error
    except RecordsError:
        raise
    except (ValueError, OverflowError) as error:
        wrong = _no_text(path) or _fault(path, columns, due=due, finite=finite) or str(error)
        raise RecordsError(f"{path}: {wrong}; {remedy(path)}") from error


def read_lines(path: Path) -> Iterator[dict[str, Any]]:
    """Yield the objects of a JSON Lines file.

    Raises:
        RecordsError: naming the line that is no JSON object.

    """
    try:
        with path.open("rb") as file:  # what is no UTF-8 is then found in its line
            for number, text in enumerate(file, start=1):
                try:
                    line = json.loads(text.decode())
                except (ValueError, RecursionError) as error:
                    raise RecordsError(f"{path}: line {number} is not JSON ({error}); {remedy(path)}") from error
                if not isinstance(line, dict):
                    raise RecordsError(f"{path}: line {number} is not an object; {remedy(path)}")
                yield line
    except FileNotFoundError:
        raise RecordsError(f"{path} is missing; {remedy(path)}") from None
    except OSError as error:
        raise RecordsError(f"{path}: {error.strerror}; let it be read, or give a copy of the run") from error


def _events(path: Path) -> pd.DataFrame:
    events = pd.DataFrame(list(read_lines(path)), columns=list(EVENT_COLUMNS))
    texts = [name for name, kind in EVENT_COLUMNS.items() if kind == "str"]
    events[texts] = events[texts].fillna("")
    try:
        return events.astype({name: _DTYPES[kind] for name, kind in EVENT_COLUMNS.items()})
    except (TypeError, ValueError, OverflowError) as error:
        raise RecordsError(f"{path}: block, order or mono_s is no number ({error}); {remedy(path)}") from error


def _empty(columns: Mapping[str, str]) -> pd.DataFrame:
    return pd.DataFrame({name: pd.Series(dtype=_DTYPES[kind]) for name, kind in columns.items()})


def _of(frame: pd.DataFrame, ended: frozenset[tuple[int, int]]) -> pd.DataFrame:
    """Keep the rows of trials that are in trials.csv: a kill between two replacements can leave more."""
    return frame[pd.MultiIndex.from_frame(frame[["block", "order"]]).isin(list(ended))].reset_index(drop=True)


def _no_text(path: Path) -> str:
    """Find the first line of a file that is not UTF-8."""
    with path.open("rb") as file:
        for number, line in enumerate(file, start=1):
            try:
                line.decode()
            except UnicodeDecodeError as error:
                return f"line {number} is not UTF-8 ({error.reason}, byte {error.start + 1})"
    return ""


def _fault(
    path: Path, columns: Mapping[str, str], *, due: Mapping[str, str] | None = None, finite: bool = False
) -> str:
    """Find the first fault in the shape of a CSV file, and in its values where columns are `due`: that is slow.

    Those of `columns` that are not due may be missing.
    """
    with path.open(encoding="utf-8", errors="replace", newline="") as file:
        rows = csv.reader(file)
        head = next(rows, [])
        if missing := [name for name in (columns if due is None else due) if name not in head]:
            return f"column {missing[0]!r} is missing"
        kinds = [columns.get(name, "str") for name in head]
        try:
            for row in rows:
                if len(row) != len(head):
                    return f"line {rows.line_num} has {len(row)} fields, the header {len(head)}"
                if due is None:
                    continue
                for name, kind, text in zip(head, kinds, row, strict=True):
                    if kind != "str" and (text or kind == "int") and not _is(text, kind, finite=finite):
                        return f"line {rows.line_num}, column {name!r}: {text!r} is no {kind}"
        except csv.Error as error:
            return f"line {rows.line_num}: {error}"
    return ""


def _is(text: str, kind: str, *, finite: bool = False) -> bool:
    """Whether a cell is a number as it is written here: what is unknown is an empty cell, and 1_0 is only Python's."""
    try:
        number = _TYPES[kind](text)
    except ValueError:
        return False
    plain = text.isascii() and "_" not in text
    if kind == "int":
        return plain and -(2**63) <= number < 2**63
    return plain and not math.isnan(number) and not (finite and math.isinf(number))
