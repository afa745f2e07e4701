"""The figures of the comparison: who gained overall, and every single block."""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import pairwise

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.axis import Axis
from matplotlib.lines import Line2D
from matplotlib.ticker import FixedLocator, FuncFormatter, NullLocator

from reports import noise, strip, style, summary, words
from reports.document import Container, Picture
from reports.language import phrase
from reports.statistics import ENOUGH, ratio_interval
from reports.study import Study
from reports.summary import records

_TICKS = (
    (1.35, np.round(np.arange(0.5, 1.6, 0.05), 2)),
    (2.2, np.round(np.arange(0.2, 2.6, 0.1), 2)),
    (8.0, np.array([0.1, 0.25, 0.5, 0.75, 1, 1.5, 2, 3, 4, 6, 8])),
    (999.0, np.array([0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1, 2, 5, 10, 20, 50, 100, 200, 500])),
)
"""Ticks of a logarithmic axis of ratios by how far it spans; beyond, whole decades."""

FARTHEST = 1000.0
"""An axis reaches no farther from 1: one value near 0 would press all others into a line."""

ROW_IN, ROWS_IN, LEAST_ROW_IN = 0.42, 3.3, 0.22
"""The height of a policy's row on page one; of all rows, where they are many, so that it stays there; of a row then."""

Panel = tuple[str, pd.DataFrame, float]
"""Title, rows, and the band of the A/A test."""


def ratio_axis(axes: Axes, which: str, values: Sequence[float]) -> tuple[float, float]:
    """Make the x or y axis logarithmic around 1, with ticks of round ratios; returns its limits.

    Values that a logarithm cannot hold (0, infinity), or that lie beyond `FARTHEST`, belong at the limits.
    """
    known = [min(max(value, 1 / FARTHEST), FARTHEST) for value in values if math.isfinite(value) and value > 0]
    low, high = min([*known, 0.95]), max([*known, 1.05])
    room = (high / low) ** 0.08
    low, high = low / room, high * room
    decades = 10.0 ** np.arange(math.floor(math.log10(low)), math.ceil(math.log10(high)) + 1)
    ticks = next((ticks for most, ticks in _TICKS if high / low <= most), decades)
    axes.set(**{f"{which}scale": "log"})
    axis: Axis = axes.xaxis if which == "x" else axes.yaxis
    axis.set_major_locator(FixedLocator([float(tick) for tick in ticks if low <= tick <= high]))
    axis.set_minor_locator(NullLocator())
    axis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}{words.TIMES}"))
    return low, high


