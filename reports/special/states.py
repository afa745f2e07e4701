"""`states`: how often a policy changes its state, and what that costs; chatter is a change soon taken back."""

from __future__ import annotations

from itertools import groupby

import numpy as np
import pandas as pd

from reports import doubts, figures, statistics, style, summary, words
from reports.document import Container, Picture, Table
from reports.findings import Findings
from reports.language import phrase, phrases
from reports.special.verdict import Special, judged
from reports.summary import records

SOON_S = 20.0
"""A state left again within this time was chatter: ten ticks of 2 s, the time that memory needs to move."""


def special(found: Findings) -> Special:
    """Return counts and a strip of states a label, and whether what has hysteresis chatters less than what has none."""
    study = found.study
    doubts.need(study.runs, "samples.csv")
    table, place = changes(found), summary.representative(study.parts[0])
    plain = table[table["hysteresis"] == 0]
    damped = table[table["hysteresis"] > 0]
    enough = len(plain) and len(damped) and table["low"].notna().all()
    quiet = damped[damped["high"] < plain["low"].min()] if enough else damped
    silent = damped[damped["high"] == 0]
    each = words.listed([f"{row['label']} {words.number(row['chatter'])}" for row in records(table)])
    reason = phrase("states left again within {:g} s, in a trial (median over blocks): {}.", SOON_S, each) + (
        phrase(" None at all under {}.", words.listed(list(silent["label"]))) if len(silent) else ""
    )

    def draw(container: Container) -> None:
        labels = list(table["label"])
        grid = container.subplots(1, 2, width_ratios=(3, 1), sharey=True)
        strips = {label: study.samples(place, label).drop_duplicates("tick") for label in labels}
        names = sorted({state for rows in strips.values() for state in rows["state"]})
        looks = style.states(names)
        for at, label in enumerate(labels):
            rows = strips[label]
            ends = [*rows["trial_s"], rows["trial_s"].max()]
            start = 0
            for state, same in groupby(rows["state"]):
                length = len(list(same))
                span = ends[start + length] - ends[start]
                fill, hatch = looks[state]
                grid[0].barh(
                    at, span, left=ends[start], height=0.7, color=fill, hatch=hatch, edgecolor=style.QUIET, linewidth=0
                )
                start += length
            row = table[table["label"] == label].iloc[0]
            grid[1].plot(row["chatter"], at, "o", color=style.INK)
            grid[1].hlines(at, row["low"], row["high"], color=style.INK)
        for state, (fill, hatch) in looks.items():
            grid[0].bar(
                0, 0, color=fill, hatch=hatch, edgecolor=style.QUIET, linewidth=0, label=state or phrase("no state")
            )
        grid[0].set_yticks(range(len(labels)), [style.shortened(label, 20) for label in labels])
        grid[0].set(xlabel=phrase("time in the trial, s"), ylim=(len(labels) - 0.5, -0.5))
        grid[0].grid(visible=False, axis="y")
        grid[1].set(xlabel=phrase("left within {:g} s", SOON_S), xlim=(-0.5, None))
        container.legend(loc="outside upper center", ncols=4)

    return Special(
        claim=judged(bool(len(quiet) == len(damped)) if enough else None),
        reason=reason,
        blocks=[
            Picture(
                name=f"states{figures.suffix(study)}",
                caption=phrase(
                    "Left: the state of each policy over time in one block ({}). Right: how many times in a "
                    "trial a state was left again within {:g} s, median over blocks with its 95 % interval.",
                    place,
                    SOON_S,
                ),
                draw=draw,
                height_in=1.1 + 0.34 * max(1, len(table)),
            ),
            Table(
                name=f"states{figures.suffix(study)}",
                caption=phrase(
                    "Changes of state in a trial, those taken back within {:g} s, and MiB moved by balloons a "
                    "minute, all guests together; medians over blocks.",
                    SOON_S,
                ),
                head=phrases(
                    "policy", "hysteresis", "changes", "taken back", "95 % interval", "n", "MiB moved a minute"
                ),
                rows=[
                    [
                        row["label"],
                        words.number(row["hysteresis"]),
                        words.number(row["changes"]),
                        words.number(row["chatter"]),
                        f"[{row['low']:g}, {row['high']:g}]",
                        str(row["n"]),
                        words.number(row["moved_mib_min"]),
                    ]
                    for row in records(table)
                ],
                aligns="lrrrrrr",
            ),
        ],
        frames={"states": table},
    )


def changes(found: Findings) -> pd.DataFrame:
    """Return one row a label that has states: changes in a trial, those taken back soon, and what was moved."""
    study = found.study
    ticks = pd.concat([run.samples for run in study.runs]).drop_duplicates(["run", "block", "order", "tick"])
    ticks = ticks[ticks["state"] != ""]
    trials = study.trials.drop_duplicates(["place", "label", "guest"])
    moved = trials.groupby(["label", "place"]).agg(mib=("balloon_moved_mib", "sum"), seconds=("duration_s", "max"))
    per_minute = (60 * moved["mib"] / moved["seconds"]).groupby("label").median()
    rows = []
    for label in [label for label in study.labels if label in set(ticks["label"])]:
        counts = [counted(rows) for _, rows in ticks[ticks["label"] == label].groupby(["run", "block"])]
        back = statistics.median_interval([back for _, back in counts])
        hysteresis = study.parameter(label, "hysteresis")
        rows.append(
            {
                "experiment": study.name, "backend": study.backend, "label": label,
                "hysteresis": np.nan if hysteresis is None else float(hysteresis),
                "changes": float(np.median([every for every, _ in counts])), "chatter": back.median, "low": back.low,
                "high": back.high, "n": back.n, "moved_mib_min": per_minute.get(label, np.nan),
            }
        )  # fmt: skip
    columns = ["experiment", "backend", "label", "hysteresis", "changes", "chatter", "low", "high", "n"]
    return pd.DataFrame(rows, columns=[*columns, "moved_mib_min"])


def counted(ticks: pd.DataFrame) -> tuple[int, int]:
    """Return how often the state changed in one trial, and how often it changed again within `SOON_S`."""
    ordered = ticks.sort_values("tick")
    changed = ordered["state"].ne(ordered["state"].shift()).to_numpy()[1:]
    times = ordered["trial_s"].to_numpy()[1:][changed]
    return len(times), int((np.diff(times) <= SOON_S).sum())
