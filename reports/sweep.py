"""What an experiment varies: every policy over the axis, and the sentences that say at which levels who is better."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.ticker import FixedLocator, FuncFormatter, NullLocator

from harness.statistics import BOUNDS
from reports import figures, strip, style, words
from reports.document import Container, Picture
from reports.findings import Findings
from reports.language import phrase
from reports.statistics import ENOUGH
from reports.study import Study
from reports.summary import records
from reports.words import Verdict

DECADES = 16.0
"""An axis whose levels span more than this many times is logarithmic."""


def level_axis(axes: Axes, levels: Sequence[float], name: str) -> None:
    """Lay out the x axis of a sweep, with a tick at every level as far as there is room."""
    if min(levels) > 0 and max(levels) > DECADES * min(levels):
        axes.set_xscale("log")
    axes.xaxis.set_major_locator(FixedLocator(list(levels[:: -(-len(levels) // 9)])))
    axes.xaxis.set_minor_locator(NullLocator())
    axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
    axes.set_xlabel(name)


def cases(study: Study) -> bool:
    """Whether the levels are cases without an order, and no amounts: they differ in workload or kind of behaviour."""
    sweep: Mapping[str, Any] = study.experiment("sweep") or {}
    levels = [(level.get("guests") or {}).items() for level in sweep.get("levels") or ()]
    changes = [{name: change for name, change in level if change} for level in levels]
    kinds = {
        frozenset((name, change["behaviour"]["kind"]) for name, change in level.items() if change.get("behaviour"))
        for level in changes
    }
    return len(kinds) > 1 or any(change.get("workload") for level in changes for change in level.values())


def _room(levels: Sequence[float]) -> float:
    """Return how much of the axis a level has for itself."""
    return 0.7 * float(np.diff(levels).min()) if len(levels) > 1 else 0.7


def picture(found: Findings) -> Picture:
    """Return the figure of a sweep: speed-up over the axis, of all guests and of the worst one."""
    study, rows = found.study, found.overall
    looks = style.looks(study.labels)
    room = _room(study.levels) if cases(study) else None
    drawn = [label for label in looks if label in set(rows["label"])]
    beside = (np.arange(len(drawn)) - (len(drawn) - 1) / 2) / len(drawn) * (room or 0)
    alone = {} if room is None else {"linestyle": ""}

    def draw(container: Container) -> None:
        grid = container.subplots(1, 2, sharex=True, sharey=True)
        every = [value for name in ("speedup", "low", "high", "worst_speedup") for value in rows[name]]
        for axes, title, names, band in (
            (grid[0], phrase("all guests, geometric mean"), ("speedup", "low", "high"), "band"),
            (grid[1], phrase("the worst guest"), ("worst_speedup", "worst_low", "worst_high"), "widest_band"),
        ):
            limits = figures.ratio_axis(axes, "y", every)
            axes.axhspan(limits[0], 1, color="#f6f0ec", zorder=0, linewidth=0)
            strip.along(axes, rows, band, limits, width=room)
            axes.axhline(1, color=style.QUIET, linewidth=0.8)
            for label, aside in zip(drawn, beside, strict=True):
                mine = rows[rows["label"] == label]
                faint = {"alpha": 0.45} if study.policy(label) in BOUNDS else {}
                line(axes, mine.assign(level=mine["level"] + aside), names, looks[label] | faint | alone, limits)
            axes.set_ylim(limits)
            axes.set_title(title, loc="left")
            level_axis(axes, study.levels, style.wrapped(study.axis, 42))
        grid[0].set_ylabel(phrase("speed-up over {}", study.baseline))
        handles, labels = grid[0].get_legend_handles_labels()
        shown = [style.shortened(label, 28) for label in labels]
        container.legend(handles, shown, loc="outside lower center", ncols=4)

    return Picture(
        name=f"sweep{figures.suffix(study)}",
        caption=phrase(
            "Speed-up over {} at every level of {}. Left: geometric mean over the guests, median over "
            "the repetitions{}. Right: the guest that fares worst. In the shade below 1\N{MULTIPLICATION SIGN} it is "
            "worse than {}. {}{}",
            study.baseline,
            study.axis,
            phrase(", with its exact 95 % interval") if rows["low"].notna().any() else "",
            study.baseline,
            phrase("A line breaks where a level has no whole block.")
            if room is None
            else phrase("The levels are cases without an order: policies stand beside one another, joined by no line."),
            (phrase(" Pale: bounds that nobody could run.") if study.labels != study.contestants else "")
            + (phrase(" Hollow: too few blocks for a result.") if rows["observations"].lt(ENOUGH).any() else "")
            + strip.explained(study, phrase("right that of the guest that repeats worst")),
        ),
        draw=draw,
        height_in=3.1 + 0.17 * -(-len(study.rivals) // 4),
    )


def line(
    axes: Axes,
    rows: pd.DataFrame,
    names: tuple[str, str, str],
    look: Mapping[str, Any],
    limits: tuple[float, float] | None = None,
    x: str = "level",
) -> None:
    """Draw one label: a line through its estimates, and their intervals."""
    values, low, high = (rows[name].to_numpy(dtype=float) for name in names)
    if limits is not None:
        values, low, high = (np.clip(part, *limits) for part in (values, low, high))
    axes.plot(rows[x], values, markersize=4.5, **look)
    if "observations" in rows:
        few = (rows["observations"] < ENOUGH).to_numpy()
        hollow = {"linestyle": "", "markersize": 4.5, "markerfacecolor": style.PAPER, "label": None}
        axes.plot(rows[x][few], values[few], **{**look, **hollow})
    axes.vlines(rows[x], low, high, color=look["color"], linewidth=1, alpha=0.7)


def outcomes(found: Findings) -> Iterator[tuple[str, str]]:
    """Yield who won and who lost, policy by policy, with the levels at which they did."""
    study, base = found.study, found.study.baseline
    rows = found.overall[found.overall["label"].isin(study.contestants)] if len(found.overall) else found.overall
    if base is None or not len(rows):
        return
    better = [_at(mine, Verdict.BETTER) for _, mine in rows.groupby("label", sort=False)]
    worse = [_at(mine, Verdict.WORSE) for _, mine in rows.groupby("label", sort=False)]
    seen = (rows["n"].gt(0) & rows["observations"].lt(ENOUGH)).any()
    few = phrase(
        " Levels with fewer than {} blocks that differ are observations, and not counted.", phrase(words.COUNTS[ENOUGH])
    )
    few = few if seen else ""
    axis = phrase("Judged level by level of {}, geometric mean over the guests. ", study.axis)
    yield (
        phrase("Who won."),
        axis + (_some(better) or phrase("No policy is shown to be better than {} at any level.", base)) + few,
    )
    yield phrase("Who lost."), _some(worse) or phrase("No policy is shown to be worse than {} at any level.", base)


def _some(parts: Sequence[str]) -> str:
    said = [part for part in parts if part]
    return f"{'; '.join(said)}." if said else ""


def _at(rows: pd.DataFrame, kind: Verdict) -> str:
    """Say of one label at which levels it is better or worse, and where most."""
    chosen = [row for row in records(rows) if words.verdict(row) == kind]
    if not chosen:
        return ""
    most = (max if kind == Verdict.BETTER else min)(chosen, key=lambda row: row["speedup"])
    where = words.listed([f"{row['level']:g}" for row in chosen]) if len(chosen) < len(rows) else phrase("every level")
    return phrase(
        "{} {} at {} (most at {:g}: {})", most["label"], phrase(kind), where, most["level"], words.estimate(most)
    )
