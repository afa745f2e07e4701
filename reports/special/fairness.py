"""`fairness`: what the tax does to isolation (Jain's index) and to efficiency (geometric mean)."""

from __future__ import annotations

import math

import pandas as pd

from reports import figures, words
from reports.document import Container, Picture, Table
from reports.findings import Findings
from reports.language import phrase, phrases
from reports.special import taxed
from reports.special.measure import draw_noise, measure_of, noise_at, noise_told
from reports.special.verdict import Special, judged
from reports.statistics import ENOUGH
from reports.summary import records


def special(found: Findings) -> Special:
    """Return both curves over the tax, and whether more tax gains efficiency and loses fairness at every level."""
    study = found.study
    jain, mean = taxed.over_tax(found, "jain"), taxed.over_tax(found, "geometric_mean")
    ends = ends_of(jain, mean)
    ends = ends.assign(noise_pc=[100 * (noise_at(study, level) - 1) for level in ends["level"]])
    known = ends[ends["n"] >= ENOUGH]
    traded = known[(known["mean_pc"] > known["noise_pc"]) & (known["jain_change"] < 0)]
    holds = None if not len(ends) or len(known) < len(ends) else len(traded) == len(ends)
    each = words.listed(
        [
            phrase(
                "{:+.1f} % geometric mean and {:+.3f} Jain{}",
                row["mean_pc"],
                row["jain_change"],
                words.at_level(row["level"]),
            )
            for row in records(ends)
        ]
    )
    both = ends[(ends["mean_pc"] > ends["noise_pc"]) & (ends["jain_change"] >= 0)]
    note = phrase(" No trade at {}: both gain.", words.listed([f"{x:g}" for x in both["level"]])) if len(both) else ""
    reason = phrase("from the smallest to the largest tax: {}.{}", each or phrase("nothing known"), note)

    def draw(container: Container) -> None:
        grid = container.subplots(1, 2, sharex=True)
        for axes, frame, title in zip(
            grid, (jain, mean), (phrase("Jain's index"), phrase("geometric mean over guests")), strict=True
        ):
            taxed.lines(axes, frame, study.axis)
            axes.set_title(title, loc="left")
        draw_noise(grid[1], found)
        grid[1].get_legend().remove() if study.levels else None
        grid[0].set_ylabel(measure_of(found), fontsize=7)

    return Special(
        claim=judged(holds),
        reason=reason,
        blocks=[
            Picture(
                name=f"fairness{figures.suffix(study)}",
                caption=phrase(
                    "Fairness and efficiency by the tax on idle memory; one line a level of {}. Left: Jain's "
                    "index over the guests' {}, 1 when all fare alike. Right: their geometric mean. Medians over "
                    "blocks with 95 % intervals.{}",
                    study.axis,
                    measure_of(found),
                    noise_told(found),
                ),
                draw=draw,
                height_in=2.9,
            ),
            _table(found, jain, mean),
        ],
        frames={"fairness": pd.concat([jain.assign(measure="jain"), mean.assign(measure="geometric_mean")])},
    )


def ends_of(jain: pd.DataFrame, mean: pd.DataFrame) -> pd.DataFrame:
    """Return one row a level: what changes from the smallest to the largest tax."""
    rows = []
    for level, fair in jain.groupby(jain["level"].fillna(-math.inf), sort=True):
        good = mean[mean["level"].fillna(-math.inf) == level]
        rows.append(
            {
                "level": math.nan if math.isinf(level) else float(level),
                "jain_change": fair["median"].iloc[-1] - fair["median"].iloc[0],
                "mean_pc": 100 * (good["median"].iloc[-1] / good["median"].iloc[0] - 1),
                "n": int(min(fair["n"].min(), good["n"].min())),
            }
        )
    return pd.DataFrame(rows, columns=["level", "jain_change", "mean_pc", "n"])


def _table(found: Findings, jain: pd.DataFrame, mean: pd.DataFrame) -> Table:
    rows = [
        ([f"{fair['level']:g}"] if found.swept else [])
        + [f"{fair['tax']:g}", words.number(fair["median"]), words.interval(fair["low"], fair["high"])]
        + [words.number(good["median"]), words.interval(good["low"], good["high"]), str(fair["n"])]
        for fair, good in zip(records(jain), records(mean), strict=True)
    ]
    head = (phrases("level") if found.swept else []) + phrases(
        "tax", "Jain", "its interval", "geometric mean", "its interval", "n"
    )
    return Table(
        name=f"fairness{figures.suffix(found.study)}",
        caption=phrase("Jain's index and geometric mean of the guests' {} by tax.", measure_of(found)),
        head=head,
        rows=rows,
        aligns=("r" if found.swept else "") + "rrrrrr",
    )
