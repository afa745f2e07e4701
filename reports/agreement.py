"""Simulated against measured: the same experiment on both backends, curve over curve and number by number."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.lines import Line2D
from scipy import stats

from reports import bounds, doubts, figures, statistics, style, summary, words
from reports.document import Block, Container, Heading, Paragraph, Picture, Table
from reports.findings import Findings
from reports.language import phrase, phrases
from reports.study import Study
from reports.summary import records

MIB = 1024.0
ROWS, COLUMNS = 6, 4
"""Guests and policies that are drawn."""


def pairs(found: Sequence[Findings]) -> Iterator[tuple[Findings, Findings]]:
    """Yield measured and simulated findings of one and the same experiment."""
    for real in found:
        for simulated in found:
            backends = (real.study.backend != "simulator", simulated.study.backend == "simulator")
            if all(backends) and real.study.setup == simulated.study.setup:
                yield real, simulated


def section(real: Findings, simulated: Findings) -> Iterator[Block]:
    """Yield the section of one experiment."""
    table, ranks = errors(real, simulated), ranking(real, simulated)
    yield Heading(text=phrase("Simulated against measured: {}", real.study.name), level=1)
    yield Paragraph(lead=phrase("Verdict."), text=_verdict(table, ranks))
    yield from curves(real.study, simulated.study)
    yield _errors(real, table)
    yield _ranking(real, ranks)


def errors(real: Findings, simulated: Findings) -> pd.DataFrame:
    """Return one row a level, label and guest: performance measured and simulated, and the error in percent.

    Performance is the median over blocks of the share of what unconstrained memory gives where that ran on both, else
    of the speed-up over the baseline.
    """
    keys = ["level", "label", "guest"]
    frames = [_performance(one.study, _normal(real, simulated)) for one in (real, simulated)]
    table = frames[0].merge(frames[1], on=keys, how="outer", suffixes=("_measured", "_simulated"), sort=False)
    return table.assign(error_pc=100 * (table["performance_simulated"] / table["performance_measured"] - 1))


def ranking(real: Findings, simulated: Findings) -> pd.DataFrame:
    """Return one row a level and label: geometric mean over guests and rank on each backend; best first."""
    normal = _normal(real, simulated)
    rows = []
    for one in (real, simulated):
        for part in one.study.parts:
            against = (bounds.normalised(part) if normal else None) or part
            means = summary.per_block(against).groupby("label")["geometric_mean"].median()
            rows += [(part.level, x, one.study.backend, means.get(x, np.nan)) for x in part.contestants]
    frame = pd.DataFrame(rows, columns=["level", "label", "backend", "geometric_mean"])
    frame["where"] = np.where(frame["backend"] == "simulator", "simulated", "measured")
    frame["rank"] = frame.groupby(["level", "where"], dropna=False)["geometric_mean"].rank(ascending=False)
    return frame


def agreement(ranks: pd.DataFrame) -> float:
    """Kendall's tau-b between the two orders of policies, mean over the levels; NaN with fewer than two policies."""
    found = []
    for _, level in ranks.groupby("level", dropna=False):
        both = level.pivot_table(index="label", columns="where", values="geometric_mean").dropna()
        if len(both) > 1 and both.shape[1] == 2:
            found.append(stats.kendalltau(both["measured"], both["simulated"]).statistic)
    known = [tau for tau in found if not np.isnan(tau)]  # of policies that are all alike there is none
    return float(np.mean(known)) if known else np.nan


