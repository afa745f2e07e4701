"""The tables as people read them: rounded, with verdicts; the CSV files beside them have every digit."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pandas as pd

from reports import figures, summary, words
from reports.document import Table
from reports.findings import Findings
from reports.language import phrase, phrases
from reports.summary import records

MOST_ROWS = 120
"""Of a table on paper; its CSV file has all."""


def overall(found: Findings) -> Table:
    """Return who gained over all guests, level by level where something is varied."""
    bounds = set(found.study.labels) - set(found.study.contestants)
    gap = "gap_pp" in found.overall and bool(found.overall["gap_n"].gt(0).any())
    ranked = found.overall.sort_values(["level", "speedup"], ascending=[True, False], kind="stable")
    rows = [
        [
            row["label"], words.middle(row["speedup"], row["low"], row["high"]),
            words.interval(row["low"], row["high"]), _count(row), words.number(row["wilcoxon_p_holm"]),
            phrase("bound" if row["label"] in bounds else words.verdict(row)), _worst(row),
            words.interval(row["worst_low"], row["worst_high"]), words.number(row["jain"]),
            *([words.points(row["gap_pp"])] if gap else []), phrase("{} of {}", row["failed_trials"], row["trials"]),
        ]
        for row in records(ranked)
    ]  # fmt: skip
    head = phrases("policy", "speed-up", "95 % interval", "n", "p", "verdict", "worst guest", "its interval", "Jain")
    head += [*([phrase("gap to oracle, pp")] if gap else []), phrase("failed")]
    return by_level(
        found,
        ranked,
        Table(
            name=f"overall{figures.suffix(found.study)}",
            caption=phrase(
                "Speed-up over {}, geometric mean over the guests ({}): median over blocks, best first, "
                "exact 95 % interval, blocks{}, and p {}.",
                found.study.baseline,
                found.study.title,
                _differing(found.overall),
                _adjusted(found.overall),
            )
            + _alone(found),
            head=head,
            rows=rows,
            aligns="lrrrrllrr" + "r" * gap + "r",
        ),
    )


def performance(found: Findings) -> Table:
    """Return what share of the performance with unconstrained memory was reached."""
    rows = [
        [
            row["label"], words.number(row["performance"]), words.interval(row["low"], row["high"]), str(row["n"]),
            f"{row['worst_guest']} {words.number(row['worst_performance'])}" if row["worst_guest"] else words.DASH,
            words.interval(row["worst_low"], row["worst_high"]), words.number(row["jain"]),
        ]
        for row in records(found.performance)
    ]  # fmt: skip
    return by_level(
        found,
        found.performance,
        Table(
            name=f"performance{figures.suffix(found.study)}",
            caption=phrase(
                "Normalised performance: value over the value with unconstrained memory in the same block "
                "(its inverse where lower is better), so 1 is all that was possible. Geometric mean over the "
                "guests, median over blocks; Jain's index over the guests' shares."
            ),
            head=phrases("policy", "performance", "95 % interval", "n", "worst guest", "its interval", "Jain"),
            rows=rows,
            aligns="lrrrlrr",
        ),
    )


def by_level(found: Findings, frame: pd.DataFrame, table: Table) -> Table:
    """Put the level before each row where something is varied; rows beyond what anybody reads are left to the CSV."""
    rows, name = list(table.rows), table.name.partition("-")[0]
    head, aligns, caption = list(table.head), table.aligns, table.caption
    if found.swept:
        rows = [[f"{level:g}", *row] for level, row in zip(frame["level"], rows, strict=True)]
        head, aligns = [phrase("level"), *head], f"r{aligns}"
        caption = phrase("{} Level: {}.", caption, found.study.axis)
    if (more := len(rows) - MOST_ROWS) > 0:
        caption = phrase("{} The first {} rows; {} more are in tables/{}.csv.", caption, MOST_ROWS, more, name)
    return Table(name=table.name, caption=caption, head=head, rows=rows[:MOST_ROWS], aligns=aligns)


def _worst(row: Mapping[str, Any]) -> str:
    if not row["worst_guest"]:
        return words.DASH
    return f"{row['worst_guest']} {words.middle(row['worst_speedup'], row['worst_low'], row['worst_high'])}"


def guest(found: Findings) -> Table:
    """Return who gained, guest by guest; of a sweep only what stands for each guest's work."""
    frame = found.guests[found.guests["headline"]] if found.swept else found.guests
    bounds = set(found.study.labels) - set(found.study.contestants)
    rows = [
        [
            row["label"], row["guest"], row["workload"], phrase(f"{{}} ({row['better']})", row["metric"]),
            words.middle(row["speedup"], row["low"], row["high"]),
            words.interval(row["low"], row["high"]), _count(row), words.number(row["wilcoxon_p_holm"]),
            words.number(row["rank_biserial"]), phrase("bound" if row["label"] in bounds else words.verdict(row)),
        ]
        for row in records(frame)
    ]  # fmt: skip
    about = phrase(
        "Speed-up over {}, paired by block: median, exact 95 % interval, number of pairs{}, p {}, "
        "rank-biserial effect (1: every pair better, -1: every pair worse).",
        found.study.baseline,
        _differing(frame),
        _adjusted(frame),
    ) + (phrase(" Here the first metric of each guest; all are in tables/speedup.csv.") if found.swept else "")
    head = phrases(
        "policy", "guest", "workload", "metric (better)", "speed-up", "95 % interval", "n", "p", "effect", "verdict"
    )
    name = f"speedup{figures.suffix(found.study)}"
    return by_level(found, frame, Table(name=name, caption=about, head=head, rows=rows, aligns="llllrrrrrl"))


