"""The tables as files: CSV with every digit, LaTeX for a thesis, and macros for its sentences."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from pathlib import Path

import pandas as pd

from harness.records import write_whole
from reports import words
from reports.document import Table
from reports.study import Study
from reports.summary import records

_ESCAPES = {
    "\\": r"\textbackslash{}", "&": r"\&", "%": r"\%", "$": r"\$", "#": r"\#", "_": r"\_", "{": r"\{", "}": r"\}",
    "~": r"\textasciitilde{}", "^": r"\textasciicircum{}", "<": r"\textless{}", ">": r"\textgreater{}",
    words.TIMES: r"\ensuremath{\times}", words.DASH: "--", words.INFINITE: r"\ensuremath{\infty}", "\n": " ",
}  # fmt: skip
_DIGITS = ("Zero", "One", "Two", "Three", "Four", "Five", "Six", "Seven", "Eight", "Nine")


def write_csv(frames: Mapping[str, Sequence[pd.DataFrame]], folder: Path) -> None:
    """Write each table of all studies as one CSV file; empty stands for unknown."""
    folder.mkdir(parents=True, exist_ok=True)
    for name, parts in frames.items():
        kept = [part for part in parts if len(part)]
        frame = pd.concat(kept, ignore_index=True) if kept else next(iter(parts), pd.DataFrame())
        write_whole(folder / f"{name}.csv", frame.to_csv(index=False, lineterminator="\n"))


def write_latex(table: Table, folder: Path) -> None:
    r"""Write a table as a booktabs `tabular`; its caption is a comment, the float around it is the author's."""
    lines = [
        "% " + table.caption.replace("\n", " "),
        r"% Needs \usepackage{booktabs}.",
        rf"\begin{{tabular}}{{{table.aligns}}}",
        r"\toprule",
        " & ".join(map(escaped, table.head)) + r" \\",
        r"\midrule",
        *(" & ".join(map(escaped, row)) + r" \\" for row in table.rows),
        r"\bottomrule",
        r"\end{tabular}",
    ]
    folder.mkdir(parents=True, exist_ok=True)
    write_whole(folder / f"{table.name}.tex", "\n".join(lines) + "\n")


def write_macros(found: Sequence[tuple[Study, pd.DataFrame, pd.DataFrame]], folder: Path) -> None:
    r"""Write `macros.tex`: `\BallastSpeedupTwoState`, its `Low`, `High` and `N`, and one a guest.

    With more than one study the names end in that of the study. `found` has the overall and the guests' speed-ups.
    """
    macros: dict[str, str] = {}

    def put(name: str, value: str) -> None:
        unique, number = name, 1
        while unique in macros:  # two labels can differ in signs only
            number += 1
            unique = name + camel(f"again {number}")
        macros[unique] = value

    for study, overall, guests in found:
        end = camel(f"{study.name} {study.backend}") if len(found) > 1 else ""
        for row in records(overall):
            label = camel(f"{row['label']}{words.at_level(row['level'])}")
            _estimate(put, f"Speedup{label}", end, row)
            put(f"Worst{label}{end}", _decimal(row["worst_speedup"]))
            put(f"Jain{label}{end}", _decimal(row["jain"]))
            put(f"Failed{label}{end}", str(row["failed_trials"]))
        for row in records(guests[guests["headline"]]) if len(guests) else ():
            label = camel(f"{row['label']}{words.at_level(row['level'])}")
            _estimate(put, f"Speedup{label}{camel(row['guest'])}", end, row)
    lines = [rf"\newcommand{{\Ballast{name}}}{{{value}}}" for name, value in macros.items()]
    folder.mkdir(parents=True, exist_ok=True)
    write_whole(folder / "macros.tex", "\n".join(["% Speed-ups are ratios without a unit.", *lines]) + "\n")


def camel(name: str) -> str:
    """Return a name as TeX allows it, letters only: `two-state` → `TwoState`, `tax 0.5` → `TaxZeroPointFive`."""
    spelled = re.sub(r"(?<=\d)[.,](?=\d)", " point ", name)
    spelled = re.sub(r"\d", lambda digit: f" {_DIGITS[int(digit.group())]} ", spelled)
    parts = re.findall(r"[A-Za-z]+", spelled)
    return "".join(part[0].upper() + part[1:] for part in parts)


def escaped(text: str) -> str:
    """Return text that LaTeX prints as it is."""
    return "".join(_ESCAPES.get(char, char) for char in text)


def _estimate(put: object, name: str, end: str, row: Mapping[str, float]) -> None:
    assert callable(put)
    for part, column in (("", "speedup"), ("Low", "low"), ("High", "high")):
        put(f"{name}{part}{end}", _decimal(row[column]))
    put(f"{name}N{end}", str(row["n"]))


def _decimal(value: float) -> str:
    return "--" if math.isnan(value) else r"\ensuremath{\infty}" if math.isinf(value) else f"{value:.2f}"
