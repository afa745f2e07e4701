"""The A/A test: how far one policy lies from itself in the same block; nothing within that is a difference.

In every block of the lab the baseline runs twice with the same seed. What its second trial reached over what the first
did would be 1, were the lab perfectly repeatable; the band reaches as far to both sides of 1 as that ratio ever lay.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import pandas as pd

from harness.records import without_again
from reports import statistics, words
from reports.study import Study

KEYS = ("place", "label", "guest", "metric")
COLUMNS = ("level", "place", "label", "guest", "workload", "metric", "headline", "ratio")
ALL = "all guests"
"""Stands where a guest's name would (which has no blank) for the geometric mean over all of them."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Bands:
    """How many times the baseline differed from itself at most: 1.02 is the band [1/1.02, 1.02]; NaN is not known."""

    mean: float
    """Of the geometric mean over the guests' headlines."""
    guests: Mapping[tuple[str, str], float]
    """Guest and metric → its own."""
    widest: float
    """The largest of the guests' headlines: what any single guest may differ by."""
    n: int
    """Blocks with a pair."""

    def guest(self, guest: str, metric: str) -> float:
        """Return the band of a guest's metric."""
        return self.guests.get((guest, metric), math.nan)


def repeated(study: Study) -> str:
    """Return the label that ran twice in the study's blocks, or the labels where runs differ; empty where none did."""
    return words.listed([without_again(label) for label in sorted(set(study.again["label"]))])


def ratios(study: Study) -> pd.DataFrame:
    """Return one row a block, guest and metric: how many times better the second trial was than the first.

    A block in which any guest failed in either trial has no row: a guest that is gone leaves the others its memory.
    """
    if study.again.empty:
        return pd.DataFrame(columns=list(COLUMNS))
    keys = list(KEYS)
    second = study.again.assign(label=study.again["label"].map(without_again))
    rows = study.trials[study.trials["label"].isin(second["label"])]
    measured = rows[(rows["metric"] != "") & (rows["better"] != "")].drop_duplicates(keys)
    both = measured.merge(second[[*keys, "value"]].drop_duplicates(keys), on=keys, suffixes=("", "_again"))
    trial = ["place", "label"]
    every = pd.concat([rows, second])
    failed = pd.MultiIndex.from_frame(every.loc[every["status"] != "ok", trial])
    both = both[~pd.MultiIndex.from_frame(both[trial]).isin(failed)]
    more, less = (statistics.speedups(both["value_again"], both["value"], better) for better in ("higher", "lower"))
    heads = both["guest"].map({guest: study.headline(guest) for guest in study.guests})
    ratio = np.where(both["better"] == "lower", less, more)
    return both.assign(ratio=ratio, headline=both["metric"] == heads)[list(COLUMNS)]


def bands(study: Study) -> Bands:
    """Return the bands of a study, or of one level of it, over the blocks of all its runs."""
    found = ratios(study)
    guests = {
        (str(guest), str(metric)): statistics.band(mine["ratio"])
        for (guest, metric), mine in found.groupby(["guest", "metric"], sort=False)
    }
    heads = [guests[key] for key in guests if study.headline(key[0]) == key[1] and not math.isnan(guests[key])]
    return Bands(
        mean=statistics.band(means(found)),
        guests=guests,
        widest=max(heads, default=math.nan),
        n=int(found["place"].nunique()),
    )


def means(found: pd.DataFrame) -> pd.Series[float]:
    """Return the geometric mean over the guests' headlines of every block of `ratios`."""
    heads = found[found["headline"].astype(bool)]
    return heads.groupby("place")["ratio"].agg(statistics.geometric_mean).astype(float)


def between(study: Study, first: str, second: str) -> float:
    """Return the band of how many times better one guest fares than another within a trial, by its headline."""
    found = ratios(study)
    heads = found[found["metric"] == study.headline(first)].pivot_table(index="place", columns="guest", values="ratio")
    if not {first, second} <= set(heads):
        return math.nan
    return statistics.band(heads[first] / heads[second])


def table(study: Study) -> pd.DataFrame:
    """Return one row a guest and metric, and one for all guests: how far it lay from itself, as shares of 1.

    A deviation is max(r, 1/r) - 1 of a ratio r, so twice as much and half as much deviate alike.
    """
    found, label = ratios(study), repeated(study)
    if not label:
        return pd.DataFrame()
    metrics = study.pairs[["guest", "metric"]].drop_duplicates().itertuples(index=False, name=None)
    parts = [(ALL, "geometric mean", means(found))]
    for guest, metric in sorted(metrics, key=lambda key: study.guests.index(key[0])):
        parts.append((guest, metric, found.loc[(found["guest"] == guest) & (found["metric"] == metric), "ratio"]))
    rows = []
    for guest, metric, values in parts:
        band, known = statistics.band(values), values.dropna()
        away = statistics.deviations(known)
        rows.append(
            {
                "experiment": study.name, "backend": study.backend, "level": study.level, "label": label,
                "guest": guest, "metric": metric, "n": len(known), "largest_deviation": band - 1,
                "median_deviation": float(np.median(away)) if len(away) else math.nan,
                "band_low": 1 / band, "band_high": band, "headline": study.headline(guest) == metric,
            }
        )  # fmt: skip
    return pd.DataFrame(rows)
