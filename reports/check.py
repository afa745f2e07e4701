"""Whether the numbers of a report are still those of an earlier one: `ballast report RUN --check BASELINE`."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import pandas as pd

from reports import words
from reports.figures import FARTHEST
from reports.findings import Findings
from reports.study import ReportError
from reports.summary import records

KEYS = ("experiment", "backend", "level", "label", "guest", "metric")
"""What tells one number from another; a table has some of these."""
NUMBERS: Mapping[str, str] = {"overall": "speedup", "performance": "performance", "speedup": "speedup"}
"""Table and column that are compared: what a thesis would quote, and not the counters behind it."""

Key = tuple[str, ...]


def moved(found: Sequence[Findings], baseline: Path, tolerance: float) -> tuple[list[str], int]:
    """Return a line for every number that is off by more than `tolerance`, a share of the baseline's, or is gone.

    And how many were compared.

    `baseline` is the folder of an earlier report. A number that is new there is no fault; one that was not known and
    is now, or the other way round, has moved.

    Raises:
        ReportError: the folder has no tables, one cannot be read, or they have no number at all.

    """
    now = {
        "overall": [one.overall for one in found],
        "performance": [one.performance for one in found],
        "speedup": [one.guests for one in found],
    }
    lines: list[str] = []
    compared = 0
    for table, column in NUMBERS.items():
        path = baseline / "tables" / f"{table}.csv"
        before = _read(path, column, needed=table != "performance")
        after = {key: value for frame in now[table] for key, value in _numbers(frame, column)}
        compared += len(before)
        if after and not before and table != "performance":
            raise ReportError(f"{path} has no number to hold these against; make it anew: ballast report RUN")
        for key, old in before.items():
            what = f"{table}.csv, {', '.join(part for part in key if part)}"
            if key not in after:
                lines.append(f"{what}: {words.number(old)} before, and not there now")
            elif not same(old, after[key], tolerance):
                lines.append(f"{what}: {old:.6g} before, {after[key]:.6g} now{_by(old, after[key])}")
    if not compared:
        raise ReportError(f"{baseline / 'tables'} has no number to hold these against; give the folder of a report")
    return lines, compared


def same(old: float, new: float, tolerance: float) -> bool:
    """Whether two ratios are the same but for a share of the first; unknown is only like unknown.

    Beyond `FARTHEST` one side is next to nothing, as the microseconds that a guest lost: there all ratios are the same.
    """
    if math.isnan(old) or math.isnan(new):
        return math.isnan(old) and math.isnan(new)
    if min(old, new) > FARTHEST or max(old, new) < 1 / FARTHEST:
        return True
    return old == new or abs(new - old) <= tolerance * abs(old) * (1 + 1e-9)


def _by(old: float, new: float) -> str:
    known = old != 0 and math.isfinite(old) and math.isfinite(new)
    return f" ({100 * (new / old - 1):+.3g} %)" if known else ""


def _read(path: Path, column: str, *, needed: bool) -> dict[Key, float]:
    if not path.exists() and not needed:
        return {}
    try:
        if not path.read_bytes().endswith(b"\n"):
            raise ValueError("it ends within a line")
        frame = pd.read_csv(path, dtype={key: str for key in KEYS if key != "level"}, keep_default_na=False,
                            na_values={column: [""], "level": [""]})  # fmt: skip
        numbers = list(_numbers(frame, column))
        if len(found := dict(numbers)) < len(numbers):
            raise ValueError("two of its rows are of the same")
        return found
    except FileNotFoundError:
        raise ReportError(f"{path} is missing; give the folder of a report, or make one: ballast report RUN") from None
    except (OSError, ValueError, KeyError) as error:
        raise ReportError(f"{path} cannot be read: {error}; make it anew: ballast report RUN") from error


def _numbers(frame: pd.DataFrame, column: str) -> Iterator[tuple[Key, float]]:
    for row in records(frame):
        yield tuple(_text(row.get(key, "")) for key in KEYS), float(row[column])


def _text(value: Any) -> str:  # noqa: ANN401 - a cell
    if isinstance(value, float):
        return "" if math.isnan(value) else f"{value:g}"
    return str(value)
