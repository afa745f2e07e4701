"""Whether a trial that has ended is whole: its `done` has the number of its rows and the SHA-256 of its files."""

from __future__ import annotations

import csv
import io
import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from harness.records.columns import SAMPLE_COLUMNS, TRIAL_COLUMNS
from harness.records.storage import TEMPORARY, sha256

DONE = "done"
FORMAT = 2
"""Of a run's files, in its manifest. Runs without one were made before `done` had rows and digests."""
LAST_BYTES = 1 << 16
"""Of a file, among which its last line end must be."""
_TRIAL = re.compile(r"(\d+)-(\d+)")
_ATTEMPT = re.compile(rf"\d+-\d+\.\w+{re.escape(TEMPORARY)}")


def header(columns: Mapping[str, str]) -> str:
    """Return the header line of a CSV file with these columns."""
    line = io.StringIO()
    csv.writer(line, lineterminator="\n").writerow(columns)
    return line.getvalue()


# The order matters: a trial counts as committed when `trials.csv` has it, so that one is replaced last.
RUN_FILES: Mapping[str, str] = {
    "decisions.jsonl": "",
    "events.jsonl": "",
    "samples.csv": header(SAMPLE_COLUMNS),
    "trials.csv": header(TRIAL_COLUMNS),
}
"""The data files of a run, and of each of its trials, with their header lines."""


def numbers(trial: Path) -> tuple[int, int] | None:
    """Return block and order of a trial's folder; None for what is none."""
    found = _TRIAL.fullmatch(trial.name)
    return (int(found[1]), int(found[2])) if found else None


def certificate(trial: Path, key: Mapping[str, Any], *, ticks: int, rows: int) -> str:
    """Return what `done` says of a trial whose files are written."""
    files = {name: sha256(trial / name) for name in RUN_FILES}
    return json.dumps({**key, "ticks": ticks, "rows": rows, "files": files}) + "\n"


def examined(trials: Path, manifest: Mapping[str, Any]) -> tuple[list[Path], dict[str, str]]:
    """Return the whole trials of a run in their order, and what is damaged: the name in `trials/`, and why.

    Attempts that have not ended are neither.
    """
    whole: list[tuple[tuple[int, int], Path]] = []
    damage: dict[str, str] = {}
    for path in sorted(trials.iterdir()):
        number = numbers(path)
        if number is not None and path.is_dir():
            if (why := fault(path, manifest)) is None:
                whole.append((number, path))
            elif why:
                damage[path.name] = f"{why}; the trial counts as not run"
        elif not _ATTEMPT.fullmatch(path.name):
            damage[path.name] = "no trial has this name; it is left aside, so move it out of trials/"
    there = {path.name for _, path in whole} | set(damage)
    sealed = {name.split("/")[1] for name in manifest.get("files") or () if name.startswith("trials/")}
    damage |= dict.fromkeys(sorted(sealed - there), "it was sealed, and is missing; the trial counts as not run")
    return [path for _, path in sorted(whole)], damage


def fault(trial: Path, manifest: Mapping[str, Any]) -> str | None:
    """Return what is damaged of a trial's folder; None: nothing; empty: it has not ended, in a run of old."""
    digests_due = manifest.get("format") is not None
    try:
        said = json.loads((trial / DONE).read_bytes() or b"{}")
    except FileNotFoundError:
        return "its `done` is missing" if digests_due else ""
    except (OSError, ValueError, RecursionError) as error:
        return f"its `done` cannot be read ({error})"
    if not isinstance(said, dict):
        return "its `done` says nothing"
    is_told = {"run": manifest["run"], **dict(zip(("block", "order"), numbers(trial) or (), strict=False))}
    if said and any(said.get(key) != value for key, value in is_told.items()):
        return "its `done` is that of another trial"
    files = said.get("files")
    try:
        if isinstance(files, dict):
            changed = [name for name in RUN_FILES if sha256(trial / name) != files.get(name)]
            return f"{changed[0]} is not what it was when the trial ended" if changed else None
        if digests_due:
            return "its `done` has lost its digests"
        return _rough_fault(trial, said.get("ticks"))
    except FileNotFoundError as error:
        return f"{Path(str(error.filename)).name} is missing"
    except OSError as error:
        return f"it cannot be read ({error})"


def _rough_fault(trial: Path, ticks: object) -> str | None:
    """Return what can be seen of damage without digests: files that are empty, zeroed, or end within a line."""
    for name, head in RUN_FILES.items():
        with (trial / name).open("rb") as file:
            if file.read(len(head)) != head.encode():
                return f"{name} does not begin as it should"
            size = file.seek(0, io.SEEK_END)
            file.seek(max(0, size - LAST_BYTES))
            last = file.read()
        if size and not last.endswith(b"\n"):
            return f"{name} ends within a line"
        if name == "trials.csv" and size == len(head):
            return f"{name} has no rows"
    lines = (trial / "decisions.jsonl").read_bytes().count(b"\n")
    if isinstance(ticks, int) and lines != ticks:
        return f"decisions.jsonl has {lines} lines, and the trial {ticks} ticks"
    return None
