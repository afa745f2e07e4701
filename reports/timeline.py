"""Where the memory was: every guest over time under every policy, side by side on the same axes."""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import groupby
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.legend import Legend
from matplotlib.lines import Line2D
from matplotlib.patches import Patch

from reports import hover, style, summary
from reports.document import Container, Picture
from reports.figures import suffix
from reports.language import phrase
from reports.study import Study

COLUMNS = 4
"""Policies side by side on one page; more go on a further page, the baseline always first."""
ROWS = 6
LEGEND_COLUMNS = 6
LOW = 3
"""More guests than these have lower rows, so that their page holds something else too."""
MOST_GUESTS = 24
"""Guests that are drawn; a page a few of them, so hundreds would make a report nobody turns over."""
ALIKE = 4.0
"""All panels share one scale unless the largest guest is more than this many times the smallest."""
MIB = 1024.0


def timelines(study: Study) -> list[Picture]:
    """Return the timelines of a representative block."""
    place = summary.representative(study)
    trials = {label: study.samples(place, label) for label in study.labels}
    first, rest = study.labels[:1], study.labels[1:]
    columns = [first + chunk for chunk in chunks(rest, COLUMNS - 1)] or [first]
    drawn = study.guests[:MOST_GUESTS]
    hosts = {host: tuple(guest for guest in names if guest in drawn) for host, names in study.hosts.items()}
    pages = [
        (labels, names, host)
        for labels in columns
        for host, mine in (hosts or {"": drawn}).items()
        for names in chunks(mine, ROWS)
    ]
    left_out = len(study.guests) - MOST_GUESTS
    most = phrase(" The first {} guests; {} more are in samples.csv.", MOST_GUESTS, left_out) if left_out > 0 else ""
    run, _, block = place.rpartition("/")
    level = "" if math.isnan(study.level) else phrase(" at {:g} ({})", study.level, study.axis)
    pictures = []
    for number, (labels, names, host) in enumerate(pages, start=1):
        where = phrase(" These are the guests of {}.", host) if host else ""
        part = f"-{number}" if len(pages) > 1 else ""
        pictures.append(
            Picture(
                name=f"timeline{suffix(study)}{part}",
                caption=(
                    phrase(
                        "Memory of every guest in block {} of run {}{} (the block nearest to the medians among those "
                        "with the fewest failures). Line: what Xen gave the guest. Lower area (blue): what it used, "
                        "without its page cache. Upper area (orange): what it had on its swap disk, on top of that. "
                        "The strip at the foot is the state the policy was in. All columns share their axes.{}",
                        block,
                        run,
                        level,
                        where + most,
                    )
                ),
                draw=lambda container, labels=labels, names=names: _draw(  # type: ignore[misc]
                    container, study, place, labels, names, trials
                ),
                height_in=0.95 + (0.85 if len(names) <= LOW else 0.64) * len(names),
                chart=lambda labels=labels, names=names: hover.chart(study, labels, names, trials),  # type: ignore[misc]
            )
        )
    return pictures


