"""The tables of a study as plain frames, unrounded: the same frame becomes CSV, LaTeX, PDF and HTML."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd

from harness.statistics import headlines
from reports import noise, statistics
from reports.study import Study, places

COUNTERS = {
    "major_faults": "major_faults",
    "swapped_in_kib": "swapped_in_mib",
    "swapped_out_kib": "swapped_out_mib",
    "stall_some_s": "stall_some_s",
    "stall_full_s": "stall_full_s",
    "oom_kills": "oom_kills",
    "balloon_moved_mib": "balloon_moved_mib",
}
"""Counters of trials.csv and their columns in the report."""
ALLOCATED = "allocated_mib"


def speedups(study: Study) -> pd.DataFrame:
    """Return one row a label, guest and metric: the median speed-up over the baseline with its interval and test.

    `band` is how many times the baseline lay from itself. `reports.families` adjusts the tests for their number.
    """
    rows, bands, idle = [], noise.bands(study), undecided(study)
    for (label, guest, metric), pairs in study.pairs.groupby(["label", "guest", "metric"], sort=False):
        if label == study.baseline or study.baseline is None:
            continue
        first = pairs.iloc[0]
        names = {name: first[name] for name in ("policy", "workload", "unit", "better")}
        rows.append(
            _study(study) | {"label": label, "guest": guest, "metric": metric} | names
            | _estimate(pairs["speedup"], study)
            | {"trials_without_value": int(pairs["value"].isna().sum())} | _tested(pairs["speedup"], study)
            | {"band": bands.guest(str(guest), str(metric)), "undecided": idle.get(str(label), np.nan)}
        )  # fmt: skip
    if not rows:
        return pd.DataFrame()
    frame = pd.DataFrame(rows)
    frame["headline"] = [
        study.headline(guest) == metric for guest, metric in zip(frame.guest, frame.metric, strict=True)
    ]
    return in_order(frame, study)


def per_block(study: Study) -> pd.DataFrame:
    """Return one row a block and rival: geometric mean of the guests' speed-ups, the worst guest, and Jain's index.

    They are NaN in a block where any guest has no pair: a mean over the survivors would flatter the policy.
    """
    rows = []
    heads = headlines(study.pairs)
    everyone = heads["guest"].nunique()
    for (place, label), pairs in heads.groupby(["place", "label"], sort=False):
        values = pairs["speedup"].to_numpy(dtype=float)
        values = np.append(values, [np.nan] * (everyone - len(values)))  # of whom the block has no row at all
        whole = not np.isnan(values).any()
        rows.append(
            _study(study) | {
                "place": place, "label": label, "guests": len(pairs),
                "geometric_mean": statistics.geometric_mean(values),
                "worst_guest": str(pairs["guest"].iloc[values.argmin()]) if whole else "",
                "worst_speedup": values.min() if whole else np.nan, "jain": statistics.jain(values),
            }
        )  # fmt: skip
    columns = [*_study(study), "place", "label", "guests", "geometric_mean", "worst_guest", "worst_speedup", "jain"]
    return pd.DataFrame(rows, columns=columns)


def overall(study: Study) -> pd.DataFrame:
    """Return one row a label: geometric mean over guests (median over blocks, interval), worst guest, Jain's index."""
    blocks, guests, failed, bands = per_block(study), speedups(study), failures(study), noise.bands(study)
    idle = undecided(study)
    rows = []
    for label in study.rivals if study.baseline is not None else ():
        mine = blocks[blocks["label"] == label]
        worst = _worst(guests, label)
        rows.append(
            _study(study) | {"label": label, "guests": int(mine["guests"].max()) if len(mine) else 0}
            | _estimate(mine["geometric_mean"], study) | _tested(mine["geometric_mean"], study) | worst | {
                "jain": float(np.nanmedian(mine["jain"])) if mine["jain"].notna().any() else np.nan,
                "trials": int(study.trials.loc[study.trials["label"] == label, "place"].nunique()),
                "failed_trials": int(failed.loc[failed["label"] == label, "place"].nunique()),
                "band": bands.mean, "widest_band": bands.widest, "undecided": idle.get(label, np.nan),
            }
        )  # fmt: skip
    return pd.DataFrame(rows)


def values(study: Study) -> pd.DataFrame:
    """Return one row a guest, metric and label: what was measured, in its own unit."""
    rows = []
    for (guest, metric, label), pairs in study.pairs.groupby(["guest", "metric", "label"], sort=False):
        first, known = pairs.iloc[0], pairs["value"].dropna()
        names = {name: first[name] for name in ("workload", "unit", "better")}
        rows.append(
            _study(study) | {"label": label, "guest": guest, "metric": metric} | names | {
                "median": known.median(), "least": known.min(), "most": known.max(), "n": len(known),
                "trials_without_value": int(pairs["value"].isna().sum()),
            }
        )  # fmt: skip
    return in_order(pd.DataFrame(rows), study, first="guest") if rows else pd.DataFrame()


def allocated(study: Study) -> pd.DataFrame:
    """Return what memory Xen gave each guest, mean over the samples of a trial: place, label, guest, allocated_mib."""
    rows = pd.concat([run.samples for run in study.runs])
    rows = pd.DataFrame({
        "place": places(rows), "label": rows["label"], "guest": rows["guest"], ALLOCATED: rows["current_kib"] / 1024,
    })  # fmt: skip
    return rows.groupby(["place", "label", "guest"], sort=False)[[ALLOCATED]].mean().reset_index()


