"""Every value beside its baseline's of the same block, and what stands for all guests of a block."""

from __future__ import annotations

import math

import pandas as pd

from harness.records import BEYOND, LARGEST, SMALLEST
from harness.statistics.intervals import geometric_mean, speedups

BOUNDS = ("unconstrained", "oracle", "informed")
"""Policies that nobody could run: not rivals, but what the others are held against."""


def possible(trials: pd.DataFrame) -> pd.DataFrame:
    """Count a value that no result can have, or that is missing though the row is `ok`, as failed, with its reason.

    So neither ends the report, nor is missing without a word: no row is written `ok` without a number.
    """
    value = trials["value"]
    wanting = value.isna() & (trials["metric"] != "")
    beyond = (trials["status"] == "ok") & (wanting | (value.notna() & (value != 0) & ~value.between(SMALLEST, LARGEST)))
    said = [
        f"trials.csv has no value of {metric}, and calls it ok" if math.isnan(number)
        else f"the value is {number:g}, {BEYOND}"
        for metric, number in zip(trials["metric"][beyond], value[beyond], strict=True)
    ]  # fmt: skip
    return trials.assign(
        status=trials["status"].mask(beyond, "failed"),
        reason=trials["reason"].mask(beyond, pd.Series(said, index=trials.index[beyond], dtype=object)),
        value=value.mask(beyond, math.nan),
    )


def paired(trials: pd.DataFrame, baseline: str | None) -> pd.DataFrame:
    """Put every value beside the baseline's of the same block, guest and metric. A failed trial leaves NaN."""
    metrics = trials.loc[trials["metric"] != "", ["guest", "workload", "metric", "unit", "better"]]
    metrics = metrics[metrics["better"] != ""].drop_duplicates(["guest", "workload", "metric"])
    ran = trials[["place", "policy", "label", "guest", "workload"]].drop_duplicates(["place", "label", "guest"])
    good = trials.loc[trials["status"] == "ok", ["place", "label", "guest", "metric", "value"]]
    good = good.drop_duplicates(["place", "label", "guest", "metric"])
    pairs = metrics.merge(ran, on=["guest", "workload"]).merge(
        good, on=["place", "label", "guest", "metric"], how="left"
    )
    base = pairs.loc[pairs["label"] == baseline, ["place", "guest", "metric", "value"]].rename(
        columns={"value": "base"}
    )
    pairs = pairs.merge(base, on=["place", "guest", "metric"], how="left")
    less = pairs["better"] == "lower"
    pairs["speedup"] = speedups(pairs["value"], pairs["base"], "higher")
    pairs.loc[less, "speedup"] = speedups(pairs.loc[less, "value"], pairs.loc[less, "base"], "lower")
    return pairs


def headlines(pairs: pd.DataFrame) -> pd.DataFrame:
    """Return the pairs of the metric that stands for each guest: the first that it gives."""
    first = pairs.drop_duplicates("guest").set_index("guest")["metric"]
    return pairs[pairs["metric"] == pairs["guest"].map(first)]


def means(pairs: pd.DataFrame) -> pd.DataFrame:
    """Return `geometric_mean`, over the guests, a row for each block (`place`) and label.

    It is NaN in a block where any guest has no pair: a mean over the survivors would flatter the policy.
    """
    heads = headlines(pairs)
    grouped = heads.groupby(["place", "label"], sort=False)["speedup"]
    means = grouped.agg(geometric_mean).where(grouped.size() == heads["guest"].nunique())
    return means.rename("geometric_mean").reset_index()
