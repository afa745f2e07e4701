"""The markers in the pages, and the text that the kept figures give between them.

    <!-- measured: quick; e07-hog guests=hungry levels=2000 as="a guest that lacks memory" -->
    …
    <!-- /measured -->

The first word says what is shown:

    measured                 a table: who, against whom, how many times as much, n, the noise of the A/A test, verdict
    measured-in-words        the same as sentences
    measured-claims          what became of the experiments' claims
    measured-where           in which lab, when, from which commit, how long a trial took
    measured-and-simulated   how close the simulator comes, guest by guest

Then come selections, apart by `;`: the name of an experiment, and if not all of it is meant, keys with values apart by
commas, quoted where these have blanks:

    guests=, labels=, levels=    only these; else every guest, every policy but the baseline, every level
    metrics=                     these in place of the headline
    of=all, of=twins             the geometric mean over the guests; one guest against its twin in the same trial
    as="…"                       what the only guest that is left is called

`columns=…;` before the selections of a table names its columns (COLUMNS of `docs/shown.py`). An experiment without a
kept file is said to be not measured yet; a name that its experiment does not have is an error, measured or not.
"""

from __future__ import annotations

import json
import re
import shlex
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import pandas as pd

from harness.experiment.document import ConfigError
from harness.experiment.files import load_experiment
from reports.summary import records

Row = Mapping[str, Any]
MARKER = re.compile(
    r"^(?P<head><!-- (?P<kind>measured[a-z-]*):\s(?P<text>(?:(?!-->).)*?) -->\n)"
    r"(?P<body>(?:(?!^<!-- measured).)*?)^<!-- /measured -->$",
    re.MULTILINE | re.DOTALL,
)
"""A whole section; a marker within another is none, so that one without an end is found."""
KEYS = ("guests", "labels", "levels", "metrics", "of", "as")
TEXTS = (
    "kind", "label", "against", "guest", "workload", "metric", "unit", "better", "interval", "verdict",
)  # fmt: skip


class MarkError(ValueError):
    """A marker that cannot be followed; the message names page and line."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Selection:
    """What a marker wants of one experiment."""

    experiment: str
    keys: Mapping[str, str]

    def among(self, key: str) -> Sequence[str]:
        """Return the values of a key; none where it is not there."""
        return [part.strip() for part in self.keys[key].split(",")] if key in self.keys else []


@dataclass(frozen=True, slots=True, kw_only=True)
class Kept:
    """What is kept of one experiment."""

    facts: Mapping[str, Any]
    rows: Sequence[Row]
    simulated: Sequence[Row]


def kept(name: str, folder: Path) -> Kept | None:
    """Read what is kept of an experiment; None where it has not been measured."""
    if not (folder / f"{name}.json").exists():
        return None
    beside = folder / f"{name}-simulated.csv"
    return Kept(
        facts=json.loads((folder / f"{name}.json").read_text(encoding="utf-8")),
        rows=_read(folder / f"{name}.csv"),
        simulated=_read(beside) if beside.exists() else [],
    )


def _read(path: Path) -> Sequence[Row]:
    types = {"n": "Int64", **dict.fromkeys(TEXTS, "str")}
    frame = pd.read_csv(path, dtype=types, keep_default_na=False, na_values=[""])
    texts = [name for name in TEXTS if name in frame]
    frame[texts] = frame[texts].fillna("")
    return records(frame)


def parsed(text: str) -> tuple[Mapping[str, str], Sequence[Selection]]:
    """Return what a marker says of its table, and what it wants of which experiments.

    Raises:
        MarkError: it cannot be read, or names what an experiment does not have.

    """
    options: dict[str, str] = {}
    selections = []
    for part in text.split(";"):
        try:
            first, *rest = shlex.split(part)
        except ValueError as error:  # nothing between two semicolons, or a quotation that does not end
            raise MarkError(f"{part.strip()!r} is no selection: {error}") from error
        if first.startswith("columns="):
            options["columns"] = first.removeprefix("columns=")
            continue
        keys = {key: value for key, _, value in (item.partition("=") for item in rest)}
        if unknown := [key for key in keys if key not in KEYS]:
            raise MarkError(f"{first}: {unknown[0]!r} is no key; use {', '.join(f'{key}=' for key in KEYS)}")
        selection = Selection(experiment=first, keys=keys)
        _known(selection)
        selections.append(selection)
    return options, selections


def _known(selection: Selection) -> None:
    """Refuse what the experiment does not have, measured or not."""
    there = _names(selection.experiment)
    for key, names in there.items():
        if unknown := [name for name in selection.among(key) if name not in names]:
            raise MarkError(f"{selection.experiment} has no {key} {unknown[0]!r}; it has {', '.join(names) or 'none'}")
    if selection.keys.get("of", "all") not in ("all", "twins"):
        raise MarkError(f"{selection.experiment}: of={selection.keys['of']}; use of=all or of=twins")


@cache
def _names(name: str) -> Mapping[str, Sequence[str]]:
    try:
        experiment = load_experiment(name)
    except ConfigError as error:
        raise MarkError(str(error)) from error
    return {
        "guests": [guest.name for guest in experiment.guests],
        "labels": [policy.label for policy in experiment.policies],
        "levels": [f"{level.at:g}" for level in experiment.sweep.levels] if experiment.sweep else [],
    }


def chosen(selection: Selection, found: Kept) -> Sequence[Row]:
    """Return the rows that a selection wants, each with its `experiment` and what its guest is `called`."""
    guests, labels, levels, metrics = map(selection.among, ("guests", "labels", "levels", "metrics"))
    of = selection.keys.get("of", "guests")
    rows = [
        row
        for row in found.rows
        if row["kind"] == of
        and (not guests or row["guest"] in guests)
        and (not labels or row["label"] in labels)
        and (not levels or f"{row['level']:g}" in levels)
        and (row["metric"] in metrics if metrics else row["headline"] or of == "all")
    ]
    if not rows:
        raise MarkError(f"docs/measured/{selection.experiment}.csv has no row of {dict(selection.keys) or 'any guest'}")
    name = selection.keys.get("as", "")
    if name and len({(row["guest"], f"{row['level']:g}") for row in rows}) > 1:
        raise MarkError(f"{selection.experiment}: as= names one guest at one level, and here are more")
    return [{**row, "called": name, "experiment": selection.experiment} for row in rows]
