"""The loop from swap to price to memory to swap as it was recorded, and what theory (T16 to T18) says of it."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
import pandas as pd

from reports.findings import Findings
from reports.special.theory import Fate, Loop, part_of_average
from reports.special.views import active_kib, columns, pool_kib, used_and_least
from reports.statistics import FloatArray

SETTLED = 10
"""The last so many decisions of a trial are where it settled."""
FIRST = 4
"""Decisions that the table shows."""
SWINGS = 0.01
"""Targets that in the end still swing by more than this share of the pool have not settled."""
MEDIANS = ("active", "swap_total", "least", "most", "shares")


def recorded(found: Findings) -> pd.DataFrame:
    """Return one row a decision and guest of the policies that weigh swap; sizes are shares of the pool."""
    rows = [row for line in found.study.decisions() for row in _rows(line)]
    return pd.DataFrame(rows).sort_values(["place", "label", "tick"], kind="stable") if rows else pd.DataFrame()


def paths_of(rows: pd.DataFrame) -> pd.DataFrame:
    """Return the decisions about the guest that swaps most, decision by decision."""
    if not len(rows):
        return rows
    most = rows.groupby("guest")["swap"].sum().idxmax()
    return rows[(rows["guest"] == most) & rows["target"].notna()]


def loops_of(rows: pd.DataFrame) -> dict[str, tuple[Loop, float, int]]:
    """Return per label the loop that its views show, by how much an average counts the newest, and who swaps most.

    Every figure is the median over all views. What a guest works with, D, is what it has and what lies in its swap, in
    the views in which it swaps (T21); of one that never does nothing but that it lacks nothing is known.
    """
    found = {}
    for label, mine in rows.groupby("label", sort=False) if len(rows) else ():
        guests = mine.groupby("guest", sort=False)
        every = guests[list(MEDIANS)].median()
        wanted = (mine["current"] + mine["swap"]).where(mine["swap"] > 0).groupby(mine["guest"], sort=False).median()
        first = mine.iloc[0]
        if every.isna().any(axis=None):
            continue
        loop = Loop(
            pool=1.0, tax=first["tax"], swap_weight=first["swap_weight"], used=_array(every["active"]),
            shares=_array(every["shares"]), demand=_array(wanted.reindex(every.index).fillna(0.0)),
            swap=_array(every["swap_total"]), lo=_array(every["least"]), hi=_array(every["most"]),
        )  # fmt: skip
        times = mine.drop_duplicates(["place", "tick"]).groupby("place")["time_s"].diff()
        part = part_of_average(float(times.median()), first["smoothing_s"])
        most = rows.groupby("guest")["swap"].sum().idxmax()
        found[str(label)] = (loop, part, list(every.index).index(most))
    return found


def overshoots(found: Findings, rows: pd.DataFrame) -> pd.DataFrame:
    """Return one row a label: first targets, where they settle, overshoot and swing (medians over blocks); and theory.

    `theory_…` is what `predicted` says of it.
    """
    table, loops = [], loops_of(rows)
    for label, mine in paths_of(rows).groupby("label", sort=False) if len(rows) else ():
        trials = [trial["target"].to_numpy() for _, trial in mine.groupby("place")]
        lasts = [path[-SETTLED:] for path in trials]
        ends = [float(np.median(last)) for last in lasts]
        first = mine.iloc[0]
        row = {"experiment": found.study.name, "backend": found.study.backend, "label": label}
        row |= {name: first[name] for name in ("swap_weight", "smoothing_s", "fixed_point")}
        row |= {f"t{k}": float(np.median([_at(path, k) for path in trials])) for k in range(1, FIRST + 1)}
        over = [100 * max(0.0, path.max() - end) for path, end in zip(trials, ends, strict=True)]
        row |= {"settled": float(np.median(ends)), "overshoot_pc": float(np.median(over))}
        row |= {"settled_low": float(np.median([last.min() for last in lasts]))}
        row |= {"settled_high": float(np.median([last.max() for last in lasts]))}
        row |= {"swing_pc": float(np.median([100 * np.ptp(last) for last in lasts])), "n": len(trials)}
        table.append(row | predicted(loops.get(str(label)), foreseen=bool(first["fixed_point"])))
    frame = pd.DataFrame(table)
    if not table:
        return frame
    rank = {label: place for place, label in enumerate(found.study.labels)}
    return frame.sort_values("label", key=lambda column: column.map(rank)).reset_index(drop=True)


def predicted(one: tuple[Loop, float, int] | None, *, foreseen: bool) -> dict[str, Any]:
    """Return what theory says of a label: where it settles (T17), the eigenvalue's magnitude, and what becomes of it.

    A policy that foresees its own effect decides for the fixed point itself, so nothing is left to swing.
    """
    if one is None:
        return {"theory_settled": math.nan, "theory_m": math.nan, "theory_a": math.nan, "theory": ""}
    loop, part, most = one
    fate = Fate.HOLDS if foreseen else loop.fate(part)
    magnitude = 0.0 if foreseen else loop.magnitude()
    told = {"theory_settled": float(loop.settles()[most]), "theory_m": magnitude, "theory_a": part}
    return told | {"theory": str(fate)}


def swinging(row: Mapping[str, Any]) -> bool:
    """Whether a label's targets have not settled."""
    return bool(row["swing_pc"] > 100 * SWINGS)


def agrees(row: Mapping[str, Any]) -> bool:
    """Whether a label did what theory says: swung, or else settled, within what is no swing of where it should."""
    swung = swinging(row)
    if row["theory"] == Fate.SWINGS or swung:
        return swung and bool(row["theory"] == Fate.SWINGS)
    return bool(abs(row["settled"] - row["theory_settled"]) <= SWINGS)


def _rows(line: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
    view, params = line["view"], line["decision"]["params"]
    known = columns(view) if "swap_weight" in params else None
    if known is None:
        return
    pool = pool_kib(view)
    used, least = used_and_least(known)
    active = active_kib(view, used, params)
    targets = line["decision"]["targets_kib"]
    key = {"place": f"{line['run']}/{line['block']}", "label": line["label"], "tick": line["tick"]}
    key |= {"time_s": view["time_s"], "smoothing_s": params["swap_smoothing_s"]}
    key |= {name: params[name] for name in ("swap_weight", "fixed_point", "tax")}
    for at, guest in enumerate(view["guests"]):
        swap = (guest.get("swap_total_kib") or 0) - (guest.get("swap_free_kib") or 0)
        target = targets.get(guest["name"])
        sizes = {
            "target": math.nan if target is None else target, "current": known["current_kib"][at], "swap": swap,
            "swap_total": guest.get("swap_total_kib") or 0, "least": least[at], "most": known["max_kib"][at],
            "active": math.nan if active is None else active[at],
        }  # fmt: skip
        shares = {"shares": known["shares"][at]}
        yield key | {"guest": guest["name"]} | {name: size / pool for name, size in sizes.items()} | shares


def _array(column: pd.Series[float]) -> FloatArray:
    return np.array(column, dtype=float)


def _at(path: FloatArray, k: int) -> float:
    """The k-th target of a trial; NaN where it had fewer."""
    return float(path[k - 1]) if k <= len(path) else math.nan
