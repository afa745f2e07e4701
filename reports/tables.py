"""The tables as files: CSV with every digit, LaTeX for a thesis, and macros for its sentences."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping, Sequence
from itertools import chain
from pathlib import Path
from typing import Any

import pandas as pd

from harness.records import write_whole
from reports import style, words
from reports.document import Table
from reports.language import phrase
from reports.names import camel, letters
from reports.study import Study
from reports.summary import records

_ESCAPES = {
    "\\": r"\textbackslash{}", "&": r"\&", "%": r"\%", "$": r"\$", "#": r"\#", "_": r"\_", "{": r"\{", "}": r"\}",
    "~": r"\textasciitilde{}", "^": r"\textasciicircum{}", "<": r"\textless{}", ">": r"\textgreater{}",
    words.TIMES: r"\ensuremath{\times}", words.DASH: "--", words.INFINITE: r"\ensuremath{\infty}", "\n": " ",
    words.MINUS: r"\ensuremath{-}", **{char: rf"\ensuremath{{^{{{plain}}}}}" for char, plain in words.RAISED.items()},
}  # fmt: skip
LONG, WIDE = 40, 100
"""Rows of a table that fit on a page, and characters that fit on a line, of a thesis."""


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
    Chinese in it needs `ctex`.
    """
    head = " & ".join(map(escaped, table.head)) + r" \\"
    rows = [" & ".join(map(escaped, row)) + r" \\" for row in table.rows]
    columns = zip(table.head, *table.rows, strict=True)
    wide = sum(max(map(style.width, cells)) + 2 for cells in columns) > WIDE
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
    if any(style.width(char) > 1 for row in (table.head, *table.rows) for char in "".join(row)):
        packages.append("ctex")
    needed = " ".join(rf"\usepackage{{{package}}}" for package in packages)
    lines = ["% " + table.caption.replace("\n", " "), _comment(phrase("Needs {}.", needed)), *inner]
    folder.mkdir(parents=True, exist_ok=True)
    write_whole(folder / f"{table.name}.tex", "\n".join(lines) + "\n")


def write_macros(found: Sequence[tuple[Study, pd.DataFrame, pd.DataFrame]], folder: Path) -> None:
    r"""Write `macros.tex`: `\BallastSpeedupTwoStateQuickXenKqpd`, its `Low`, `High` and `N`, and one a guest.

    A name ends in experiment, backend and the letters of the setup, and says `Over` which label where that is not the
    experiment's own baseline: it never changes, nor does its meaning, whatever else is reported. Shorter names stand
    for it where only one thing can be meant: without the letters where a report has one setup of the experiment, and
    without experiment and backend, `\BallastSpeedupTwoState`, where it has one study with its own baseline. Single
    guests of a sweep have none: tables/speedup.csv has them. `found` has the overall and the guests' speed-ups, of a
    study once for every label that something is compared with. `macros-whole.tex` has the whole names only, so that
    a text can have those of several reports.
    """
    setups = Counter(where for where, _ in {(_where(study), study.letters) for study, _, _ in found})
    lines, names, short = [_comment(phrase("Speed-ups are ratios without a unit."))], Counter[str](), []
    for study, overall, guests in found:
        own = study.baseline == study.own_baseline
        end = ("" if own or study.baseline is None else f"Over{camel(study.baseline)}") + _where(study)
        heads = guests[guests["headline"] & guests["level"].isna()] if len(guests) else guests
        rows = [*records(overall), *records(heads)]
        for row, unique in zip(rows, _unique(rows), strict=True):
            guest = row.get("guest", "")
            about = f"{guest or phrase('geometric mean over the guests')}{words.at_level(row['level'])}"
            lines.append(_comment(phrase("{} over {}: {}, {}", row["label"], study.baseline, about, study.title)))
            for name, value in _macros(_stem(row), row).items():
                whole = f"{name}{unique}{end}{study.letters}"
                lines.append(_macro(whole, value))
                names[whole] += 1
                short += [(f"{name}{unique}{end}", whole)] if setups[_where(study)] == 1 else []
                short += [(f"{name}{unique}", whole)] if len(setups) == setups[_where(study)] == 1 and own else []
    folder.mkdir(parents=True, exist_ok=True)
    write_whole(folder / "macros-whole.tex", "\n".join(lines) + "\n")
    names.update(name for name, _ in short)
    if short:
        lines.append(_comment(phrase("Shorter names, which mean this only where nothing else is reported.")))
    lines += [_macro(name, rf"\Ballast{whole}") for name, whole in short if names[name] == 1]
    write_whole(folder / "macros.tex", "\n".join(lines) + "\n")


def _macro(name: str, value: str) -> str:
    return rf"\newcommand{{\Ballast{name}}}{{{value}}}"


def _where(study: Study) -> str:
    return camel(str(study.experiment("name"))) + camel(study.backend)


def _stem(row: Mapping[str, Any]) -> str:
    return camel(f"{row['label']}{_at(row['level'])}") + camel(row.get("guest", ""))


def _unique(rows: Sequence[Mapping[str, Any]]) -> list[str]:
    """Letters for what is called differently and yet has the same name, as labels do that differ in signs only."""
    every = Counter(chain.from_iterable(_macros(_stem(row), row) for row in rows))
    return [
        letters(f"{row['label']}/{row['level']:g}/{row.get('guest', '')}")
        if any(every[name] > 1 for name in _macros(_stem(row), row)) else ""
        for row in rows
    ]  # fmt: skip


def _at(level: float) -> str:
    """What a name has of a level, the same in every language."""
    return "" if math.isnan(level) else f" at {level:g}"


def _macros(label: str, row: Mapping[str, Any]) -> dict[str, str]:
    whole = words.middle(row["speedup"], row["low"], row["high"]), *words.ends(row["low"], row["high"])
    values = {f"Speedup{label}{part}": _bare(text) for part, text in zip(("", "Low", "High"), whole, strict=True)}
    values[f"Speedup{label}N"] = str(row["n"])
    if "jain" in row:
        worst = words.middle(row["worst_speedup"], row["worst_low"], row["worst_high"])
        values |= {f"Worst{label}": _bare(worst), f"Jain{label}": _bare(words.number(row["jain"]))}
        values[f"Failed{label}"] = str(row["failed_trials"])
    return values


def _comment(text: str) -> str:
    return "% " + " ".join(text.split())


def escaped(text: str) -> str:
    """Return text that LaTeX prints as it is."""
    return "".join(_ESCAPES.get(char, char) for char in text)


def _bare(text: str) -> str:
    """A number as tables have it, its unit left to the sentence."""
    return escaped(text.removesuffix(words.TIMES))
