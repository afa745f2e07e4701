"""Whether the rows of a run's `trials.csv` can all be true: what contradicts itself is no result, whoever wrote it."""

from __future__ import annotations

import csv
from collections.abc import Mapping
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
    metrics: dict[tuple[str, ...], int] = {}
    shared: dict[tuple[str, ...], tuple[str, int]] = {}
    with path.open(encoding="utf-8", newline="") as file:
        rows = csv.DictReader(file)
        for row in rows:
            line = rows.line_num
            if row["run"] != run:
                return f"line {line} is of run {row['run']!r}, not of {run!r}"
            for column, words in SAID.items():
                if row[column] not in words:
                    return (
                        f"line {line}, column {column!r}: {row[column]!r} is none of {', '.join(filter(None, words))}"
                    )
            key = row["block"], row["order"], row["guest"], row["metric"]
            if (before := metrics.setdefault(key, line)) != line:
                return (
                    f"lines {before} and {line} both have {row['metric'] or 'no metric'} of {row['guest']} in one trial"
                )
            metric = "better", row["guest"], row["workload"], row["metric"]
            held: list[tuple[tuple[str, ...], str]] = [
                ((column, *key[:2]), row.get(column) or "") for column in OF_TRIAL
            ]
            held += [((column, row["block"]), row.get(column) or "") for column in OF_BLOCK]
            held += [(metric, row["better"])]
            for what, value in held:
                said, where = shared.setdefault(what, (value, line))
                if said != value:
                    return f"lines {where} and {line} differ in {what[0]!r}: {said!r} and {value!r}"
    return ""
