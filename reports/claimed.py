"""The comparisons that a claim is judged by, all of them: the verdict on page one names no more than a few."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import Any

import pandas as pd

from reports import claims, figures, summary, words
from reports.document import Table
from reports.findings import Findings
from reports.language import phrase, phrases
from reports.printed import MOST_ROWS
from reports.study import Study
from reports.summary import records


def frame(found: Findings) -> pd.DataFrame:
    """Return one row a comparison that the experiment's `judged_by` or `loses_at_most` asks for, claim by claim.

    Columns: experiment, backend, claim, comparison, speedup, low, high, n, observations, interval, band, at_least,
    at_most (ratios; empty where there is no such limit) and says: shown, refuted or open.
    """
    rows = []
    for wanted in claims.asked(found.study):
        every = list(claims.comparisons(found, wanted))
        for one, says in zip(every, claims.judgements(every, any_of=wanted.one_is_enough), strict=True):
            estimate = one.estimate
            rows.append({
                "experiment": found.study.name, "backend": found.study.backend, "claim": wanted.text,
                "comparison": one.name, "speedup": estimate.median, "low": estimate.low, "high": estimate.high,
                "n": estimate.n, "observations": estimate.observations, "interval": estimate.method,
                "band": one.band, "at_least": wanted.least,
                "at_most": wanted.most if math.isfinite(wanted.most) else math.nan, "says": says.name.lower(),
            })  # fmt: skip
    return pd.DataFrame(rows)


def against(found: Findings) -> Iterator[tuple[Study, pd.DataFrame, pd.DataFrame]]:
    """Yield the overall and the guests' speed-ups over each label besides the baseline that a claim compares with."""
    study = found.study
    every = [wanted for wanted in claims.asked(study) if not (wanted.any_of or wanted.anywhere)]
    others = (label for wanted in every for label in wanted.over if label != study.baseline)
    for over in dict.fromkeys(others):
        mine = [wanted for wanted in every if over in wanted.over]
        labels = {label for wanted in mine for label in wanted.policies}
        few = tuple(label for label in study.labels if label == over or label in labels)
        rows = study.trials[study.trials["label"].isin(few)]
        parts = replace(study, trials=rows, labels=few).against(over).parts
        guests = [summary.speedups(part) for part in parts] if any(wanted.guests for wanted in mine) else []
        overall = pd.concat([summary.overall(part) for part in parts], ignore_index=True)
        yield study.against(over), overall, pd.concat(guests, ignore_index=True) if guests else pd.DataFrame()


def table(found: Findings) -> Table | None:
    """Return the same for people, claim by claim, the hardest first; None where the verdicts have them all."""
    rows = frame(found)
    if len(rows) <= words.MENTIONED:
        return None
    place = rows.groupby("claim", sort=False).ngroup()
    ranked = rows.assign(place=place).sort_values(["place", "says", "speedup"], kind="stable")
    cells = [
        [
            row["comparison"], words.middle(row["speedup"], row["low"], row["high"], limits),
            words.interval(row["low"], row["high"], limits), str(row["n"]), words.deviation(row["band"] - 1),
            _claimed(row),
            phrase({"shown": "shown", "refuted": "refuted", "open": "left open"}[row["says"]]),
        ]
        for row in records(ranked) for limits in [(row["at_least"], row["at_most"])]
    ]  # fmt: skip
    caption = phrase(
        "Every comparison that the claim is judged by: median over blocks, exact 95 % interval, blocks, and by how "
        "much the baseline at most lay from itself. It shows the claim where the whole interval lies within what is "
        "claimed, beyond that."
    )
    if (more := len(cells) - MOST_ROWS) > 0:
        caption = phrase("{} The first {} rows; {} more are in tables/{}.csv.", caption, MOST_ROWS, more, "claims")
    return Table(
        name=f"claims{figures.suffix(found.study)}", caption=caption, rows=cells[:MOST_ROWS], aligns="lrrrrrl",
        head=phrases("comparison", "times as much", "95 % interval", "n", "noise", "claimed", "says"),
    )  # fmt: skip


def _claimed(row: Mapping[str, Any]) -> str:
    """What is claimed of a ratio, in signs."""
    if not math.isnan(row["at_most"]):
        return phrase("{} to {}", words.times(row["at_least"]), words.times(row["at_most"]))
    return f"{'>' if row['at_least'] == 1 else '≥'} {words.times(row['at_least'])}"
