"""`solver`: every recorded division of the pool against the one that a root finder finds, without the solver's code."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.ticker import MaxNLocator

from reports import figures, style, words
from reports.document import Container, Picture, Table
from reports.findings import Findings
from reports.language import phrase, phrases
from reports.special.bruteforce import Division, divisions
from reports.special.verdict import Special, judged
from reports.study import Study
from reports.summary import records

WHOLE_KIB = 1.0
"""Targets are whole KiB, so each may differ from the exact division by less than this."""
MIB = 1024.0
MOST_POINTS = 4000


def special(found: Findings) -> Special:
    """Return recorded against recomputed targets, the largest deviations, and whether the solver is exact."""
    study = found.study
    every = [(label, one) for label, one in recomputed(study)]
    table = deviations(study, every)
    unequal = int(table["unequal"].sum()) if len(table) else 0
    reason = (
        phrase("no decision of a policy whose division can be recomputed.")
        if not len(table)
        else (
            phrase(
                "over {:,} decisions and {:,} targets the largest deviation from the recomputed division is "
                "{:.3f} KiB (whole KiB allow {:g}), the largest |sum - pool| {:.0f} KiB, bounds are violated "
                "{}, and prices of guests inside their bounds differ by at most {:.4f} % beyond what "
                "rounding to whole KiB allows{}.",
                int(table["decisions"].sum()),
                int(table["targets"].sum()),
                table["deviation_kib"].max(),
                WHOLE_KIB,
                table["sum_kib"].max(),
                words.counted(int(table["violations"].sum()), "time"),
                100 * table["dispersion"].max(),
                phrase(" in {}", words.counted(unequal, "decision")) if unequal else "",
            )
        )
    )
    exact = len(table) > 0 and (table["deviation_kib"].max() < WHOLE_KIB) and table["sum_kib"].max() == 0
    holds = bool(exact and table["violations"].sum() == 0 and table["unequal"].sum() == 0) if len(table) else None

    def draw(container: Container) -> None:
        left, right = container.subplots(1, 2)
        looks = style.looks(study.labels)
        for label in table["label"]:
            mine = [one for name, one in every if name == label]
            exact_kib = np.concatenate([one.exact_kib for one in mine])
            recorded = np.concatenate([one.recorded_kib for one in mine])
            step = max(1, len(exact_kib) * len(table) // MOST_POINTS)
            look = looks[label] | {"linestyle": "", "markersize": 3, "alpha": 0.6}
            left.plot(exact_kib[::step] / MIB, recorded[::step] / MIB, **look)
            right.plot(exact_kib[::step] / MIB, (recorded - exact_kib)[::step], **look)
        left.axline((0, 0), slope=1, color=style.QUIET, linewidth=0.7)
        left.set(xlabel=phrase("recomputed target, MiB"), ylabel=phrase("recorded target, MiB"))
        right.axhspan(-WHOLE_KIB, WHOLE_KIB, color="#eef4f1", zorder=0)
        right.set(xlabel=phrase("recomputed target, MiB"), ylabel=phrase("recorded - recomputed, KiB"))
        right.yaxis.set_major_locator(MaxNLocator(6))
        handles, labels = left.get_legend_handles_labels()
        container.legend(handles, labels, loc="outside lower center", ncols=4, markerscale=2, handletextpad=0.3)

    return Special(
        claim=judged(holds),
        reason=reason,
        blocks=[
            Picture(
                name=f"solver{figures.suffix(study)}",
                caption=phrase(
                    "Every target that was recorded against the one recomputed from the recorded view by Brent's "
                    "method on the level λ. Right: their difference; in the shade less than {:g} KiB, which is "
                    "what rounding to whole KiB costs.",
                    WHOLE_KIB,
                ),
                draw=draw,
                height_in=3.1,
            ),
            _table(study, table),
        ],
        frames={"solver": table},
    )


def recomputed(study: Study) -> Iterator[tuple[str, Division]]:
    """Yield label and division of every decision that can be recomputed."""
    trial: tuple[Any, ...] | None = None
    lines: list[Mapping[str, Any]] = []
    for line in study.decisions():
        key = (line["run"], line["block"], line["order"])
        if key != trial:
            yield from _of(lines)
            trial, lines = key, []
        lines.append(line)
    yield from _of(lines)


def deviations(study: Study, every: list[tuple[str, Division]]) -> pd.DataFrame:
    """Return one row a label: how far its decisions are from the recomputed ones at most."""
    rows = []
    for label in study.labels:
        mine = [one for name, one in every if name == label]
        if mine:
            far = [np.abs(one.recorded_kib - one.exact_kib).max() for one in mine]
            rows.append(
                {
                    "experiment": study.name, "backend": study.backend, "label": label, "decisions": len(mine),
                    "targets": sum(len(one.recorded_kib) for one in mine), "deviation_kib": float(max(far)),
                    "sum_kib": max(abs(one.recorded_kib.sum() - one.total_kib) for one in mine),
                    "violations": sum(one.violations for one in mine),
                    "dispersion": float(np.nanmax([0.0, *(one.dispersion for one in mine)])),
                    "unequal": sum(one.unequal for one in mine),
                }
            )  # fmt: skip
    columns = ["experiment", "backend", "label", "decisions", "targets", "deviation_kib", "sum_kib", "violations"]
    return pd.DataFrame(rows, columns=[*columns, "dispersion", "unequal"])


def _of(lines: list[Mapping[str, Any]]) -> Iterator[tuple[str, Division]]:
    return ((str(lines[0]["label"]), one) for one in divisions(lines)) if lines else iter(())


def _table(study: Study, table: pd.DataFrame) -> Table:
    return Table(
        name=f"solver{figures.suffix(study)}",
        caption=phrase(
            "Largest deviation of a recorded target from the recomputed one, largest |sum - pool|, "
            "bounds violated, and the dispersion of prices (max - min)/mean among the guests inside "
            "their bounds, where at least two are; unequal: decisions in which it is more than rounding "
            "to whole KiB explains."
        ),
        head=phrases(
            "policy",
            "decisions",
            "targets",
            "deviation, KiB",
            "|sum - pool|, KiB",
            "violations",
            "dispersion",
            "unequal",
        ),
        rows=[
            [
                row["label"],
                f"{row['decisions']:,}",
                f"{row['targets']:,}",
                f"{row['deviation_kib']:.3f}",
                f"{row['sum_kib']:.0f}",
                str(row["violations"]),
                f"{100 * row['dispersion']:.4f} %",
                str(row["unequal"]),
            ]
            for row in records(table)
        ],
        aligns="lrrrrrrr",
    )
