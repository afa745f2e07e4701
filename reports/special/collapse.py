"""`collapse`: where on the axis of the sweep each policy falls below half of the performance that was possible."""

from __future__ import annotations

import math

import numpy as np
import pandas as pd

from reports import figures, style, sweep, words
from reports.document import Container, Picture, Table
from reports.findings import Findings
from reports.language import phrase, phrases
from reports.special.measure import draw_noise, estimates, falls_below, measure_of, noise_at, noise_told
from reports.special.verdict import Special, judged
from reports.summary import records

SHARE = 0.5
"""Below this share of the performance with unconstrained memory a policy has collapsed."""


def special(found: Findings) -> Special:
    """Return curves, collapse points, and whether the policies collapse later than the baseline."""
    study = found.study
    curves, points = estimates(found, "geometric_mean"), collapses(found)
    rivals = points[points["label"].isin(study.contestants) & (points["label"] != study.baseline)]
    base = points[points["label"] == study.baseline]
    holds, reason = _verdict(rivals, base, study.axis)

    def draw(container: Container) -> None:
        axes = container.subplots()
        axes.axhline(SHARE, color=style.QUIET, linewidth=0.8, linestyle=(0, (4, 3)))
        for label, look in style.looks(study.labels).items():
            mine = curves[(curves["label"] == label) & curves["median"].notna()]
            if len(mine):
                pale = {} if label in study.contestants else {"alpha": 0.45}
                sweep.line(axes, mine, ("median", "low", "high"), look | pale)
        drawn = points[points["collapse_at"].notna()]
        tints = style.colours(study.labels)
        for row in records(drawn):
            axes.plot(row["collapse_at"], SHARE, "|", color=tints[row["label"]], markersize=14, markeredgewidth=2)
        sweep.level_axis(axes, study.levels or (0.0,), study.axis)
        axes.set(ylim=(0, 1.08 * max(1.0, np.nanmax(curves["median"]))), ylabel=style.shortened(measure_of(found), 48))
        draw_noise(axes, found)
        container.legend(loc="outside right upper")

    return Special(
        claim=judged(holds),
        reason=reason,
        blocks=[
            Picture(
                name=f"collapse{figures.suffix(study)}",
                caption=phrase(
                    "Geometric mean over the guests of the {}, median over blocks with its 95 % interval. "
                    "Dashed: {:g}, below which a policy is said to have collapsed; the bars on that line are "
                    "where each one does, between levels along a straight line. Pale: bounds.{}",
                    measure_of(found),
                    SHARE,
                    noise_told(found),
                ),
                draw=draw,
                height_in=3.2,
            ),
            _table(found, points),
        ],
        frames={"collapse": points, "curves": curves},
    )


def collapses(found: Findings) -> pd.DataFrame:
    """Return one row a label: where its curve first falls below `SHARE`; NaN where it never does.

    `surely_at` is where it would, had it been lower by what the baseline shows against itself: what lies within that
    is no difference.
    """
    curves = estimates(found, "geometric_mean")
    rows = []
    for label, mine in curves.groupby("label", sort=False):
        point = falls_below(mine["level"].tolist(), mine["median"], SHARE)
        row = {"label": label, "share": SHARE, "collapse_at": point.at, "from": point.first, "to": point.last}
        lower = mine["median"] / [noise_at(found.study, level) for level in mine["level"]]
        row |= {"surely_at": falls_below(mine["level"].tolist(), lower, SHARE).at}
        rows.append({"experiment": found.study.name, "backend": found.study.backend} | row)
    return pd.DataFrame(rows)


def _verdict(rivals: pd.DataFrame, base: pd.DataFrame, axis: str) -> tuple[bool | None, str]:
    if not len(base) or math.isnan(base["to"].iloc[0]):
        return None, phrase("the baseline has no level with a value of every guest.")
    limit = float(base["collapse_at"].iloc[0])
    name = str(base["label"].iloc[0])
    if math.isnan(limit):
        return None, phrase(
            "{} does not fall below {:g} up to {:g} of {}; go further.", name, SHARE, base["to"].iloc[0], axis
        )
    never = rivals["surely_at"].isna() & (rivals["to"] > limit)
    later = rivals[never | (rivals["surely_at"] > limit)]["label"]
    others = rivals[~rivals["label"].isin(later)]["label"]
    each = words.listed([f"{row['label']} {_place(row)}" for row in records(rivals)])
    tail = phrase(" No later than {}: {}.", name, words.listed(list(others))) if len(others) else ""
    return (
        bool(len(later)),
        phrase(
            "{} falls below {:g} of what was possible at {:.2f} ({}); of the others: {}.{}",
            name,
            SHARE,
            limit,
            axis,
            each,
            tail,
        ),
    )


def _place(row: dict[str, float]) -> str:
    if math.isnan(row["to"]):
        return phrase("unknown")
    if math.isnan(row["collapse_at"]):
        return phrase("not up to {:g}", row["to"])
    return (
        phrase("from the start ({:g})", row["from"])
        if row["collapse_at"] == row["from"]
        else phrase("at {:.2f}", row["collapse_at"])
    )


def _table(found: Findings, points: pd.DataFrame) -> Table:
    return Table(
        name=f"collapse{figures.suffix(found.study)}",
        caption=phrase(
            "Where each policy first falls below {:g} ({}), between levels along a straight line; no "
            "number beyond the levels that ran.",
            SHARE,
            found.study.axis,
        ),
        head=phrases("policy", "falls below"),
        rows=[[row["label"], _place(row)] for row in records(points)],
        aligns="ll",
    )
