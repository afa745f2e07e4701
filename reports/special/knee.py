"""`knee`: the tax from which on more of it gains nothing more, at every level of load."""

from __future__ import annotations

import math

import numpy as np
import pandas as pd

from reports import figures, style, words
from reports.document import Container, Picture, Table
from reports.findings import Findings
from reports.language import joined, phrase, phrases
from reports.special import tax_memory, taxed
from reports.special.measure import draw_noise, measure_of, noise_at, noise_told
from reports.special.verdict import Special, judged
from reports.statistics import ENOUGH
from reports.study import Study
from reports.summary import records

NEAR = 0.01
"""A tax this close to the best one, as a share of it, is as good."""
HOW = (
    "The knee is the smallest tax whose geometric mean (median over blocks) lies within the 95 % interval of the best "
    "tax of the same level, or within {:g} % of it, or what a policy shows against itself if more"
)


def special(found: Findings) -> Special:
    """Return the curves over the tax, a knee a level, and whether there is one between no tax and all."""
    study = found.study
    curves = taxed.over_tax(found, "geometric_mean")
    knees = knees_of(curves.assign(near=[near(study, level) for level in curves["level"]]))
    memory = tax_memory.over_tax(found)
    knees = knees.assign(theory_knee=[tax_memory.knee_at(memory, level) for level in knees["level"]])
    known = knees[knees["knee"].notna() & (knees["n"] >= ENOUGH)]
    flat, rising = known[known["gain_pc"] < known["near_pc"]], known[known["gain_pc"] >= known["near_pc"]]
    inner = rising[(rising["knee"] < rising["most_tax"]) & (rising["after_pc"] > -rising["near_pc"])]
    whole = len(known) == len(knees) and len(rising) > 0
    holds = bool(len(inner) == len(rising)) if whole else None
    each = [
        phrase("{:g}{} (best {:g})", row["knee"], words.at_level(row["level"]), row["best"]) for row in records(rising)
    ]
    parts = [phrase("knee at a tax of {}.", words.listed(each))] if each else []
    parts += [phrase("It moves with the level.")] if len(set(rising["knee"])) > 1 else []
    parts += [phrase("The tax makes no difference{}.", words.at_level(row["level"])) for row in records(flat)]
    parts += [
        phrase(
            "Beyond the best tax{} performance falls again, by {:.1f} % at the largest.",
            words.at_level(row["level"]),
            -row["after_pc"],
        )
        for row in records(rising[rising["after_pc"] <= -rising["near_pc"]])
    ]
    how = phrase(HOW, 100 * NEAR)
    parts = [*(parts if len(known) else [phrase("too few blocks.")]), phrase("{}.", how)]
    reason = joined([*parts, *tax_memory.sentences(memory, knees)])

    def draw(container: Container) -> None:
        axes = container.subplots()
        taxed.lines(axes, curves, study.axis)
        for row in records(rising):
            axes.plot(
                row["knee"], row["at_knee"], "o", markersize=12, markerfacecolor="none", markeredgecolor=style.INK
            )
        draw_noise(axes, found)
        axes.set_ylabel(phrase("geometric mean over guests\n({})", measure_of(found)), fontsize=7.5)

    return Special(
        claim=judged(holds),
        reason=reason,
        blocks=[
            Picture(
                name=f"knee{figures.suffix(study)}",
                caption=phrase(
                    "Geometric mean over the guests of the {}, median over blocks with its 95 % interval, by the "
                    "tax on idle memory; one line a level of {}. Ringed: the knee. {}.",
                    measure_of(found),
                    study.axis,
                    how,
                )
                + noise_told(found),
                draw=draw,
                height_in=3.0,
            ),
            *([tax_memory.picture(found, memory)] if len(memory) else []),
            _table(found, knees),
        ],
        frames={"knee": knees, "curves": curves, "tax-memory": memory},
    )


def near(study: Study, level: float) -> float:
    """Return within which share of the best tax another one is as good."""
    return max(NEAR, noise_at(study, level) - 1)


def knees_of(curves: pd.DataFrame) -> pd.DataFrame:
    """Return one row a level: the knee, the best tax, and by how much the largest tax is below the best, in percent.

    `near` of a curve is the share of the best within which another tax is as good.
    """
    rows = []
    for level, mine in curves.groupby(curves["level"].fillna(-math.inf), sort=True):
        row: dict[str, float] = {"level": math.nan if math.isinf(level) else float(level), "n": int(mine["n"].min())}
        row |= {"near_pc": 100 * mine["near"].max(), "least_tax": mine["tax"].min(), "most_tax": mine["tax"].max()}
        row |= dict.fromkeys(("knee", "at_knee", "best", "at_best", "gain_pc", "after_pc"), math.nan)
        if mine["median"].notna().any():
            best = mine[mine["median"] == mine["median"].max()].iloc[0]
            enough = np.nanmin([best["low"], (1 - best["near"]) * best["median"]])
            first = mine[mine["median"] >= enough].iloc[0]
            last = mine.iloc[-1]["median"]
            row |= {"knee": first["tax"], "at_knee": first["median"], "best": best["tax"], "at_best": best["median"]}
            row |= {"gain_pc": 100 * (best["median"] / mine.iloc[0]["median"] - 1)}
            row |= {"after_pc": 100 * (last / best["median"] - 1)}
        rows.append(row)
    shares = ("knee", "at_knee", "best", "at_best", "gain_pc", "after_pc")
    return pd.DataFrame(rows, columns=["level", "n", "near_pc", "least_tax", "most_tax", *shares])


def _table(found: Findings, knees: pd.DataFrame) -> Table:
    swept = found.swept
    rows = [
        ([f"{row['level']:g}"] if swept else [])
        + [words.number(row[name]) for name in ("knee", "theory_knee", "at_knee", "best", "at_best")]
        + [f"{row['after_pc']:+.1f} %", str(row["n"])]
        for row in records(knees)
    ]
    return Table(
        name=f"knee{figures.suffix(found.study)}",
        caption=phrase(
            "{}; what is reached there, at the best tax, and how far the largest tax is from the best. Theory's knee: "
            "the smallest tax that by T2 gives the guest with most to gain all that it uses unconstrained.",
            phrase(HOW, 100 * NEAR),
        ),
        head=([found.study.axis] if swept else [])
        + phrases("knee", "theory's knee", "reached", "best tax", "reached", "largest tax", "n"),
        rows=rows,
        aligns=("r" if swept else "") + "rrrrrrr",
    )
