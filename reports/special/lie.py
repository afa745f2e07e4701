"""`lie`: what a guest gains that claims more than it uses, against what theory says that it does (T5)."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import pandas as pd

from reports import figures, statistics, style, words
from reports.document import Container, Picture, Table
from reports.findings import Findings
from reports.language import joined, phrase, phrases
from reports.special.theory import at_one_price, lie_gain
from reports.special.verdict import Claim, Special, judged
from reports.special.views import halves
from reports.statistics import ENOUGH
from reports.study import Study
from reports.summary import records

MIB = 1024.0
NEAR = 0.01
"""A gain this close to the predicted one, as a share of the pool, is as predicted: twice what the governor's smallest
step, 0.5 % of what a guest has, leaves undone in each of the two trials that are compared."""
USUAL = 2.0
"""The factor of a liar of which an experiment does not say it (harness/experiment/sweep.py)."""
CUT_MIB = 0.5
"""Where bounds take more than this from what T5 says they cut it off."""
COLUMNS = (
    "experiment", "backend", "label", "level", "tax", "guest", "claimed", "median", "low", "high", "n", "theory",
    "within_bounds", "near",
)  # fmt: skip
THEORY: Any = {"linestyle": "--", "linewidth": 0.9, "zorder": 1.5}


def special(found: Findings) -> Special:
    """Return gains over claims with the line of theory a tax, and whether they lie on it as far as bounds allow."""
    study = found.study
    table = gains(study)
    if not len(table):
        why = phrase("no guest both lies and tells the truth under a policy with a tax.")
        return Special(claim=Claim.OPEN, reason=why, blocks=[])
    guest = table["guest"].iloc[0]
    off = (table["median"] - table["within_bounds"]).abs().max()
    each = [phrase("{:.3f} MiB at a tax of {:g} (theory: {:.3f})", *told) for told in _slopes(table)]
    cut = table[_cut(table)]
    ends = [
        phrase("a lie of {:.0f} MiB at a tax of {:g} (from {:.1f} to {:.1f} MiB)", *told)
        for told in cut[["claimed", "tax", "theory", "within_bounds"]].itertuples(index=False)
    ]
    reason = [phrase("each MiB that {} claims and does not use brings it {}.", guest, words.listed(each))]
    reason += [phrase("Bounds cut off what theory gives for {}.", words.some(ends, "lie"))] if ends else []
    reason += [phrase("Gains are at most {:.1f} MiB from theory within bounds.", off)]

    return Special(
        claim=judged(holds(table)),
        reason=joined(reason),
        blocks=[_picture(study, table), _table(study, table)],
        frames={"lie": table},
    )


def gains(study: Study) -> pd.DataFrame:
    """Return one row a policy with a tax and a level at which a guest lies: claim and gain beyond where it does not.

    In MiB, medians over blocks of medians over the last half of a trial. `theory` is T5 for that claim, `within_bounds`
    the division (W) of the claims that the views show, less that of the level without a lie.
    """
    liar, factors = liar_of(study)
    every = halves(study)
    rows: list[tuple[Any, ...]] = []
    honest = [level for level, factor in factors.items() if factor == 1]
    taxes = {label: study.parameter(label, "tax") for label in study.contestants}
    for label in [label for label, tax in taxes.items() if tax is not None and honest]:
        mine, tax = every[every["label"] == label], float(taxes[label])
        true = mine[mine["level"] == honest[0]]
        for level in [level for level, factor in factors.items() if factor != 1]:
            told = mine[mine["level"] == level]
            if not (len(told) and len(true)):
                continue
            was, now = (rows_of[rows_of["guest"] == liar] for rows_of in (true, told))
            claimed = (now["used_kib"].median() - was["used_kib"].median()) / MIB
            gained = statistics.median_interval((now["current_kib"] - was["current_kib"].median()) / MIB)
            (before, _), (after, slope) = (_divided(part, liar, tax) for part in (true, told))
            where = (study.name, study.backend, label, level, tax, liar, claimed)
            measured = (gained.median, gained.low, gained.high, gained.n)
            near = NEAR * told["pool_kib"].median() / MIB
            rows.append((*where, *measured, slope * claimed, (after - before) / MIB, near))
    return pd.DataFrame(rows, columns=list(COLUMNS))


def liar_of(study: Study) -> tuple[str, dict[float, float]]:
    """Return the guest that lies at some level, and by which factor at each; 1 where it tells the truth."""
    sweep = study.experiment("sweep") or {}
    factors: dict[str, dict[float, float]] = {}
    for level in sweep.get("levels") or ():
        for name, change in (level.get("guests") or {}).items():
            behaviour: Mapping[str, Any] = change.get("behaviour") or {}
            if behaviour.get("kind") == "lying":
                factors.setdefault(name, {})[float(level["at"])] = float(behaviour.get("factor", USUAL))
    name = next(iter(factors), "")
    return name, {level: factors[name].get(level, 1.0) for level in study.levels} if name else {}


def holds(table: pd.DataFrame) -> bool | None:
    """Whether all gains are as predicted within bounds: shown by whole intervals; None where some leave it open."""
    if table["n"].min() < ENOUGH or table["low"].isna().any():
        return None
    low, high = table["low"] - table["within_bounds"], table["high"] - table["within_bounds"]
    if (low > table["near"]).any() or (high < -table["near"]).any():
        return False
    return True if ((low >= -table["near"]) & (high <= table["near"])).all() else None


def _divided(trials: pd.DataFrame, liar: str, tax: float) -> tuple[float, float]:
    """What one price gives the liar by what all guests say, in KiB, and what each unit of a lie brings by T5."""
    guests = trials.groupby("guest", sort=False)[["used_kib", "shares", "least_kib", "max_kib", "pool_kib"]].median()
    used, shares, lo, hi, pool = (guests[name].to_numpy(dtype=float) for name in guests)
    at = list(guests.index).index(liar)
    return float(at_one_price(pool[0], used, shares, tax, lo, hi)[at]), lie_gain(tax, shares, at)


def _cut(table: pd.DataFrame) -> pd.Series[bool]:
    return (table["theory"] - table["within_bounds"]).abs() > CUT_MIB


def _slopes(table: pd.DataFrame) -> list[tuple[float, float, float]]:
    """Per tax: what a MiB of a lie brought, by the median of what no bound cut off, the tax, and what T5 says."""
    told = []
    for _, rows in table.groupby("tax"):
        free = rows[~_cut(rows)]
        theory = float((rows["theory"] / rows["claimed"]).median())
        told.append((float((free["median"] / free["claimed"]).median()), float(rows["tax"].iloc[0]), theory))
    return told


def _picture(study: Study, table: pd.DataFrame) -> Picture:
    guest = table["guest"].iloc[0]

    def draw(container: Container) -> None:
        axes = container.subplots()
        most = 1.05 * table["claimed"].max()
        looks = style.looks(["", *map(str, table["label"].unique())])
        for label, rows in table.groupby("label", sort=False):
            look = looks[str(label)] | {"linestyle": ""}
            axes.plot(rows["claimed"], rows["median"], **look)
            axes.vlines(rows["claimed"], rows["low"], rows["high"], color=look["color"], linewidth=1, alpha=0.7)
            slope = (rows["theory"] / rows["claimed"]).median()
            axes.plot([0, most], [0, slope * most], color=look["color"], **THEORY)
        cut = table[_cut(table)]
        if len(cut):
            axes.plot(cut["claimed"], cut["within_bounds"], "o", markersize=10, markerfacecolor="none",
                      markeredgecolor=style.INK, label=phrase("theory within bounds"))  # fmt: skip
        axes.plot([], [], color=style.QUIET, label=phrase("theory (T5)"), **THEORY)
        axes.set(xlabel=phrase("claimed beyond what it uses, MiB"), ylabel=phrase("gain of {}, MiB", guest))
        axes.set_xlim(0, most)
        axes.legend(loc="upper left", fontsize=7.5)

    return Picture(
        name=f"lie{figures.suffix(study)}",
        caption=phrase(
            "What {} gains by what it claims beyond its use: its memory, and the used memory that its views show, less "
            "those of the level at which it tells the truth; medians over the last half of each trial and over blocks, "
            "with 95 % intervals. Dashed: theory, the tax less the liar's own part by shares (T5). Ringed, where "
            "bounds cut that off: theory within them.",
            guest,
        ),
        draw=draw,
        height_in=3.0,
    )


def _table(study: Study, table: pd.DataFrame) -> Table:
    return Table(
        name=f"lie{figures.suffix(study)}",
        caption=phrase(
            "Claims beyond use and gains, in MiB, with what theory says: T5, and the same within bounds. A gain within "
            "{:g} % of the pool of the latter is as predicted.",
            100 * NEAR,
        ),
        head=phrases(
            "tax", "level", "claimed beyond use", "gain", "95 % interval", "theory (T5)", "theory within bounds", "n"
        ),
        rows=[
            [
                f"{row['tax']:g}", f"{row['level']:g}", f"{row['claimed']:.1f}", f"{row['median']:.1f}",
                words.DASH if math.isnan(row["low"]) else f"[{row['low']:.1f}, {row['high']:.1f}]",
                f"{row['theory']:.1f}", f"{row['within_bounds']:.1f}", str(row["n"]),
            ]
            for row in records(table)
        ],
        aligns="rrrrrrrr",
    )  # fmt: skip