def curves(real: Study, simulated: Study) -> Iterator[Picture]:
    """Yield memory of every guest over time under every policy, both backends over each other."""
    if doubts.lacks((*real.runs, *simulated.runs), "samples.csv"):
        return
    first, second = real.parts[len(real.parts) // 2], simulated.parts[len(simulated.parts) // 2]
    places = [(study, summary.representative(study)) for study in (first, second)]
    labels, guests = first.labels[:COLUMNS], first.guests[:ROWS]
    looks: Any = ((style.PALETTE[0], "-"), (style.PALETTE[1], (0, (3, 1.5))))

    def draw(container: Container) -> None:
        grid = container.subplots(len(guests), len(labels), sharex=True, sharey="row", squeeze=False)
        for column, label in enumerate(labels):
            trials = [study.samples(place, label) for study, place in places]
            grid[0, column].set_title(style.shortened(label, 76 // len(labels)))
            grid[-1, column].set_xlabel(phrase("time in the trial, s"))
            for axes, guest in zip(grid[:, column], guests, strict=True):
                for rows, (tint, dashes) in zip(trials, looks, strict=True):
                    mine = rows[rows["guest"] == guest]
                    axes.step(
                        mine["trial_s"], mine["current_kib"] / MIB, where="post", color=tint, linestyle=dashes,
                        linewidth=1.1,
                    )  # fmt: skip
                if column == 0:
                    axes.set_ylabel(f"{style.shortened(guest, 16)}\nMiB")
        for axes in grid.flat:  # once all is drawn: a limit that is set keeps what its neighbours share
            axes.set_ylim(bottom=0)
            axes.set_xlim(left=0)
        names = phrases("measured on Xen", "simulated")
        handles = [Line2D([], [], color=c, linestyle=d, label=n) for (c, d), n in zip(looks, names, strict=True)]
        container.legend(handles=handles, loc="outside upper center", ncols=2)

    left_out = len(real.labels) - len(labels), len(real.guests) - len(guests)
    more = (
        phrase(
            " Left out: {} and {}.",
            words.counted(max(0, left_out[0]), "policy", "policies"),
            words.counted(max(0, left_out[1]), "guest"),
        )
        if any(count > 0 for count in left_out)
        else ""
    )
    yield Picture(
        name=f"agreement{figures.suffix(real)}",
        caption=phrase(
            "Memory of every guest over time under each policy, measured and simulated, in the block "
            "nearest to its own medians{}.{}",
            words.at_level(first.level),
            more,
        ),
        draw=draw,
        height_in=0.8 + 1.15 * len(guests),
    )


def _normal(real: Findings, simulated: Findings) -> bool:
    return all(bounds.normalised(one.study) is not None for one in (real, simulated))


def _performance(study: Study, normal: bool) -> pd.DataFrame:
    rows = []
    for part in study.parts:
        against = (bounds.normalised(part) if normal else None) or part
        heads = against.pairs[against.pairs["metric"] == against.pairs["guest"].map(against.headline)]
        for (label, guest), mine in heads.groupby(["label", "guest"], sort=False):
            if label != against.baseline and label in part.contestants:
                found = statistics.ratio_interval(mine["speedup"], once=study.simulated)
                rows.append((part.level, label, guest, found.median, found.low, found.high, found.n))
    return pd.DataFrame(rows, columns=["level", "label", "guest", "performance", "low", "high", "n"])


def _verdict(table: pd.DataFrame, ranks: pd.DataFrame) -> str:
    known = table["error_pc"].dropna().abs()
    if not len(known):
        return phrase("Cannot be judged: no guest has a value on both backends under the same policy.")
    tau = agreement(ranks)
    order = (
        phrase("only one policy has values on both")
        if np.isnan(tau)
        else phrase("Kendall's tau of the orders is {:.2f}", tau)
    )
    worst = table[table["error_pc"].abs() == known.max()].iloc[0]
    return phrase(
        "The simulator is off by {:.1f} % in the median and {:.1f} % at most ({} under {}{}); {} (1: "
        "the same order, -1: reversed).",
        known.median(),
        known.max(),
        worst["guest"],
        worst["label"],
        words.at_level(worst["level"]),
        order,
    )


def _errors(real: Findings, table: pd.DataFrame) -> Table:
    rows = []
    for row in records(table):
        for where in ("measured", "simulated"):
            about = words.interval(row[f"low_{where}"], row[f"high_{where}"])
            count = row[f"n_{where}"]
            error = f"{row['error_pc']:+.1f} %" if where == "simulated" and not np.isnan(row["error_pc"]) else ""
            rows.append(
                ([f"{row['level']:g}"] if real.swept else [])
                + [row["label"], row["guest"], phrase(where), words.number(row[f"performance_{where}"]), about]
                + [str(int(count)) if count == count else "0", error]
            )
    head = (phrases("level") if real.swept else []) + phrases(
        "policy", "guest", "backend", "performance", "95 % interval", "n", "error"
    )
    return Table(
        name=f"agreement{figures.suffix(real.study)}",
        caption=phrase(
            "Performance of every guest, measured and simulated (share of what unconstrained memory "
            "gives where that ran on both, else speed-up over the baseline), median over blocks, and by "
            "how much the simulator is off."
        ),
        head=head,
        rows=rows,
        aligns=("r" if real.swept else "") + "lllrrrr",
    )


def _ranking(real: Findings, ranks: pd.DataFrame) -> Table:
    frame = ranks.sort_values(["level", "where", "rank"], kind="stable")
    rows = [
        ([f"{row['level']:g}"] if real.swept else [])
        + [phrase(row["where"]), f"{row['rank']:g}", row["label"], words.number(row["geometric_mean"])]
        for row in records(frame)
    ]
    return Table(
        name=f"ranking{figures.suffix(real.study)}",
        caption=phrase("The policies in the order of their geometric mean over the guests, on each backend."),
        head=(phrases("level") if real.swept else []) + phrases("backend", "rank", "policy", "geometric mean"),
        rows=rows,
        aligns=("r" if real.swept else "") + "lrlr",
    )
