"""Whether the rows of a run's `trials.csv` can all be true: what contradicts itself is no result, whoever wrote it."""

from __future__ import annotations

import csv
from collections.abc import Iterator, Mapping
from pathlib import Path

from harness.records.columns import BETTER, STATUSES

OF_TRIAL = ("policy", "label", "level")
"""What all rows of a trial, (block, order), have in common."""
OF_BLOCK = ("level",)
"""What all rows of a block have in common."""
SAID: Mapping[str, tuple[str, ...]] = {"better": BETTER, "status": STATUSES}
"""Columns with words of their own."""


def contradiction(path: Path, run: str) -> str:
    """Return what contradicts itself in the file, with its lines; empty where nothing does.

    `run` is the name in its manifest.
    """
    given: dict[tuple[str, ...], int] = {}
    told: dict[tuple[str, ...], tuple[str, int]] = {}
    with path.open(encoding="utf-8", newline="") as file:
        rows = csv.DictReader(file)
        for row in rows:
            line = rows.line_num
            if wrong := _alone(row, run):
                return f"line {line}{wrong}"
            before = given.setdefault((row["block"], row["order"], row["guest"], row["metric"]), line)
            if before != line:
                what = row["metric"] or "no metric"
                return f"lines {before} and {line} both have {what} of {row['guest']} in one trial"
            for column, whose, value in _shared(row):
                said, before = told.setdefault((column, *whose), (value, line))
                if said != value:
                    return f"lines {before} and {line} differ in {column!r}: {said!r} and {value!r}"
    return ""


def _alone(row: Mapping[str, str], run: str) -> str:
    """What no row may say, whatever the others do."""
    if row["run"] != run:
        return f" is of run {row['run']!r}, not of {run!r}"
    for column, words in SAID.items():
        if row[column] not in words:
            return f", column {column!r}: {row[column]!r} is none of {', '.join(filter(None, words))}"
    return ""


def _shared(row: Mapping[str, str]) -> Iterator[tuple[str, tuple[str, ...], str]]:
    """Yield what a row has in common with others: the column, which others, and what it says."""
    trial = row["block"], row["order"]
    for columns, whose in ((OF_TRIAL, trial), (OF_BLOCK, trial[:1])):
        for column in columns:
            yield column, whose, row.get(column) or ""
    yield "better", (row["guest"], row["workload"], row["metric"]), row["better"]
