"""Recorded views as columns of numbers, one entry a guest: what theory and brute force compute from."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from reports.study import Study

FloatArray = npt.NDArray[np.float64]
SIZES = ("current_kib", "min_kib", "max_kib", "mem_total_kib", "mem_free_kib", "buffers_kib", "cached_kib")
EXTRAS = ("reclaimable_slab_kib", "huge_pages_kib", "zram_kib")
"""Count where they are known, and are not there in runs made before 2026-11-27."""
MEDIANS = ("current_kib", "used_kib", "least_kib", "max_kib", "shares", "pool_kib")
ACTIVE = {"committed": "committed_kib", "touched": "active_kib"}
"""Which key of a view is what a policy takes for used, where that is not used memory."""


def columns(view: Mapping[str, Any]) -> dict[str, FloatArray] | None:
    """Return the columns of a view; None where a figure is not known, for such a guest is held and leaves the pool."""
    found = {name: [guest.get(name) for guest in view["guests"]] for name in (*SIZES, "shares")}
    host = [view["host"].get(name) for name in ("free_kib", "reserve_kib")]
    if any(value is None for column in (*found.values(), host) for value in column):
        return None
    found |= {name: [guest.get(name) or 0 for guest in view["guests"]] for name in EXTRAS}
    arcs = ([guest.get(name) for name in ("arc_kib", "arc_min_kib")] for guest in view["guests"])
    found["arc"] = [0 if None in (size, least) else max(size - least, 0) for size, least in arcs]
    return {name: np.array(column, dtype=float) for name, column in found.items()}


def pool_kib(view: Mapping[str, Any]) -> float:
    """Return what the guests share: Σ current + free - reserve - promised."""
    host = view["host"]
    current = sum(guest["current_kib"] for guest in view["guests"])
    return float(current + host["free_kib"] - host["reserve_kib"] - (host.get("promised_kib") or 0))


def used_and_least(known: Mapping[str, FloatArray]) -> tuple[FloatArray, FloatArray]:
    """Return used memory without what caches would give, and the minimum or what cannot be taken; guest by guest."""
    used, least = [], []
    for guest in zip(*(known[name].tolist() for name in (*SIZES, *EXTRAS, "arc")), strict=True):
        current, low, high, total, free, buffers, cached, slab, huge, zram, arc = guest
        uses = max(total - free - buffers - cached, 0.0)
        fixed = huge + zram if huge + zram <= min(uses, current) else 0.0
        uses -= slab if slab <= uses else 0.0
        used.append(uses - arc if arc <= uses else uses)
        least.append(max(low, min(fixed, high)))
    return np.array(used), np.array(least)


def active_kib(view: Mapping[str, Any], used: FloatArray, params: Mapping[str, Any]) -> FloatArray | None:
    """Return what a policy takes for used memory, A; None where the view does not have it of every guest."""
    which = params.get("active", "used")
    if which == "used":
        return used
    if which == "used-with-shared":
        more = [guest.get("shmem_kib") for guest in view["guests"]]
        return None if None in more else used + np.array(more, dtype=float)
    told = [guest.get(ACTIVE[which]) for guest in view["guests"]]
    return None if None in told else np.array(told, dtype=float)


def halves(study: Study) -> pd.DataFrame:
    """Return one row a trial and guest: medians over the last half of the trial, of what the views say and what is had.

    Views in which a figure is missing are left out.
    """
    rows = []
    for line in study.decisions():
        view = line["view"]
        known = columns(view)
        if known is None or line["trial_s"] < 0:
            continue
        used, least = used_and_least(known)
        told = {"current_kib": known["current_kib"], "used_kib": used, "least_kib": least}
        told |= {name: known[name] for name in ("max_kib", "shares")}
        for at, guest in enumerate(view["guests"]):
            key = {"place": f"{line['run']}/{line['block']}", "label": line["label"], "guest": guest["name"]}
            values = {name: float(column[at]) for name, column in told.items()}
            rows.append(key | {"trial_s": line["trial_s"], "pool_kib": pool_kib(view)} | values)
    keys = ["place", "label", "guest"]
    frame = pd.DataFrame(rows, columns=[*keys, "trial_s", *MEDIANS])
    late = frame[frame["trial_s"] >= frame.groupby(keys)["trial_s"].transform("max") / 2]
    levels = study.trials.drop_duplicates("place").set_index("place")["level"]
    found = late.groupby(keys, sort=False)[list(MEDIANS)].median().reset_index()
    return found.assign(level=found["place"].map(levels).astype(float) if len(found) else math.nan)
