"""What the tax gives the guest that has most to gain, and over it the line of theory (T2 within bounds, T3)."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pandas as pd

from reports import figures, statistics, style, words
from reports.document import Container, Picture
from reports.findings import Findings
from reports.language import phrase
from reports.special import taxed
from reports.special.theory import at_one_price
from reports.special.views import halves
from reports.study import UNCONSTRAINED, Study
from reports.summary import records

MIB = 1024.0
LINE: Any = {"linestyle": "--", "linewidth": 0.9, "color": style.INK, "zorder": 3}
WANTED: Any = {"linestyle": ":", "linewidth": 0.9}
COLUMNS = ("experiment", "backend", "level", "label", "tax", "guest", "median", "low", "high", "n")


def over_tax(found: Findings) -> pd.DataFrame:
    """Return one row a level and tax: what the guest with most to gain has, what theory gives it, and what it uses.

    All in MiB: medians over blocks of medians over the last half of a trial. Theory is (W) with the used memory, bounds
    and pool of the views of the same trial; `wanted` is what the guest uses in trials with unconstrained memory.
    """
    study = found.study
    taxes = {label: study.parameter(label, "tax") for label in study.contestants}
    every = halves(study)
    mine = every[every["label"].map(taxes).notna()].assign(tax=lambda rows: rows["label"].map(taxes).astype(float))
    guest = most_to_gain(mine)
    if guest is None:
        return pd.DataFrame(columns=[*COLUMNS, "theory", "wanted"])
    mine = predicted(mine)
    mine = mine[mine["guest"] == guest]
    rows = []
    for (_, tax, label), trials in mine.groupby(["level", "tax", "label"], dropna=False):
        estimate = statistics.median_interval(trials["current_kib"] / MIB)
        at = float(trials["level"].iloc[0])
        where = (study.name, study.backend, at, label, tax, guest)
        told = (*where, estimate.median, estimate.low, estimate.high, estimate.n)
        rows.append((*told, trials["theory_kib"].median() / MIB, wanted_kib(study, every, guest, at) / MIB))
    return pd.DataFrame(rows, columns=[*COLUMNS, "theory", "wanted"])


def most_to_gain(trials: pd.DataFrame) -> str | None:
    """Return the guest to which the tax moves most by T3: the largest A - (S/Σ S)·Σ A, over all these trials."""
    if not len(trials):
        return None
    sums = trials.groupby(["place", "label"])[["used_kib", "shares"]].transform("sum")
    slope = trials["used_kib"] - trials["shares"] / sums["shares"] * sums["used_kib"]
    return str(slope.groupby(trials["guest"], sort=False).mean().idxmax())


def predicted(trials: pd.DataFrame) -> pd.DataFrame:
    """Return trials with what one price gives each of their guests, by `tax`."""
    found = pd.Series(math.nan, index=trials.index)
    for _, guests in trials.groupby(["place", "label"], sort=False):
        columns = (guests[name].to_numpy(dtype=float) for name in ("used_kib", "shares", "least_kib", "max_kib"))
        used, shares, lo, hi = columns
        pool, tax = float(guests["pool_kib"].iloc[0]), float(guests["tax"].iloc[0])
        found[guests.index] = at_one_price(pool, used, shares, tax, lo, hi)
    return trials.assign(theory_kib=found)


def wanted_kib(study: Study, every: pd.DataFrame, guest: str, level: float) -> float:
    """Return what a guest uses at a level where memory is unconstrained, median over blocks; NaN where nothing is."""
    label = study.bound(UNCONSTRAINED)
    here = every["level"].isna() if math.isnan(level) else every["level"] == level
    return float(every.loc[here & (every["label"] == label) & (every["guest"] == guest), "used_kib"].median())


def knee_at(memory: pd.DataFrame, level: float) -> float:
    """Return the smallest tax at which theory gives a guest all that it uses unconstrained; NaN where none does."""
    mine = memory if math.isnan(level) else memory[memory["level"] == level]
    enough = mine[mine["theory"] >= mine["wanted"]]
    return float(enough["tax"].min()) if len(enough) else math.nan


def sentences(memory: pd.DataFrame, knees: pd.DataFrame) -> list[str]:
    """Say how far measurement is from the line of theory, and which knee that predicts."""
    if not len(memory):
        return []
    off = (memory["median"] - memory["theory"]).abs()
    told = [
        phrase(
            "What {} has lies within {:.1f} MiB of the line of theory (T2), {:.1f} MiB by the median.",
            memory["guest"].iloc[0], off.max(), off.median(),
        )
    ]  # fmt: skip
    if memory["wanted"].notna().all():
        each = [_knee(row["theory_knee"]) + words.at_level(row["level"]) for row in records(knees)]
        told.append(
            phrase("The smallest tax whose line reaches all that it uses unconstrained: {}.", words.listed(each))
        )
    return told


def picture(found: Findings, memory: pd.DataFrame) -> Picture:
    """Return memory over the tax, one line a level, and theory over it."""
    study = found.study
    guest = memory["guest"].iloc[0]

    def draw(container: Container) -> None:
        axes = container.subplots()
        taxed.lines(axes, memory, study.axis)
        levels = [float(level) for level in memory["level"].dropna().unique()]
        tints = style.colours(["", *(f"{level:g}" for level in levels)])
        for level, rows in [(level, memory[memory["level"] == level]) for level in levels] or [(math.nan, memory)]:
            (line,) = axes.plot(rows["tax"], rows["theory"], **LINE)
            if rows["wanted"].notna().all():
                axes.axhline(rows["wanted"].iloc[0], color=tints.get(f"{level:g}", style.QUIET), **WANTED)
        line.set_label(phrase("theory"))
        axes.set_ylabel(phrase("memory of {}, MiB", guest))
        title = style.shortened(study.axis, 34) if levels else None
        axes.legend(title=title, fontsize=7.5, title_fontsize=7.5, frameon=True, framealpha=1, edgecolor="none")

    return Picture(
        name=f"knee-memory{figures.suffix(study)}",
        caption=phrase(
            "Memory of {}, the guest to which the tax moves most, by the tax on idle memory; one line a level of {}. "
            "Medians over the last half of each trial and over blocks, with 95 % intervals. Dashed: what theory gives "
            "it (T2, within bounds) by the used memory of the same trials. Dotted, where it is known: what it uses "
            "with unconstrained memory.",
            guest,
            study.axis,
        ),
        draw=draw,
        height_in=2.9,
    )


def _knee(tax: float) -> str:
    return phrase("none") if np.isnan(tax) else f"{tax:g}"