def overall(study: Study) -> Picture:
    """Return the figure of page one: a label's speed-up over all guests, best first, and every guest's own."""
    guests = summary.speedups(study)
    table = summary.overall(study).sort_values("speedup", ascending=False, kind="stable")
    marks = style.markers(study.guests)
    tints = style.colours(study.labels)
    heads = guests[guests["headline"]]
    row_in = max(LEAST_ROW_IN, min(ROW_IN, ROWS_IN / len(table)))
    large, small = (8.0, 5.0) if row_in == ROW_IN else (6.5, 4.0)

    def draw(container: Container) -> None:
        axes = container.subplots()
        limits = ratio_axis(axes, "x", [*table["speedup"], *table["low"], *table["high"], *heads["speedup"]])
        axes.axvspan(limits[0], 1, color="#f6f0ec", zorder=0, linewidth=0)
        strip.across(axes, noise.bands(study).mean, "x", limits)
        axes.axvline(1, color=style.QUIET, linewidth=0.8)
        for place, row in enumerate(records(table)):
            tint = tints[row["label"]]
            for mine in records(heads[heads["label"] == row["label"]]):
                at = np.clip(mine["speedup"], *limits)
                axes.plot(
                    at,
                    place + 0.27,
                    edge(mine["speedup"], marks[mine["guest"]], limits),
                    color=tint,
                    alpha=0.55,
                    markersize=small,
                    clip_on=False,
                )
            if row["n"]:
                axes.hlines(place - 0.1, *np.clip([row["low"], row["high"]], *limits), color=tint, linewidth=2.2)
                filled = tint if row["observations"] >= ENOUGH else style.PAPER
                at = np.clip(row["speedup"], *limits)
                axes.plot(
                    at,
                    place - 0.1,
                    edge(row["speedup"], "o", limits),
                    color=tint,
                    markersize=large,
                    markerfacecolor=filled,
                    clip_on=False,
                )
        names = [style.shortened(label, 26) for label in table["label"]]
        axes.set_yticks(range(len(table)), names)
        axes.set(
            xlim=limits,
            ylim=(len(table) - 0.5, -0.5),
            xlabel=phrase("speed-up over {} (1\N{MULTIPLICATION SIGN}: the same)", study.baseline),
        )
        axes.grid(visible=False, axis="y")
        mean = phrase("geometric mean, 95 % interval")
        measured = [guest for guest in study.guests if guest in set(heads["guest"])]
        handles = [Line2D([], [], linestyle="", marker="o", color=style.INK, markersize=large, label=mean)]
        handles += [_handle(marks[guest], f"{guest}: {study.workload(guest)}") for guest in measured[:8]]
        container.legend(handles=handles, loc="outside lower center", ncols=3, handletextpad=0.3)

    few = phrase(" A hollow circle has too few blocks for a result, and no interval.")
    few = few if (table["observations"] < ENOUGH).any() else ""
    stopped = phrase(" An arrow at the edge: beyond it, as work that stopped altogether.")
    stopped = stopped if (heads["speedup"] < 1 / FARTHEST).any() else ""
    caption = phrase(
        "Speed-up over {} under each policy, best first, logarithmic. Large: the geometric mean over the guests, "
        "median over the blocks{}. Small: the median of every guest. "
        "Left of the line, in the shade, a guest does worse than under {}.{}{}{}",
        study.baseline,
        phrase(", with its exact 95 % interval") if table["low"].notna().any() else "",
        study.baseline,
        strip.explained(study, phrase("of the geometric mean")),
        few,
        stopped,
    )
    return Picture(name=f"overall{suffix(study)}", caption=caption, draw=draw, height_in=1.35 + row_in * len(table))


def per_block(study: Study) -> list[Picture]:
    """Return the figures with every block's speed-up: one panel a guest, and one for their geometric mean."""
    heads = study.pairs[study.pairs["metric"] == study.pairs["guest"].map(study.headline)]
    bands = noise.bands(study)
    panels = [
        (f"{guest}: {study.workload(guest)}\n{head}", heads[heads["guest"] == guest], bands.guest(guest, head))
        for guest in study.guests
        if (head := study.headline(guest)) is not None
    ]
    means = summary.per_block(study).rename(columns={"geometric_mean": "speedup"})
    panels.insert(0, (f"{phrase('all guests together')}\n{phrase('geometric mean')}", means, bands.mean))
    wide = 3 if len(study.rivals) <= 4 else 2 if len(study.rivals) <= 7 else 1
    wide = min(wide, len(panels))
    size = wide * (4 if wide > 1 else 2)  # a whole page of them would leave the one before half empty
    chunks = [panels[start : start + size] for start in range(0, len(panels), size)]
    every = [*heads["speedup"], *means["speedup"]]
    pictures = []
    for number, chunk in enumerate(chunks, start=1):
        part = f"-{number}" if len(chunks) > 1 else ""
        height = 0.35 + math.ceil(len(chunk) / wide) * 2.27
        pictures.append(
            Picture(
                name=f"per-block{suffix(study)}{part}",
                caption=(
                    phrase(
                        "Performance of every block over {} in the same block (logarithmic; "
                        "above 1\N{MULTIPLICATION SIGN} is better, "
                        "whichever way the metric counts). Every point is one block; points of one block have the "
                        "same place from left to right within a policy. Bars: median and its exact 95 % interval, "
                        "where there is one. A cross at the foot of a column: that many blocks have no pair, because "
                        "a trial failed. A triangle at the edge: beyond it, as work that stopped altogether.",
                        study.baseline,
                    )
                    + strip.explained(study, phrase("in each panel its own"))
                ),
                draw=lambda container, chunk=chunk: _blocks(container, study, chunk, wide, every),  # type: ignore[misc]
                height_in=height,
            )
        )
    return pictures


