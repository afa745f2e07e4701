"""The tables as files: CSV with every digit, LaTeX for a thesis, and macros for its sentences."""

from __future__ import annotations

import math
import re
import unicodedata
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pandas as pd

from harness.records import write_whole
from reports import words
from reports.document import Table
from reports.language import phrase
from reports.study import Study
from reports.summary import records

_ESCAPES = {
    "\\": r"\textbackslash{}", "&": r"\&", "%": r"\%", "$": r"\$", "#": r"\#", "_": r"\_", "{": r"\{", "}": r"\}",
    "~": r"\textasciitilde{}", "^": r"\textasciicircum{}", "<": r"\textless{}", ">": r"\textgreater{}",
    words.TIMES: r"\ensuremath{\times}", words.DASH: "--", words.INFINITE: r"\ensuremath{\infty}", "\n": " ",
}  # fmt: skip
LONG, WIDE = 40, 100
"""Rows of a table that fit on a page, and characters that fit on a line, of a thesis."""
_DIGITS = ("Zero", "One", "Two", "Three", "Four", "Five", "Six", "Seven", "Eight", "Nine")


def write_csv(frames: Mapping[str, Sequence[pd.DataFrame]], folder: Path) -> None:
    """Write each table of all studies as one CSV file, if it has a column; an empty cell is unknown."""
    folder.mkdir(parents=True, exist_ok=True)
    for name, parts in frames.items():
        kept = [part for part in parts if len(part)]
        frame = pd.concat(kept, ignore_index=True) if kept else next(iter(parts), pd.DataFrame())
        if not len(frame.columns):  # nothing of the kind was asked for
            continue
        write_whole(folder / f"{name}.csv", frame.to_csv(index=False, lineterminator="\n"))


def write_latex(table: Table, folder: Path) -> None:
    r"""Write a table for booktabs; its caption is a comment, the float around it is the author's.

    A long one is a `longtable`, which breaks over pages with its head repeated; a wide one is turned by a quarter.
    """
    head = " & ".join(map(escaped, table.head)) + r" \\"
    rows = [" & ".join(map(escaped, row)) + r" \\" for row in table.rows]
    columns = zip(table.head, *table.rows, strict=True)
    wide = sum(max(map(len, cells)) + 2 for cells in columns) > WIDE
    if len(rows) > LONG:
        packages, inner = ["booktabs", "longtable"], [
            rf"\begin{{longtable}}{{{table.aligns}}}", r"\toprule", head, r"\midrule", r"\endhead",
            r"\bottomrule", r"\endfoot", *rows, r"\end{longtable}",
        ]  # fmt: skip
        turned = "landscape"
    else:
        packages, inner = ["booktabs"], [
            rf"\begin{{tabular}}{{{table.aligns}}}", r"\toprule", head, r"\midrule", *rows, r"\bottomrule",
            r"\end{tabular}",
        ]  # fmt: skip
        turned = "sideways"
    if wide:
        packages.append("pdflscape" if turned == "landscape" else "rotating")
        inner = [rf"\begin{{{turned}}}", *inner, rf"\end{{{turned}}}"]
    needed = " ".join(rf"\usepackage{{{package}}}" for package in packages)
    lines = ["% " + table.caption.replace("\n", " "), _comment(phrase("Needs {}.", needed)), *inner]
    folder.mkdir(parents=True, exist_ok=True)
    write_whole(folder / f"{table.name}.tex", "\n".join(lines) + "\n")


def write_macros(found: Sequence[tuple[Study, pd.DataFrame, pd.DataFrame]], folder: Path) -> None:
    r"""Write `macros.tex`: `\BallastSpeedupTwoStateQuickXen`, its `Low`, `High` and `N`, and one a guest.

    A name ends in experiment and backend, and says `Over` which label where that is not the experiment's own baseline,
    so that it never changes its meaning, whatever else is reported. In the report of one study with its own baseline
    there are short names too: `\BallastSpeedupTwoState`. Single guests of a sweep have none: tables/speedup.csv has
    them. `found` has the overall and the guests' speed-ups.
    """
    macros: dict[str, str] = {}
    lines = [_comment(phrase("Speed-ups are ratios without a unit."))]
    for study, overall, guests in found:
        own = study.baseline == study.own_baseline
        over = "" if own or study.baseline is None else f"Over{camel(study.baseline)}"
        end = over + camel(f"{study.name} {study.backend}")
        heads = guests[guests["headline"] & guests["level"].isna()] if len(guests) else guests
        for row in [*records(overall), *records(heads)]:
            guest = row.get("guest", "")
            about = f"{guest or phrase('geometric mean over the guests')}{words.at_level(row['level'])}"
            lines.append(_comment(phrase("{} over {}: {}, {}", row["label"], study.baseline, about, study.title)))
            label = camel(f"{row['label']}{_at(row['level'])}") + camel(guest)
            values = _macros(label, row)
            unique, number = "", 1
            while any(f"{name}{unique}{end}" in macros for name in values):  # two labels can differ in signs only
                number += 1
                unique = camel(f"again {number}")
            new = {f"{name}{unique}{end}": value for name, value in values.items()}
            if len(found) == 1 and own:
                new |= {f"{name}{unique}": value for name, value in values.items()}
            macros |= new
            lines += [rf"\newcommand{{\Ballast{name}}}{{{value}}}" for name, value in new.items()]
    folder.mkdir(parents=True, exist_ok=True)
    write_whole(folder / "macros.tex", "\n".join(lines) + "\n")


def _at(level: float) -> str:
    """What a name has of a level, the same in every language."""
    return "" if math.isnan(level) else f" at {level:g}"


def _macros(label: str, row: Mapping[str, Any]) -> dict[str, str]:
    parts = (("", "speedup"), ("Low", "low"), ("High", "high"))
    values = {f"Speedup{label}{part}": _decimal(row[column]) for part, column in parts}
    values[f"Speedup{label}N"] = str(row["n"])
    if "jain" in row:
        values |= {f"Worst{label}": _decimal(row["worst_speedup"]), f"Jain{label}": _decimal(row["jain"])}
        values[f"Failed{label}"] = str(row["failed_trials"])
    return values


def _comment(text: str) -> str:
    return "% " + " ".join(text.split())


def camel(name: str) -> str:
    """Return a name as TeX allows it, letters only: `two-state` → `TwoState`, `tax 0.5` → `TaxZeroPointFive`.

    A letter that is not one of TeX's loses its accent, or else is spelled by its code: `é` → `E`, `价` →
    `UFourEFSeven`.
    """
    plain = "".join(_plain(char) for char in name)
    spelled = re.sub(r"(?<=\d)[.,](?=\d)", " point ", plain)
    spelled = re.sub(r"\d", lambda digit: f" {_DIGITS[int(digit.group())]} ", spelled)
    parts = re.findall(r"[A-Za-z]+", spelled)
    return "".join(part[0].upper() + part[1:] for part in parts)


def _plain(char: str) -> str:
    if char.isascii():
        return char
    bare = "".join(part for part in unicodedata.normalize("NFKD", char) if part.isascii() and part.isalnum())
    if bare:
        return bare
    return f" U {' '.join(f'{ord(char):X}')} " if char.isalnum() else " "


def escaped(text: str) -> str:
    """Return text that LaTeX prints as it is."""
    return "".join(_ESCAPES.get(char, char) for char in text)


def _decimal(value: float) -> str:
    return "--" if math.isnan(value) else r"\ensuremath{\infty}" if math.isinf(value) else f"{value:.2f}"
