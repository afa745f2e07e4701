"""`pareto`: efficiency against the worst guest, level by level; who is dominated by nobody."""

from __future__ import annotations

import math

import numpy as np
import pandas as pd
from matplotlib.axes import Axes

from reports import figures, noise, strip, style, words
from reports.document import Container, Picture, Table
from reports.findings import Findings
from reports.language import phrase, phrases
from reports.special.measure import blocks_of, is_share, measure_of, noise_at
from reports.special.verdict import Special, judged
from reports.statistics import ENOUGH
from reports.summary import records

WIDE = 3


def special(found: Findings) -> Special:
    """Return the figure, its table and the verdict: whether some policy is dominated by no other at any level."""
    study, measure = found.study, measure_of(found)
    rows = points(found)
    levels = study.levels or (np.nan,)
    fronts = [set(rows[(rows["level"].fillna(-1) == _key(level)) & rows["free"]]["label"]) for level in levels]
    always = [label for label in study.labels if all(label in front for front in fronts)]
    known = bool(len(rows)) and bool(rows["geometric_mean"].notna().any())
    blocks = int(rows["n"].max()) if known else 0
    tells = len(levels) > 1 and blocks >= ENOUGH
    each = words.semicolon().join(
        (phrase("at {:g}: ", level) if study.levels else "") + words.listed([x for x in study.labels if x in front])
        for level, front in zip(levels, fronts, strict=True)
    )
    where = phrase("every level" if study.levels else "the experiment")
    reason = (
        phrase("no block has a value of every guest under every policy.")
        if not known
        else phrase(
            "Dominated by no other in {}: {}. Non-dominated {}. By medians over {}; ",
            where,
            words.listed(always) if always else phrase("no policy"),
            each,
            words.counted(blocks, "block"),
        )
        + (
            phrase("a difference within what {} shows against itself counts as none.", repeated)
            if (repeated := noise.repeated(study))
            else phrase("a difference within noise can decide who dominates.")
        )
        + ("" if len(levels) > 1 else phrase(" In one mix there always is one, so this judges no claim."))
        + ("" if blocks >= ENOUGH else phrase(" A result takes {} blocks that differ.", ENOUGH))
    )

    whose = phrase("across that of the guest that repeats worst")

    def draw(container: Container) -> None:
        wide = min(WIDE, len(levels))
        grid = container.subplots(-(-len(levels) // wide), wide, squeeze=False, sharex=True, sharey=True)
        for axes, level in zip(grid.flat, levels, strict=False):
            x = figures.ratio_axis(axes, "x", list(rows["geometric_mean"]))
            y = figures.ratio_axis(axes, "y", list(rows["worst"]))
            inside = rows.assign(geometric_mean=rows["geometric_mean"].clip(*x), worst=rows["worst"].clip(*y))
            _panel(axes, inside[inside["level"].fillna(-1) == _key(level)], study.labels)
            axes.set(xlim=x, ylim=y, xlabel=phrase("geometric mean over guests"))
            if not is_share(found):
                strip.across(axes, noise_at(study, level), "x", x)
                strip.across(axes, noise_at(study, level, worst=True), "y", y)
            if study.levels:
                axes.set_title(phrase("level {:g}", level), loc="left")
        for axes in list(grid.flat)[len(levels) :]:
            axes.set_axis_off()
        grid[0, 0].set_ylabel(phrase("worst guest of each block\n({})", measure))
        looks = style.looks(study.labels)
        handles = [
            axes.plot([], [], **(looks[label] | {"linestyle": ""}))[0]
            for label in study.labels if label in set(rows["label"])
        ]  # fmt: skip
        container.legend(handles=handles, loc="outside lower center", ncols=5, handletextpad=0.3)

    return Special(
        claim=judged(bool(always) if tells else None),
        reason=reason,
        blocks=[
            Picture(
                name=f"pareto{figures.suffix(study)}",
                caption=phrase(
                    "Efficiency against protection: geometric mean over the guests, and each block's worst guest, "
                    "whichever that is, both as {}, median over blocks. Up and to the right is better. Ringed: "
                    "dominated by no other policy that could be run. The line joins them.",
                    measure,
                )
                + (phrase(" Pale: bounds.") if rows["bound"].any() else "")
                + (phrase(" One panel a level of {}.", study.axis) if study.levels else "")
                + ("" if is_share(found) else strip.explained(study, whose)),
                draw=draw,
                height_in=0.9 + 0.18 * -(-len(study.labels) // 5) + 2.3 * -(-len(levels) // WIDE),
            ),
            _table(found, rows, measure),
        ],
        frames={"pareto": rows},
    )


def points(found: Findings) -> pd.DataFrame:
    """Return one row a label and level: both measures, and whether no contestant dominates it."""
    study = found.study
    every = []
    for part in study.parts:
        blocks = blocks_of(part)
        medians = blocks.groupby("label")[["geometric_mean", "worst_speedup", "jain"]].median()
        medians = medians.rename(columns={"worst_speedup": "worst"})
        medians = medians.reindex([label for label in study.labels if label in medians.index])
        counts = blocks.groupby("label")["geometric_mean"].count()
        frame = medians.assign(
            n=counts.reindex(medians.index), level=part.level, experiment=study.name, backend=study.backend
        )
        frame = frame.reset_index(names="label")
        runs = frame[frame["label"].isin(study.contestants)]
        rivals = set(runs["label"])
        bands = noise_at(part, math.nan), noise_at(part, math.nan, worst=True)
        frame["bound"] = ~frame["label"].isin(study.contestants)
        frame["free"] = [
            row["label"] in rivals and not _dominated(row["geometric_mean"], row["worst"], runs, *bands)
            for row in records(frame)
        ]
        every.append(frame)
    return pd.concat(every, ignore_index=True)


def _dominated(
    mean: float, worst: float, others: pd.DataFrame, mean_band: float = 1.0, worst_band: float = 1.0
) -> bool:
    """Whether another one is as good in both, but for noise, and better in one by more; a policy without a value is."""
    as_good = (others["geometric_mean"] * mean_band >= mean) & (others["worst"] * worst_band >= worst)
    better = (others["geometric_mean"] > mean * mean_band) | (others["worst"] > worst * worst_band)
    return bool(np.isnan(mean) or (as_good & better).any())


def _panel(axes: Axes, rows: pd.DataFrame, labels: tuple[str, ...]) -> None:
    looks = style.looks(labels)
    front = rows[rows["free"]].sort_values("geometric_mean")
    axes.plot(front["geometric_mean"], front["worst"], color=style.RULE, linewidth=1, zorder=1)
    axes.plot(
        front["geometric_mean"], front["worst"], "o", markersize=11, markerfacecolor="none",
        markeredgecolor=style.INK, markeredgewidth=0.9, clip_on=False,
    )  # fmt: skip
    for row in records(rows):
        pale = row["bound"]
        look = looks[row["label"]] | {"linestyle": ""}
        axes.plot(row["geometric_mean"], row["worst"], markersize=5.5, alpha=0.4 if pale else 1, **look)


def _table(found: Findings, rows: pd.DataFrame, measure: str) -> Table:
    swept = found.swept
    cells = [
        ([f"{row['level']:g}"] if swept else [])
        + [
            row["label"],
            *(words.DASH if math.isnan(row[of]) else f"{row[of]:.4f}" for of in ("geometric_mean", "worst")),
        ]
        + [words.number(row["jain"]), str(int(row["n"])), phrase("yes") if row["free"] else ""]
        for row in records(rows)
    ]
    head = (phrases("level") if swept else []) + phrases(
        "policy", "geometric mean", "worst guest of each block", "Jain", "n", "non-dominated"
    )
    return Table(
        name=f"pareto{figures.suffix(found.study)}",
        caption=phrase("The points of the figure, as {}; n: blocks with a value of every guest.", measure),
        head=head,
        rows=cells,
        aligns=("r" if swept else "") + "lrrrrl",
    )


def _key(level: float) -> float:
    return -1 if np.isnan(level) else level
