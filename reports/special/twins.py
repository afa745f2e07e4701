"""`twins`: two guests that do the same work side by side, held against one another instead of against a policy."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from typing import Any

import pandas as pd

from reports import figures, noise, statistics, style, words
from reports.document import Container, Picture, Table
from reports.findings import Findings
from reports.language import phrase, phrases
from reports.special.verdict import Claim, Special, judged
from reports.statistics import ENOUGH
from reports.study import Study
from reports.summary import records

COLUMNS = ("level", "label", "first", "second", "alike", "ratio", "low", "high", "n", "band")


def special(found: Findings) -> Special:
    """Return the first guest's speed over that of its twin a level and policy, and whether it is slower at one size."""
    study = found.study
    pairs = trials_of(study)
    table = compared(pairs, study)
    if not len(table):
        return Special(claim=Claim.OPEN, reason=phrase("no two guests do the same work."), blocks=[])
    first, second = table.iloc[0]["first"], table.iloc[0]["second"]
    several = len(set(table["label"])) > 1
    each = [
        words.within(row["ratio"], row["low"], row["high"])
        + (phrase(" under {}", row["label"]) if several else "")
        + words.at_level(row["level"])
        + phrase(" (n = {}{})", row["n"], "" if row["alike"] else phrase(", with another size"))
        for row in records(table)
    ]
    reason = phrase(
        "{} does {} of the work of {} in the same trial, median over blocks.", first, words.listed(each), second
    )

    def draw(container: Container) -> None:
        axes = container.subplots()
        ticks = []
        for at, ((level, label), mine) in enumerate(_groups(pairs)):
            ticks.append(f"{label}{words.at_level(level)}")
            axes.plot([at - 0.18, at + 0.18], mine[["one", "other"]].T, color=style.RULE, zorder=1)
            for side, name, colour in ((-0.18, "one", style.PALETTE[0]), (0.18, "other", style.PALETTE[1])):
                axes.bar(at + side, mine[name].median(), 0.3, color=colour, alpha=0.55, zorder=0)
                axes.plot([at + side] * len(mine), mine[name], "o", markersize=3.5, color=colour, zorder=2)
        for name, colour in ((first, style.PALETTE[0]), (second, style.PALETTE[1])):
            axes.bar(0, 0, color=colour, alpha=0.55, label=style.shortened(name, 28))
        axes.set_xticks(range(len(ticks)), ticks)
        axes.set_xlabel(study.axis if study.levels else "")
        axes.set_ylabel(f"{pairs.iloc[0]['metric']}, {pairs.iloc[0]['unit']}")
        axes.grid(visible=False, axis="x")
        container.legend(loc="outside lower center", ncols=2)

    return Special(
        claim=judged(_slower(table[table["alike"]])),
        reason=reason,
        blocks=[
            Picture(
                name=f"twins{figures.suffix(study)}",
                caption=phrase(
                    "What {} and {} did in the same trials: bars are medians over blocks, points are single "
                    "trials, and a line joins the two of one trial.",
                    first,
                    second,
                ),
                draw=draw,
                height_in=2.8,
            ),
            Table(
                name=f"twins{figures.suffix(study)}",
                caption=phrase(
                    "How many times as fast {} is as {}: median over blocks of the ratio within a trial, with "
                    "its exact 95 % interval. Judged where both have the same memory.",
                    first,
                    second,
                )
                + _told(table, noise.repeated(study)),
                head=[study.axis, *phrases("policy", "same memory", "ratio", "95 % interval", "n")],
                rows=[
                    [
                        words.number(row["level"]),
                        row["label"],
                        phrase("yes" if row["alike"] else "no"),
                        words.middle(row["ratio"], row["low"], row["high"]),
                        words.interval(row["low"], row["high"]),
                        str(row["n"]),
                    ]
                    for row in records(table)
                ],
                aligns="rllrrr",
            ),
        ],
        frames={"twins": table.assign(experiment=study.name, backend=study.backend)},
    )


def _told(table: pd.DataFrame, label: str) -> str:
    """What a caption says of the band of the A/A test."""
    band = table.loc[table["alike"], "band"].max()
    if math.isnan(band):
        return ""
    return phrase(
        " Nothing within {} of 1 is a difference: so far did {} lie from itself.", words.deviation(band - 1), label
    )


def _slower(alike: pd.DataFrame) -> bool | None:
    """Whether the first is slower wherever both have the same memory; None where blocks or intervals do not tell."""
    if alike.empty or alike["n"].min() < ENOUGH or alike["low"].isna().any():
        return None
    sides = [statistics.side(row["low"], row["high"], row["band"]) for row in records(alike)]
    return True if set(sides) == {-1} else False if 1 in sides else None


def compared(pairs: pd.DataFrame, study: Study) -> pd.DataFrame:
    """Return one row a level and policy: the ratio within a trial, median over blocks with its interval.

    `band` is how many times that ratio of the baseline differed from itself, where it ran twice in a block.
    """
    rows = []
    for (level, label), mine in _groups(pairs):
        estimate = statistics.ratio_interval(mine["ratio"], once=study.simulated)
        first, second = mine.iloc[0]["first"], mine.iloc[0]["second"]
        alike = _size(study, first, level) == _size(study, second, level)
        band = noise.between(study.at(level) if study.levels else study, first, second)
        found = (estimate.median, estimate.low, estimate.high, estimate.n)
        rows.append((level, label, first, second, alike, *found, band))
    return pd.DataFrame(rows, columns=list(COLUMNS))


def trials_of(study: Study) -> pd.DataFrame:
    """Return every trial of the first two guests with the same work: what both did, and how much better the first."""
    return pd.DataFrame(
        list(_trials(study)), columns=["level", "label", "first", "second", "metric", "unit", "one", "other", "ratio"]
    )


def _trials(study: Study) -> Iterator[tuple[object, ...]]:
    twins = _twins(study)
    if twins is None:
        return
    first, second = twins
    for part in study.parts:
        heads = part.pairs[part.pairs["metric"] == study.headline(first)]
        for (_, label), trial in heads.groupby(["place", "label"], sort=False):
            of = trial.set_index("guest")
            if first in of.index and second in of.index:
                one, other = float(of.loc[first, "value"]), float(of.loc[second, "value"])  # type: ignore[arg-type]
                head = trial.iloc[0]
                ratio = float(statistics.speedups([one], [other], head["better"])[0])
                yield part.level, label, first, second, head["metric"], head["unit"], one, other, ratio


def _twins(study: Study) -> tuple[str, str] | None:
    for i, first in enumerate(study.guests):
        for second in study.guests[i + 1 :]:
            if study.headline(first) and study.workload(first) == study.workload(second):
                return first, second
    return None


def _size(study: Study, guest: str, level: float) -> Any:  # noqa: ANN401 - a value of the experiment's YAML
    """Memory that a guest begins with, at a level."""
    said: Mapping[str, Any] = next(one for one in study.experiment("guests") if one["name"] == guest)
    changes: Mapping[str, Any] = next(
        (one for one in (study.experiment("sweep") or {}).get("levels", ()) if one["at"] == level), {}
    )
    return {**said, **changes.get("guests", {}).get(guest, {})}.get("initial_mib")


def _groups(pairs: pd.DataFrame) -> Iterator[tuple[tuple[float, str], pd.DataFrame]]:
    """The trials of each level and policy."""
    for _, mine in pairs.groupby(["level", "label"], sort=False, dropna=False):
        yield (float(mine["level"].iloc[0]), str(mine["label"].iloc[0])), mine
