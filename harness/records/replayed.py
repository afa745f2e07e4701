"""`replay.csv`, which a replay leaves: written row by row, read back as far as a figure shows it."""

from __future__ import annotations

import csv
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pandas as pd

from harness.progress.plain import plain
from harness.records.columns import REPLAY_COLUMNS, RecordsError
from harness.records.storage import TEMPORARY

REPLAY = "replay.csv"
ROWS_AT_ONCE = 100_000
_DTYPES = {"str": "str", "int": "int64", "float": "float64"}


@contextmanager
def replay_rows(folder: Path) -> Iterator[Callable[[Mapping[str, Any]], None]]:
    """Write the file of a folder anew: yields what takes a row. Only a whole file has its name.

    Raises:
        RecordsError: the folder cannot be written.

    """
    unfinished = folder / (REPLAY + TEMPORARY)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with unfinished.open("w", encoding="utf-8", newline="") as file:
            rows = csv.DictWriter(file, REPLAY_COLUMNS, lineterminator="\n")
            rows.writeheader()
            yield lambda row: rows.writerow({k: plain(v) if isinstance(v, str) else v for k, v in row.items()})
        unfinished.replace(folder / REPLAY)
    except OSError as error:
        raise RecordsError(
            f"{error.filename or folder}: {error.strerror or error}; name a folder that can be written"
        ) from error


def read_first_block(folder: Path) -> pd.DataFrame:
    """Return the first block that the file of a folder has, without the reasons: that fits into memory.

    Raises:
        RecordsError: the file is missing, lacks a column, or has text where a number belongs.

    """
    path = folder / REPLAY
    columns = {name: kind for name, kind in REPLAY_COLUMNS.items() if not name.endswith("_reason")}
    types = {name: _DTYPES[kind] for name, kind in columns.items()}
    unknown = {name: [""] for name, kind in columns.items() if kind != "str"}
    found: list[pd.DataFrame] = []
    try:
        with pd.read_csv(
            path, usecols=list(columns), dtype=types, keep_default_na=False, na_values=unknown, chunksize=ROWS_AT_ONCE
        ) as portions:
            for rows in portions:
                block = (found or [rows])[0]["block"].iloc[0]
                found.append(rows[rows["block"] == block])
                if len(found[-1]) < len(rows):
                    break
    except FileNotFoundError:
        raise RecordsError(f"{path} is missing; replay the run again") from None
    except ValueError as error:
        raise RecordsError(f"{path}: {error}; replay the run again") from error
    return pd.concat(found, ignore_index=True)