def _draw(
    container: Container,
    study: Study,
    place: str,
    labels: Sequence[str],
    names: Sequence[str],
    trials: dict[str, pd.DataFrame],
) -> None:
    tops = {name: max([_top(rows, name) for rows in trials.values()] + [1.0]) for name in study.guests}
    shared = max(tops.values()) <= ALIKE * min(tops.values())
    end = max([rows["trial_s"].max() for rows in trials.values() if len(rows)] + [1.0])
    found = sorted({state for rows in trials.values() for state in rows["state"]}, key=lambda state: (not state, state))
    looks = style.states(found)
    grid = container.subplots(
        len(names) + 1, len(labels), sharex=True, squeeze=False, height_ratios=[1.0] * len(names) + [0.16]
    )
    failed = summary.failures(study)
    failed = failed[failed["place"] == place]
    for column, label in enumerate(labels):
        rows = trials[label]
        grid[0, column].set_title(style.shortened(label, 76 // len(labels)))
        for axes, name in zip(grid[:, column], names, strict=False):
            top = max(tops.values()) if shared else tops[name]
            _guest(axes, rows[rows["guest"] == name])
            axes.set(xlim=(0, end), ylim=(0, 1.08 * top))
            axes.tick_params(labelleft=column == 0)
            note = failed[(failed["label"] == label) & (failed["guest"] == name)]
            text = (
                phrase("failed: {}", phrase(note["status"].iloc[0]))
                if len(note)
                else ""
                if len(rows)
                else phrase("no samples")
            )
            axes.text(0.5, 0.94, text, transform=axes.transAxes, ha="center", va="top", color="#b00020", fontsize=7.5)
            if column == 0:
                axes.set_ylabel(
                    f"{style.shortened(name, 16)}\n{style.shortened(study.workload(name), 16)}\nMiB", fontsize=7.5
                )
        _strip(grid[-1, column], rows[rows["guest"].isin(names)], looks, end)
        grid[-1, column].set_xlabel(phrase("time in the trial, s"))
    here = {state for label in labels for state in trials[label]["state"]}
    _legend(container, _handles({state: look for state, look in looks.items() if state in here}))


def _legend(container: Container, handles: Sequence[Any]) -> Legend:
    """A legend above the figure, of as many columns as its width has room for."""
    for columns in range(LEGEND_COLUMNS, 0, -1):
        legend = container.legend(
            handles=handles, loc="outside upper center", ncols=columns, handlelength=1.6, columnspacing=1.2
        )
        if columns == 1 or legend.get_window_extent().width <= container.bbox.width:
            break
        legend.remove()
    return legend


def _guest(axes: Axes, rows: pd.DataFrame) -> None:
    time = rows["trial_s"].to_numpy()
    used, swapped = used_mib(rows), swapped_mib(rows)
    axes.fill_between(time, 0, used, color=style.USED, alpha=0.55, linewidth=0)
    axes.fill_between(time, used, used + swapped, color=style.SWAPPED, alpha=0.75, linewidth=0)
    axes.step(time, rows["current_kib"] / MIB, where="post", color=style.ALLOCATED, linewidth=1.1)


def _strip(axes: Axes, rows: pd.DataFrame, looks: dict[str, tuple[str, str]], end: float) -> None:
    ticks = rows.drop_duplicates("tick")[["trial_s", "state"]]
    starts = [*ticks["trial_s"], end]
    place = 0
    for state, same in groupby(ticks["state"]):
        length = len(list(same))
        fill, hatch = looks[state]
        axes.axvspan(
            starts[place], starts[place + length], facecolor=fill, hatch=hatch, edgecolor=style.QUIET, linewidth=0
        )
        place += length
    axes.set(yticks=[], ylim=(0, 1))
    axes.grid(visible=False)
    axes.spines[["left"]].set_visible(False)


def _handles(looks: dict[str, tuple[str, str]]) -> list[Any]:
    lines: list[Any] = [
        Line2D([], [], color=style.ALLOCATED, linewidth=1.1, label=phrase("allocated")),
        Patch(color=style.USED, alpha=0.55, linewidth=0, label=phrase("used")),
        Patch(color=style.SWAPPED, alpha=0.75, linewidth=0, label=phrase("on swap")),
    ]
    for state, (fill, hatch) in looks.items():
        lines.append(
            Patch(facecolor=fill, hatch=hatch, edgecolor=style.QUIET, linewidth=0, label=state or phrase("no state"))
        )
    return lines


def used_mib(rows: pd.DataFrame) -> np.ndarray[Any, np.dtype[np.float64]]:
    """Return what a guest used, in MiB: MemTotal - MemFree - Buffers - Cached."""
    used = rows["mem_total_kib"] - rows["mem_free_kib"] - rows["buffers_kib"] - rows["cached_kib"]
    return (used / MIB).to_numpy(dtype=float)


def swapped_mib(rows: pd.DataFrame) -> np.ndarray[Any, np.dtype[np.float64]]:
    """Return what a guest had on its swap disk, in MiB."""
    return ((rows["swap_total_kib"] - rows["swap_free_kib"]) / MIB).to_numpy(dtype=float)


def _top(rows: pd.DataFrame, name: str) -> float:
    mine = rows[rows["guest"] == name]
    tops = [mine["current_kib"].max() / MIB, np.nanmax([*(used_mib(mine) + swapped_mib(mine)), 0.0])]
    return float(np.nanmax([*tops, 0.0]))


def chunks(names: Sequence[str], size: int) -> list[tuple[str, ...]]:
    """Split evenly: 4 + 3 rather than 6 + 1."""
    if not names:
        return []
    pages = -(-len(names) // size)
    return [tuple(chunk) for chunk in np.array_split(np.array(names, dtype=object), pages)]