def suffix(study: Study) -> str:
    """Return what tells the files of this study from those of another one in the same report."""
    plain = "".join(char if char.isalnum() else "-" for char in f"{study.name}-{study.backend}".lower())
    return f"-{plain.strip('-')}"


def _blocks(container: Container, study: Study, panels: Sequence[Panel], wide: int, every: Sequence[float]) -> None:
    tall = math.ceil(len(panels) / wide)
    grid = container.subplots(tall, wide, sharex=True, sharey=True, squeeze=False)
    places = sorted(study.trials["place"].unique(), key=_natural)
    low, high = ratio_axis(grid[0, 0], "y", every)
    limits = (low * (low / high) ** 0.12, high)  # room at the foot for the count of blocks without a pair
    for axes, (title, rows, band) in zip(grid.flat, panels, strict=False):
        ratio_axis(axes, "y", every)
        strip.across(axes, band, "y", limits)
        axes.axhline(1, color=style.QUIET, linewidth=0.8)
        _panel(axes, study, rows, places, limits)
        axes.set_title("\n".join(style.shortened(line, 66 // wide) for line in title.splitlines()), loc="left")
        axes.set_ylim(limits)
    for axes in list(grid.flat)[len(panels) :]:
        axes.set_axis_off()
    for column in range(wide):  # the lowest panel of every column carries the names
        lowest = grid[(len(panels) - 1 - column) // wide, column] if column < len(panels) else None
        if lowest is not None:
            names = [style.shortened(label, 18) for label in study.rivals]
            lowest.set_xticks(range(len(names)), names, rotation=30, ha="right", rotation_mode="anchor")
            lowest.tick_params(labelbottom=True)
    container.supylabel(phrase("speed-up over {}", study.baseline), fontsize=8)


def _panel(axes: Axes, study: Study, rows: pd.DataFrame, places: list[str], limits: tuple[float, float]) -> None:
    looks = style.looks(study.labels)
    for place, label in enumerate(study.rivals):
        mine = rows[rows["label"] == label]
        known = mine[mine["speedup"].notna()]
        spread = [place - 0.25 + 0.5 * (places.index(at) + 0.5) / len(places) for at in known["place"]]
        tint, mark = looks[label]["color"], looks[label]["marker"]
        for x, value in zip(spread, known["speedup"], strict=True):
            shape = edge(value, mark, limits, "v^")
            at = float(np.clip(value, *limits))
            axes.plot(x, at, shape, color=tint, markersize=4.5, alpha=0.8, markeredgewidth=0, clip_on=False)
        found = ratio_interval(known["speedup"], once=study.simulated)
        if found.n:
            median, low, high = np.clip([found.median, found.low, found.high], *limits)
            axes.hlines(median, place - 0.34, place + 0.34, color=style.INK, linewidth=1.3)
            axes.vlines(place + 0.34, low, high, color=style.INK, linewidth=0.9)
        if missing := len(mine) - len(known):
            axes.annotate(
                f"{words.TIMES} {missing}", (place, 0), xycoords=("data", "axes fraction"), xytext=(0, 2),
                textcoords="offset points", ha="center", va="bottom", fontsize=7.5, color="#b00020", fontweight="bold",
            )  # fmt: skip
    axes.set_xlim(-0.6, len(study.rivals) - 0.4)
    axes.grid(visible=False, axis="x")
    for left, right in pairwise(range(len(study.rivals))):
        axes.axvline((left + right) / 2, color=style.RULE, linewidth=0.4)


def edge(value: float, marker: str, limits: tuple[float, float], arrows: str = "<>") -> str:
    """Return the marker, or an arrow for what lies beyond the axis."""
    return arrows[0] if value < limits[0] else arrows[1] if value > limits[1] else marker


def _handle(marker: str, label: str) -> Line2D:
    return Line2D(
        [], [], linestyle="", marker=marker, color=style.QUIET, label=style.shortened(label, 32), markersize=5
    )


def _natural(place: str) -> tuple[str, int]:
    run, _, block = place.rpartition("/")
    return run, int(block)
