"""Non-inferiority: that a guest loses at most so much. An interval can show it; that no difference was found cannot."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from typing import Any

from reports import noise, words
from reports.findings import Findings
from reports.special.verdict import judged
from reports.statistics import ENOUGH, side
from reports.summary import records

Row = Mapping[str, Any]


def verdict(found: Findings, limit: Mapping[str, Any]) -> str:
    """Judge what `loses_at_most` of an experiment claims, `{percent, guests}`, of every policy and level.

    Supported where the whole interval of every speed-up lies at or above 1 - percent/100, not supported where that of
    any lies below; open where one reaches over it, or where there are too few blocks for an interval. Where the A/A
    test has shown how far the baseline lies from itself, an interval must keep that far from the limit.
    """
    least, base = 1 - limit["percent"] / 100, found.study.baseline
    who = words.listed(limit["guests"]) or "every guest"
    claim = f"that {who} lost at most {limit['percent']:g} % against {base}"
    rows = list(_rows(found, limit["guests"]))
    if not rows:
        return f"{judged(None)}: {claim}; no trial tells."
    known = [row for row in rows if row["n"] >= ENOUGH]
    lost = [row for row in known if side(row["low"], row["high"], words.band(row), least) < 0]
    kept = [row for row in known if row["low"] >= least * words.band(row)]
    rest = [row for row in rows if row not in lost and row not in kept]
    parts = [
        f"{what} {words.listed([_told(row) for row in these])}"
        for what, these in (("refuted by", lost), ("shown by", kept), ("left open by", rest))
        if these
    ]
    needed = f"An interval must not reach below {words.times(least)}" + (", which takes more blocks." if rest else ".")
    if any(words.band(row) > 1 for row in rows):
        needed += f" One that comes nearer to it than {noise.repeated(found.study)} lay from itself leaves it open."
    return f"{judged(False if lost else None if rest else True)}: {claim} is {'; '.join(parts)}. {needed}"


def _rows(found: Findings, guests: list[str]) -> Iterator[Row]:
    """The headline of each guest that the claim is about, under each policy that somebody could run."""
    for row in records(found.guests):
        about = not guests or row["guest"] in guests
        if row["headline"] and about and row["label"] in found.study.contestants:
            yield row


def _told(row: Row) -> str:
    level = words.at_level(row.get("level", math.nan))
    return f"{row['guest']} ({row['workload']}) under {row['label']}{level} {words.estimate(row)}"