def _count(row: Mapping[str, Any]) -> str:
    """The pairs of a row, and how many of them count where these are fewer."""
    count = words.observations(row)
    return str(row["n"]) if count == row["n"] else f"{row['n']} ({count})"


def _differing(frame: pd.DataFrame) -> str:
    """What a caption says of a count in brackets, where a row has one."""
    fewer = (frame["observations"] < frame["n"]).any()
    return phrase(" (in brackets: how many of them differ, and count)") if fewer else ""


def _adjusted(frame: pd.DataFrame) -> str:
    """What a caption says of p; of guests a headline metric has a family of its own."""
    heads = frame["headline"] if "headline" in frame else frame["comparisons"].notna()
    families = [int(mine["comparisons"].max()) for mine in (frame[heads], frame[~heads]) if len(mine)]
    adjusted = ""
    if len(families) == 2:
        adjusted = phrase(
            ", adjusted (Holm) for {} in the report of what stands for a guest's work (its first metric), or {} of "
            "what else is measured", *(words.counted(size, "comparison") for size in families),
        )  # fmt: skip
    elif families[0] > 1:
        adjusted = phrase(", adjusted for the {} comparisons of this kind in the report (Holm)", *families)
    return phrase("of Wilcoxon's signed-rank test{}", adjusted)


def _alone(found: Findings) -> str:
    """Why a policy may be a matter of chance in a table whose claim is supported: that is one question, asked alone."""
    chance = any(words.verdict(row) == words.Verdict.CHANCE for row in records(found.overall))
    if not (chance and found.study.experiment("judged_by")):
        return ""
    return phrase(
        " Verdicts here are of all its rows at once, so one may be chance though the claim, a question put before the "
        "first trial, is decided by it (see How sure)."
    )


def counter(found: Findings) -> Table:
    """Return what memory each policy gave, and what that cost in memory traffic."""
    names = [summary.ALLOCATED, *summary.COUNTERS.values()]
    heads = phrases(
        "allocated, MiB", "major faults", "swapped in, MiB", "swapped out, MiB", "stall some, s", "stall full, s",
        "OOM kills", "balloon moved, MiB",
    )  # fmt: skip
    rows = [[row["label"], *(words.number(row[name]) for name in names)] for row in records(found.counters)]
    table = Table(
        name=f"counters{figures.suffix(found.study)}",
        caption=phrase(
            "Memory of a trial, summed over its guests, median over blocks. Allocated: what Xen gave them, mean over "
            "the samples; what is left of the pool was returned. Stall: time in which some or all work of a guest "
            "waited for memory. Dash: not known for every guest. By guest: tables/guest-counters.csv."
        ),
        head=[phrase("policy"), *heads],
        rows=rows,
        aligns="l" + "r" * len(names),
    )
    return by_level(found, found.counters, table)


def value(found: Findings) -> Table:
    """Return what was measured."""
    rows = [
        [
            row["guest"], row["workload"], row["metric"], row["unit"], phrase(row["better"]), row["label"],
            words.number(row["median"]), words.number(row["least"]), words.number(row["most"]), str(row["n"]),
            str(row["trials_without_value"]),
        ]
        for row in records(found.measured)
    ]  # fmt: skip
    table = Table(
        name=f"values{figures.suffix(found.study)}",
        caption=phrase(
            "What every guest reached under every policy, in its own unit, over all blocks that gave a value."
        ),
        head=phrases(
            "guest",
            "workload",
            "metric",
            "unit",
            "better when",
            "policy",
            "median",
            "least",
            "most",
            "n",
            "without value",
        ),
        rows=rows,
        aligns="llllllrrrrr",
    )
    return by_level(found, found.measured, table)


def shadow(found: Findings) -> Table:
    """Return how far the policies that only watched lay from the one that acted."""
    rows = [
        [row["label"], row["shadow"], row["guest"], words.number(row["median_difference_mib"]), str(row["ticks"])]
        for row in records(found.shadows)
    ]
    return Table(
        name=f"shadows{figures.suffix(found.study)}",
        caption=phrase(
            "How far the targets of each shadow lay from those of the policy that was acting in the same "
            "tick, before the governor: median of the absolute difference over all blocks. A shadow "
            "moves nothing, so what it saw followed from what the other did."
        ),
        head=phrases("acting policy", "shadow", "guest", "median difference, MiB", "ticks"),
        rows=rows,
        aligns="lllrr",
    )


def failure(found: Findings) -> Table:
    """Return what failed, and why."""
    rows = [
        [
            row["run"],
            str(row["block"]),
            str(row["order"]),
            row["label"],
            row["guest"],
            phrase(row["status"]),
            _brief(row["reason"]),
        ]
        for row in records(found.failures)
    ]
    table = Table(
        name=f"failures{figures.suffix(found.study)}",
        caption=phrase("Every trial of a guest that gave no number, and why."),
        head=phrases("run", "block", "order", "policy", "guest", "status", "reason"),
        rows=rows,
        aligns="lrrllll",
    )
    return by_level(found, found.failures, table)


def _brief(reason: str) -> str:
    """Return the end of a reason, where the error usually is; all of it is in trials.csv."""
    lines = [line for line in reason.splitlines() if line.strip()]
    text = "\n".join(lines[-4:])
    return text if len(text) <= 300 else f"…{text[-300:]}"
