"""Every experiment of a report on one page: which policies are better or worse, and by how much, at a glance."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from matplotlib.lines import Line2D

from reports import figures, style, words
from reports.document import Container, Picture, Table
from reports.findings import Findings
from reports.language import phrase, phrases
from reports.statistics import ENOUGH
from reports.summary import records
from reports.words import Verdict

SHOWN: Mapping[str, Sequence[Verdict]] = {
    "better": (Verdict.BETTER,),
    "worse": (Verdict.WORSE,),
    "no difference shown": words.UNSHOWN,
    "no result": words.NO_RESULT,
}
"""Column of the overview and the verdicts that it has."""
LEGEND_COLUMNS = 4


def table(found: Sequence[Findings]) -> Table:
    """Return a line for every study."""
    rows = []
    for one in found:
        rows_of = one.overall[one.overall["label"].isin(one.study.contestants)] if len(one.overall) else one.overall
        judged = [(words.verdict(row), row) for row in records(rows_of)]
        said = [_named([row for verdict, row in judged if verdict in kinds], len(one.study.levels))
                for kinds in SHOWN.values()]  # fmt: skip
        failed = one.failures.drop_duplicates(["place", "label"])
        rows.append(
            [one.study.name, phrase(one.study.backend), str(one.study.blocks), one.study.baseline or words.DASH]
            + [text or words.DASH for text in said]
            + [str(len(failed))]
        )
    return Table(
        name="overview",
        caption=phrase(
            "Every experiment, and which policies it shows to be better or worse than its baseline "
            "(geometric mean over the guests). Measured and simulated figures are told apart by the "
            "second column."
        ),
        head=[*phrases("experiment", "backend", "blocks", "baseline"), *phrases(*SHOWN), phrase("failed")],
        rows=rows,
        aligns="llrlllllr",
    )


def _named(rows: Sequence[Mapping[str, Any]], levels: int) -> str:
    """Name labels with their speed-up, or with the number of levels at which they are so."""
    if not levels:
        return words.listed([f"{row['label']} {words.times(row['speedup'])}" for row in rows])
    counts = Counter(str(row["label"]) for row in rows)
    return words.listed(
        [phrase("{} at {} of {}", label, count, words.counted(levels, "level")) for label, count in counts.items()]
    )


def picture(found: Sequence[Findings]) -> Picture | None:
    """Return every speed-up over all guests, a row an experiment; None where nothing is compared."""
    rows = [_compared(one) for one in found]
    labels = list(dict.fromkeys(str(row["label"]) for mine in rows for row in mine))
    if not labels:
        return None
    tints = style.colours(["", *labels])

    def draw(container: Container) -> None:
        axes = container.subplots()
        every = [row[name] for mine in rows for row in mine for name in ("speedup", "low", "high")]
        limits = figures.ratio_axis(axes, "x", every)
        axes.axvspan(limits[0], 1, color="#f6f0ec", zorder=0, linewidth=0)
        axes.axvline(1, color=style.QUIET, linewidth=0.8)
        for place, mine in enumerate(rows):
            for shift, row in zip(np.linspace(-0.3, 0.3, len(mine) + 2)[1:-1], mine, strict=True):
                tint, at = tints[row["label"]], place + shift
                axes.hlines(at, *np.clip([row["low"], row["high"]], *limits), color=tint, linewidth=1.4)
                axes.plot(
                    np.clip(row["speedup"], *limits), at, figures.edge(row["speedup"], "o", limits), markersize=4.5,
                    color=tint, markerfacecolor=tint if row["observations"] >= ENOUGH else style.PAPER, clip_on=False,
                )  # fmt: skip
        names = [style.shortened(one.study.title, 34) for one in found]
        axes.set_yticks(range(len(found)), names)
        axes.set(xlim=limits, ylim=(len(found) - 0.5, -0.5), xlabel=phrase("speed-up over the baseline"))
        axes.grid(visible=False, axis="y")
        handles = [
            Line2D([], [], linestyle="", marker="o", color=tints[label], label=style.shortened(label, 28))
            for label in labels
        ]
        container.legend(handles=handles, loc="outside lower center", ncols=LEGEND_COLUMNS, handletextpad=0.3)

    return Picture(
        name="overview",
        caption=phrase(
            "Speed-up of every policy over the baseline of its experiment, logarithmic: geometric mean over the "
            "guests, median over blocks, with its exact 95 % interval; where something is varied, a point for every "
            "level. A hollow circle has too few blocks for a result. In the shade it is worse than the baseline."
        ),
        draw=draw,
        height_in=1.0 + 0.34 * len(found) + 0.17 * -(-len(labels) // LEGEND_COLUMNS),
    )


def _compared(one: Findings) -> list[dict[str, Any]]:
    """The rows of a study's overall table that say something of a policy that could be run."""
    rows = records(one.overall) if len(one.overall) else []
    return [row for row in rows if row["label"] in one.study.contestants and row["n"]]
