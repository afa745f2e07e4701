"""What two policies wanted in the same situations: the recorded targets and the replayed ones of every guest."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Literal

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.lines import Line2D

from harness.records import read_first_block
from reports import style
from reports.document import Container, Picture
from reports.timeline import COLUMNS, MIB, MOST_GUESTS, ROWS, chunks

LINES: Mapping[str, tuple[str, str, Literal["-", "--"], float]] = {
    "current_kib": ("has", style.ALLOCATED, "-", 0.9),
    "recorded_asked_kib": ("recorded policy wants", style.PALETTE[0], "-", 1.3),
    "replayed_asked_kib": ("replayed policy wants", style.PALETTE[1], "--", 1.3),
}
"""Column → name, colour, dashes and width of its line; the dashes carry the difference in black and white."""


def draw(folder: Path) -> dict[Path, str]:
    """Draw the `replay.csv` of a folder beside it, as PDF and PNG; returns the path of each PDF with its caption.

    Raises:
        RecordsError: the file cannot be read.

    """
    found = {}
    with style.applied():
        for picture in pictures(read_first_block(folder)):
            figure = picture.figure()
            for kind in ("pdf", "png"):
                style.save(figure, folder / picture.name, kind)
            found[folder / f"{picture.name}.pdf"] = picture.caption
    return found


def pictures(rows: pd.DataFrame) -> list[Picture]:
    """Return the figures of one block: a column for each of its trials, a row for each guest."""
    trials = list(rows.drop_duplicates("order")[["order", "label"]].itertuples(index=False, name=None))
    guests = list(rows["guest"].drop_duplicates())
    first = rows.iloc[0]
    pages = [
        (some, names)
        for some in chunks([order for order, _ in trials], COLUMNS)
        for names in chunks(guests[:MOST_GUESTS], ROWS)
    ]
    left_out = len(guests) - MOST_GUESTS
    most = f" The first {MOST_GUESTS} guests; {left_out} more are in replay.csv." if left_out > 0 else ""
    return [
        Picture(
            name=f"replay-{number}" if len(pages) > 1 else "replay",
            caption=(
                f"Block {first['block']} of run {first['run']}: what each guest had (black), what the policy that was "
                f"acting wanted (blue), and what {first['replayed']} would have wanted in the same situation (orange, "
                "dashed), before the governor; a column for each recorded policy. An open loop: the situations "
                f"followed from what the recorded policy did, not from the dashed line.{most}"
            ),
            draw=lambda container, some=some, names=names: _draw(container, rows, some, names),  # type: ignore[misc]
            height_in=0.75 + 1.15 * len(names),
        )
        for number, (some, names) in enumerate(pages, start=1)
    ]


def _draw(container: Container, rows: pd.DataFrame, orders: Sequence[int], names: Sequence[str]) -> None:
    grid = container.subplots(len(names), len(orders), sharex=True, sharey="row", squeeze=False)
    tops = (rows.groupby("guest")[list(LINES)].max().max(axis="columns") / MIB).fillna(1.0)
    end = max(rows["trial_s"].max(), 1.0)
    for column, order in enumerate(orders):
        trial = rows[rows["order"] == order]
        grid[0, column].set_title(style.shortened(str(trial["label"].iloc[0]), 76 // len(orders)))
        for axes, name in zip(grid[:, column], names, strict=True):
            _guest(axes, trial[trial["guest"] == name])
            axes.set(xlim=(0, end), ylim=(0, 1.08 * tops[name]))
            if column == 0:
                axes.set_ylabel(f"{style.shortened(name, 16)}\nMiB", fontsize=7.5)
        grid[-1, column].set_xlabel("time in the trial, s")
    replayed = style.shortened(str(rows["replayed"].iloc[0]), 40)
    handles = [
        Line2D([], [], color=colour, linestyle=dashes, linewidth=width, label=name.replace("replayed policy", replayed))
        for name, colour, dashes, width in LINES.values()
    ]
    container.legend(handles=handles, loc="outside upper center", ncols=3, handlelength=2.4)


def _guest(axes: Axes, rows: pd.DataFrame) -> None:
    for column, (_, colour, dashes, width) in LINES.items():
        axes.step(rows["trial_s"], rows[column] / MIB, where="post", color=colour, linestyle=dashes, linewidth=width)
