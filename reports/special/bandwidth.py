"""`bandwidth`: how fast demand may swing until half of a policy's gain is gone."""

from __future__ import annotations

import math

import pandas as pd

from reports import figures, strip, style, sweep, words
from reports.document import Container, Picture, Table
from reports.findings import Findings
from reports.language import phrase, phrases
from reports.special.measure import falls_below
from reports.special.verdict import Special, judged
from reports.statistics import ENOUGH
from reports.summary import records

LEFT = 0.5
"""Share of the gain at the slowest level that is left at the bandwidth."""


def special(found: Findings) -> Special:
    """Return the gain over the axis, the bandwidths, and whether the gain shrinks for every policy that has one."""
    study, points = found.study, bandwidths(found)
    rivals = points[points["label"].isin(study.contestants)]
    gaining = rivals[rivals["gain_pc"] > rivals["noise_pc"]]
    limited = gaining[gaining["bandwidth"].notna()]
    holds = None if not len(gaining) or gaining["n"].min() < ENOUGH else bool(len(limited) == len(gaining))
    said = words.listed([f"{row['label']} {_place(row)}" for row in records(gaining)])
    axis = study.axis
    reason = (
        phrase("half of the gain over {} at the slowest level is gone, by {}: {}.", study.baseline, axis, said)
        if len(gaining)
        else phrase("no policy gains anything over {} at the slowest level.", study.baseline)
    )
    rows = found.overall.assign(gain_pc=100 * (found.overall["speedup"] - 1))
    rows = rows.assign(low_pc=100 * (rows["low"] - 1), high_pc=100 * (rows["high"] - 1))

    def draw(container: Container) -> None:
        axes = container.subplots()
        axes.axhline(0, color=style.QUIET, linewidth=0.8)
        strip.along(axes, rows, "band", (rows["low_pc"].min(), rows["high_pc"].max()), gain=True)
        looks = style.looks(study.labels)
        for label in study.rivals:
            pale = {} if label in study.contestants else {"alpha": 0.45}
            mine = rows[rows["label"] == label]
            sweep.line(axes, mine, ("gain_pc", "low_pc", "high_pc"), looks[label] | pale)
        for row in records(limited):
            axes.axvline(row["bandwidth"], color=looks[row["label"]]["color"], linewidth=0.8, linestyle=(0, (2, 3)))
        sweep.level_axis(axes, study.levels or (1.0,), axis)
        axes.set_ylabel(phrase("gain over {}, %\n(geometric mean over guests)", study.baseline))
        container.legend(loc="outside right upper")

    return Special(
        claim=judged(holds),
        reason=reason,
        blocks=[
            Picture(
                name=f"bandwidth{figures.suffix(study)}",
                caption=phrase(
                    "What is gained over {} (geometric mean over the guests, median over blocks, 95 % interval) "
                    "as demand swings faster. Dotted: where half of a policy's gain at the slowest level is "
                    "gone. Pale: bounds.{}",
                    study.baseline,
                    strip.explained(study, around=phrase("no gain")),
                ),
                draw=draw,
                height_in=3.0,
            ),
            Table(
                name=f"bandwidth{figures.suffix(study)}",
                caption=phrase(
                    "Gain over {} at the slowest level, and where half of it is gone ({}), between levels along "
                    "a straight line.",
                    study.baseline,
                    axis,
                ),
                head=phrases("policy", "gain at the slowest, %", "half gone"),
                rows=[[row["label"], words.number(row["gain_pc"]), _place(row)] for row in records(points)],
                aligns="lrl",
            ),
        ],
        frames={"bandwidth": points},
    )


def bandwidths(found: Findings) -> pd.DataFrame:
    """Return one row a rival: its gain at the slowest level, and where half of it is gone; NaN where it never is."""
    rows = []
    for label, mine in found.overall.groupby("label", sort=False):
        gain = mine["speedup"].to_numpy(dtype=float) - 1
        wide = len(mine) > 1 and mine["level"].min() > 0
        least = words.band(records(mine)[0]) - 1  # what the baseline gains over itself is no gain
        point = falls_below(mine["level"].tolist(), gain, LEFT * gain[0], logarithmic=wide) if gain[0] > least else None
        row = {"label": label, "gain_pc": 100 * gain[0], "noise_pc": 100 * least}
        row |= {"bandwidth": point.at if point else math.nan, "to": mine["level"].max(), "n": int(mine["n"].min())}
        rows.append({"experiment": found.study.name, "backend": found.study.backend} | row)
    return pd.DataFrame(rows, columns=["experiment", "backend", "label", "gain_pc", "noise_pc", "bandwidth", "to", "n"])


def _place(row: dict[str, float]) -> str:
    if not row["gain_pc"] > row["noise_pc"]:
        return phrase("no gain to lose")
    return (
        phrase("not up to {:g}", row["to"]) if math.isnan(row["bandwidth"]) else phrase("at {:.3g}", row["bandwidth"])
    )
