"""`approach`: how a guest that gives comes to its goal, tick by tick, against what theory says of it (T14)."""

from __future__ import annotations

import math
import re
from collections.abc import Iterator, Mapping, Sequence
from itertools import groupby
from typing import Any

import numpy as np
import pandas as pd

from reports import figures, style
from reports.document import Container, Picture, Table
from reports.findings import Findings
from reports.language import joined, phrase, phrases
from reports.special.theory import left_to_give
from reports.special.verdict import Claim, Special, judged
from reports.statistics import ENOUGH
from reports.study import Study
from reports.summary import records
from reports.words import counted

MIB = 1024.0
GOAL = re.compile(r"goal\s([\d.]+)\sMiB")
"""How a decision of self-adjustment says it, in whole MiB."""
STANDS_MIB = 1.0
"""A goal that moves by no more than its own rounding stands."""
WAY_MIB, TICKS = 30.0, 5
"""A shorter way is mostly the governor's smallest step; of fewer ticks nothing is seen."""
STEP_MIB, STEP_SHARE = 1.0, 0.005
"""The governor's smallest step (docs/design.md, Governor): a giver ends where a tenth of its way is less than that."""
KEYS = ("experiment", "backend", "label", "level", "guest")
NUMBERS = ("goal", "way", "ticks", "left", "theory", "far", "near")


def special(found: Findings) -> Special:
    """Return the ways of those that give, with theory over them, and whether they are as it says."""
    study = found.study
    ways = ways_of(study)
    table = approaches(study, ways)
    if not len(table):
        why = phrase("no guest gives towards a goal that stands while memory is ample.")
        return Special(claim=Claim.OPEN, reason=why, blocks=[], frames={"approach": table})
    known = table[table["n"] >= ENOUGH]
    near = known["far"] <= known["near"]
    holds = bool(near.all()) if len(known) == len(table) else None
    worst = records(table.assign(part=table["far"] / table["near"]).sort_values("part"))[-1]
    reason = [
        phrase(
            "Never farther from 0.9\N{MODIFIER LETTER SMALL K} of its way than the governor's smallest step explains, "
            "counted under each policy: {} of {}.",
            int((table["far"] <= table["near"]).sum()),
            counted(len(table), "guest"),
        ),
        phrase(
            "Farthest is {} under {}, by {:.1f} MiB of {:.1f}; that step explains up to {:.1f} MiB.",
            worst["guest"], worst["label"], worst["far"], worst["way"], worst["near"],
        ),
    ]  # fmt: skip
    return Special(
        claim=judged(holds),
        reason=joined(reason),
        blocks=[_picture(study, ways), _table(study, table)],
        frames={"approach": table},
    )


def ways_of(study: Study) -> pd.DataFrame:
    """Return the way of each guest that gives in a trial, tick by tick from its beginning, in MiB.

    Of each trial the longest stretch of ticks in which memory is ample and the goal stands and is below what it has.
    """
    levels = study.trials.drop_duplicates("place").set_index("place")["level"]
    rows: list[dict[str, Any]] = []
    for (place, label), lines in groupby(study.decisions(), key=lambda line: (_place(line), line["label"])):
        trial = [line for line in lines if line["decision"]["params"].get("variant") == "userspace"]
        for guest in [guest["name"] for guest in trial[0]["view"]["guests"]] if trial else []:
            key = {"place": place, "label": label, "level": float(levels[place]), "guest": guest}
            stretch = max(_stretches(_seen(trial, guest)), key=len, default=[])
            rows += [key | {"tick": at, "has": has, "goal": stretch[0][1]} for at, (has, _) in enumerate(stretch)]
    return pd.DataFrame(rows, columns=["place", "label", "level", "guest", "tick", "has", "goal"])


def approaches(study: Study, ways: pd.DataFrame) -> pd.DataFrame:
    """Return one row a level, policy and guest that gives: how far it gets, and how far that is from theory at most.

    In MiB, medians over blocks. `left` and `theory` are shares of the way after `ticks`; `near` is how far a giver can
    be from theory because the governor sends nothing that is less than its smallest step.
    """
    rows = []
    for (place, label, guest), way in ways.groupby(["place", "label", "guest"], sort=False):
        has, goal = way["has"].to_numpy(dtype=float), float(way["goal"].iloc[0])
        length, theory = has[0] - goal, left_to_give(way["tick"].to_numpy(dtype=float))
        step = max(STEP_MIB, STEP_SHARE * has[-1])
        rows.append({
            "experiment": study.name, "backend": study.backend, "label": label, "level": way["level"].iloc[0],
            "guest": guest, "place": place, "goal": goal, "way": length, "ticks": float(len(has) - 1),
            "left": (has[-1] - goal) / length, "theory": theory[-1],
            "far": float(np.abs(has - goal - length * theory).max()), "near": 10 * step + STANDS_MIB,
        })  # fmt: skip
    if not rows:
        return pd.DataFrame(columns=[*KEYS, *NUMBERS, "n"])
    trials = pd.DataFrame(rows).groupby(list(KEYS), sort=False, dropna=False)
    found = trials[list(NUMBERS)].median().assign(n=trials.size()).reset_index()
    ranks = {"label": study.labels, "guest": study.guests}
    return found.sort_values(
        ["level", *ranks], kind="stable",
        key=lambda column: column.map(ranks[str(column.name)].index) if column.name in ranks else column,
    ).reset_index(drop=True)  # fmt: skip