def counters(study: Study, *, by_guest: bool) -> pd.DataFrame:
    """Return memory and its counters, median over blocks: of each guest, or summed over the guests of a trial."""
    rows = study.trials.drop_duplicates(["place", "label", "guest"]).rename(columns=COUNTERS)
    rows = rows.assign(swapped_in_mib=rows["swapped_in_mib"] / 1024, swapped_out_mib=rows["swapped_out_mib"] / 1024)
    rows = rows.merge(allocated(study), how="left", on=["place", "label", "guest"])
    names = [ALLOCATED, *COUNTERS.values()]
    if by_guest:
        frame = rows.groupby(["label", "guest"], sort=False)[names].median().reset_index()
    else:
        # A counter that one guest could not tell makes the sum unknown, not smaller.
        trial = rows.groupby(["place", "label"], sort=False)[names].agg("sum", skipna=False)
        frame = trial.groupby("label", sort=False)[names].median().reset_index()
    for position, (name, value) in enumerate(_study(study).items()):
        frame.insert(position, name, value)
    return in_order(frame, study)


def failures(study: Study, *, again: bool = False) -> pd.DataFrame:
    """Return every failed row of a guest once, with its reason; on request of the baseline's second trials too."""
    rows = pd.concat([study.trials, study.again]) if again else study.trials
    failed = rows[rows["status"] != "ok"].drop_duplicates(["place", "label", "guest"])
    columns = [
        "experiment",
        "backend",
        "level",
        "run",
        "block",
        "order",
        "label",
        "guest",
        "workload",
        "status",
        "reason",
        "place",
    ]
    return failed[columns].sort_values(["run", "block", "order", "guest"], kind="stable").reset_index(drop=True)


def representative(study: Study) -> str:
    """Return the block that shows a usual case: most labels without failure, then closest to every label's median."""
    failed, blocks = failures(study), per_block(study)
    far = pd.Series(0.0, index=study.trials["place"].unique())
    if blocks["geometric_mean"].gt(0).any():
        logs = np.log(blocks["geometric_mean"].where(blocks["geometric_mean"] > 0))
        away = (logs - logs.groupby(blocks["label"]).transform("median")).abs()
        far = far.add(away.groupby(blocks["place"]).sum(), fill_value=0.0)
    whole = (
        study.trials.groupby("place")["label"].nunique().sub(failed.groupby("place")["label"].nunique(), fill_value=0)
    )
    candidates = pd.DataFrame({"whole": -whole, "far": far}).rename_axis("place").reset_index()
    return str(candidates.sort_values(["whole", "far", "place"], kind="stable")["place"].iloc[0])


def records(frame: pd.DataFrame) -> list[dict[str, Any]]:
    """Return the rows of a table."""
    return [{str(name): value for name, value in row.items()} for row in frame.to_dict("records")]


def _study(study: Study) -> dict[str, Any]:
    return {"experiment": study.name, "backend": study.backend, "level": study.level}


def undecided(study: Study) -> dict[str, float]:
    """Return per label for what share of the guests and ticks of its trials the policy gave no target."""
    rows = pd.concat([run.samples for run in study.runs]) if study.runs else pd.DataFrame()
    here = set(study.trials["place"])
    rows = rows[(rows["trial_s"] >= 0) & (rows["run"] + "/" + rows["block"].astype(str)).isin(here)]
    return {str(label): float(share) for label, share in rows["asked_kib"].isna().groupby(rows["label"]).mean().items()}


def _estimate(column: pd.Series[float], study: Study) -> dict[str, Any]:
    found = statistics.ratio_interval(column, once=study.simulated)
    return {
        "speedup": found.median, "low": found.low, "high": found.high, "n": found.n,
        "observations": found.observations, "interval": found.method,
    }  # fmt: skip


def _tested(column: pd.Series[float], study: Study) -> dict[str, Any]:
    test = statistics.wilcoxon(column, once=study.simulated)
    return {"wilcoxon_p": test.p, "rank_biserial": test.effect}


def _worst(guests: pd.DataFrame, label: str) -> dict[str, Any]:
    mine = (
        guests[(guests["label"] == label) & guests["headline"] & guests["speedup"].notna()] if len(guests) else guests
    )
    if not len(mine):
        return {"worst_guest": "", "worst_speedup": np.nan, "worst_low": np.nan, "worst_high": np.nan}
    worst = mine.sort_values("speedup", kind="stable").iloc[0]
    return {
        "worst_guest": worst["guest"], "worst_speedup": worst["speedup"], "worst_low": worst["low"],
        "worst_high": worst["high"],
    }  # fmt: skip


def in_order(frame: pd.DataFrame, study: Study, first: str = "label") -> pd.DataFrame:
    """Order rows as the experiment orders its labels and guests."""
    ranks = {"label": study.labels, "guest": study.guests}
    keys = [first, *(name for name in ranks if name != first)]
    keys = [key for key in keys if key in frame]
    return frame.sort_values(
        keys, kind="stable", key=lambda column: column.map(ranks[str(column.name)].index)
    ).reset_index(drop=True)
