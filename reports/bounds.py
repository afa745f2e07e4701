"""How far from what is possible: performance against unconstrained memory, and lost time against the oracle's."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import pandas as pd

from reports import statistics, summary, words
from reports.language import phrase
from reports.study import INFORMED, ORACLE, UNCONSTRAINED, Study

_TESTS = ["wilcoxon_p", "rank_biserial", "undecided"]
"""Of a speed-up against 1; nobody asks whether a share of what was possible is 1."""
NOISE_PP = 0.1
"""Percentage points below which a gap to the oracle is no difference that matters."""


def normalised(study: Study) -> Study | None:
    """Return the study with the unconstrained trial of every block as its baseline; None where there is none.

    Its speed-ups are then the normalised performance p: value / value when unconstrained, inverted for times.
    """
    label = study.bound(UNCONSTRAINED)
    return None if label is None else study.against(label)


def performance(study: Study) -> pd.DataFrame:
    """Return one row a label: geometric mean of p (median over blocks, interval), worst guest, Jain's index over p."""
    against = normalised(study)
    if against is None:
        return pd.DataFrame()
    frame = summary.overall(against).drop(columns=["trials", "failed_trials", "band", "widest_band", *_TESTS])
    names = {"speedup": "performance", "worst_speedup": "worst_performance"}
    return summary.in_order(frame.rename(columns=names), study)


def gaps(study: Study) -> pd.DataFrame:
    """Return one row a label: by how much more of its time all guests lose than under the oracle, percentage points.

    (Σ stall under the policy - Σ stall under the oracle) / Σ time of the guests, within a block; median over blocks.
    A block counts only if every guest of both trials ended well: one that was killed stalls no more.
    """
    oracle = study.bound(ORACLE)
    columns = ["label", "gap_pp", "gap_low_pp", "gap_high_pp", "gap_n", "work_gap_pp", "work_gap_high_pp"]
    columns += ["gap_most_pp", "work_gap_most_pp"]
    if oracle is None:
        return pd.DataFrame(columns=columns)
    lost, done = _lost(study), _done(study)
    rows = []
    for label in study.contestants:
        both = pd.concat([lost.get(label), lost.get(oracle)], axis=1, keys=["mine", "least"]).dropna()
        gap = 100 * (both["mine"] - both["least"])
        less = 100 * (done[oracle] - done[label]) if len(done) else pd.Series(dtype=float)
        found, work = statistics.difference_interval(gap), statistics.difference_interval(less)
        known = (label, found.median, found.low, found.high, found.n, work.median, work.high)
        rows.append((*known, gap.max(), less.max()))
    return pd.DataFrame(rows, columns=columns)


def _lost(study: Study) -> dict[str, pd.Series[float]]:
    """Per label, the share of all guests' time that was lost in each block; unknown where a guest's is, or failed."""
    rows = study.trials.drop_duplicates(["place", "label", "guest"])
    rows = rows.assign(stall=rows["stall_full_s"].where(rows["status"] == "ok"))
    sums = rows.groupby(["label", "place"])[["stall", "duration_s"]].agg("sum", skipna=False)
    share = sums["stall"] / sums["duration_s"]
    return {str(label): share.xs(label, level="label") for label in share.index.unique("label")}


def _done(study: Study) -> pd.DataFrame:
    """Return the mean of p over the guests, a row a block and a column a label: the share of all work that was done."""
    against = normalised(study)
    if against is None:
        return pd.DataFrame()
    heads = against.pairs[against.pairs["metric"] == against.pairs["guest"].map(against.headline)]
    means = heads.groupby(["place", "label"])["speedup"].agg("mean", skipna=False).reset_index()
    table = means.pivot_table(index="place", columns="label", values="speedup", dropna=False)
    return table.reindex(columns=list(study.labels))


def with_gaps(overall: pd.DataFrame, study: Study) -> pd.DataFrame:
    """Return the overall table with the gap to the oracle beside every label; NaN where there is none."""
    found = gaps(study).set_index("label")
    return (
        overall.assign(**{str(name): overall["label"].map(found[name]) for name in found}) if len(overall) else overall
    )


def sentences(performance: pd.DataFrame, gap: pd.DataFrame, study: Study) -> Iterator[tuple[str, str]]:
    """Yield what the bounds say of page one, and loudly whatever beats the oracle."""
    if len(performance):
        rivals = performance[performance["label"].isin(study.contestants)]
        parts = [_reached(str(label), rows) for label, rows in rivals.groupby("label", sort=False)]
        yield (
            phrase("Of what was possible."),
            phrase(
                "Share of the performance with unconstrained memory that is reached (geometric mean over "
                "guests, median over blocks): {}.",
                words.listed(parts),
            ),
        )
    causal = study.bound(INFORMED)
    if causal is not None and len(performance):
        least = performance[performance["label"] == causal][["level", "performance"]]
        both = rivals.merge(least, on="level", suffixes=("", "_causal"))
        both["performance"] /= both["performance_causal"].where(both["performance_causal"] > 0)
        parts = [_reached(str(label), rows) for label, rows in both.groupby("label", sort=False)]
        yield (
            phrase("Of what was possible without knowing the future."),
            phrase("Share of the performance under {} that is reached: {}.", causal, words.listed(parts)),
        )
    rows = summary.records(gap)
    if beaten := [row for row in rows if beats(row)]:
        parts = [f"{row['label']}{words.at_level(row['level'])}" for row in beaten]
        yield (
            phrase("DEFECT."),
            phrase(
                "The oracle is beaten beyond noise by {}. Nobody can be better than the bound, so the oracle "
                "or the simulator is wrong, and gaps to it mean nothing until it is mended.",
                words.listed(parts),
            ),
        )
    elif len(gap):
        known = [row for row in rows if row["gap_pp"] >= 0]
        less = [row for row in rows if row["gap_pp"] < -NOISE_PP and row["work_gap_pp"] > 0]
        close = min(known, key=lambda row: row["gap_pp"], default=None)
        text = phrase("No policy beats the oracle beyond noise.")
        if close is not None:
            at = words.at_level(close["level"])
            text += phrase(
                " Closest is {}{}: {:+.2f} percentage points of time lost.", close["label"], at, close["gap_pp"]
            )
        if less:
            parts = list(dict.fromkeys(f"{row['label']}{words.at_level(row['level'])}" for row in less))
            text += phrase(
                " Less time is stalled than under it, and less work done, with {}: the oracle minimises work "
                "not done, and lets a guest wait where that gets more done.",
                words.listed(parts),
            )
        yield phrase("The bound."), text


def beats(row: dict[str, Any]) -> bool:
    """Whether the oracle is beaten in every block: in work done, which it maximises; in stall where work is not known.

    A bound that is a bound is beaten in none, so every block counts, and no interval is needed.
    """
    which = "gap" if np.isnan(row["work_gap_pp"]) else "work_gap"
    return bool(row[f"{which}_pp"] < -NOISE_PP and row[f"{which}_most_pp"] < 0)


def _reached(label: str, rows: pd.DataFrame) -> str:
    least, most = rows["performance"].min(), rows["performance"].max()
    if np.isnan(least):
        return f"{label} {words.DASH}"
    span = words.percent(most) if len(rows) == 1 else phrase("{} to {}", words.percent(least), words.percent(most))
    return f"{label} {span}"