def _place(line: Mapping[str, Any]) -> str:
    return f"{line['run']}/{line['block']}"


def _seen(trial: Sequence[Mapping[str, Any]], guest: str) -> list[tuple[float, float]]:
    """What a guest has and its goal in each tick, in MiB; the goal NaN where memory is scarce or none is known.

    Where decisions do not say it, it is what the guest has in the end.
    """
    last = _has(trial[-1], guest)
    found = []
    for line in trial:
        if line["trial_s"] >= 0:
            decision = line["decision"]
            said = GOAL.search(str(decision["reasons"].get(guest, "")))
            goal = float(said[1]) if said else last
            found.append((_has(line, guest), goal if decision["state"] in (None, "ample") else math.nan))
    return found


def _has(line: Mapping[str, Any], guest: str) -> float:
    return next((one["current_kib"] / MIB for one in line["view"]["guests"] if one["name"] == guest), math.nan)


def _stretches(seen: Sequence[tuple[float, float]]) -> Iterator[list[tuple[float, float]]]:
    """Yield the stretches in which a goal stands and a guest gives towards it, long enough to tell."""
    stretch: list[tuple[float, float]] = []
    for has, goal in [*seen, (math.nan, math.nan)]:
        if stretch and abs(goal - stretch[0][1]) <= STANDS_MIB:
            stretch.append((has, goal))
            continue
        if len(stretch) >= TICKS:
            yield stretch
        stretch = [(has, goal)] if has - goal >= WAY_MIB else []


def _picture(study: Study, ways: pd.DataFrame) -> Picture:
    part = study.parts[len(study.parts) // 2]
    here = ways if math.isnan(part.level) else ways[ways["level"] == part.level]
    labels = [label for label in study.labels if label in set(here["label"])]

    def draw(container: Container) -> None:
        grid = container.subplots(1, max(1, len(labels)), sharex=True, sharey=True, squeeze=False)
        looks = style.looks(["", *study.guests])
        for axes, label in zip(grid[0], labels, strict=False):
            mine = here[here["label"] == label]
            first = mine.groupby(["place", "guest"])["has"].transform("first")
            left = ((mine["has"] - mine["goal"]) / (first - mine["goal"])).rename("left")
            medians = left.groupby([mine["guest"], mine["tick"]]).median()
            for guest in [guest for guest in study.guests if guest in set(mine["guest"])]:
                axes.plot(medians.loc[guest], **looks[guest] | {"markersize": 2.5, "linewidth": 0.8})
            ticks = np.arange(mine["tick"].max() + 1, dtype=float)
            axes.plot(ticks, left_to_give(ticks), color=style.INK, linestyle="--", linewidth=0.9,
                      label=phrase("theory (T14)"))  # fmt: skip
            axes.set(xlabel=phrase("ticks"), title=style.shortened(label, 28))
        grid[0, 0].set_ylabel(phrase("share of the way that is left"))
        named = dict(pair for axes in grid[0] for pair in zip(*reversed(axes.get_legend_handles_labels()), strict=True))
        container.legend(list(named.values()), list(named), loc="outside lower center", ncols=5)

    return Picture(
        name=f"approach{figures.suffix(study)}",
        caption=phrase(
            "How far those that give are from their goal, as a share of their way, tick by tick while memory is ample "
            "and the goal stands; medians over blocks. Dashed: theory, a tenth of what is left in each tick (T14). A "
            "giver ends where that tenth is less than the governor's smallest step."
        ),
        draw=draw,
        height_in=2.9,
    )


def _table(study: Study, table: pd.DataFrame) -> Table:
    return Table(
        name=f"approach{figures.suffix(study)}",
        caption=phrase(
            "Goal and way (MiB) of those that give, the share of the way that is left after so many ticks, measured "
            "and by theory (T14), how far the two are apart at most (MiB), and how far the governor's smallest step "
            "lets them be; medians over blocks."
        ),
        head=phrases("policy", "guest", "goal", "way", "ticks", "left", "theory (T14)", "apart", "explained", "n"),
        rows=[
            [
                row["label"], row["guest"], f"{row['goal']:.0f}", f"{row['way']:.0f}", f"{row['ticks']:.0f}",
                f"{row['left']:.3f}", f"{row['theory']:.3f}", f"{row['far']:.1f}", f"{row['near']:.1f}", str(row["n"]),
            ]
            for row in records(table)
        ],
        aligns="llrrrrrrrr",
    )  # fmt: skip
