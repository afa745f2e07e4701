"""Every policy over all experiments of a report: who won by how much, where it lost, what it cost, how it repeats."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from reports import earlier, statistics, words
from reports.document import Block, Paragraph, Table
from reports.earlier import Figure
from reports.findings import Findings
from reports.language import joined, phrase, phrases
from reports.summary import records
from reports.words import Verdict

COSTS = ("balloon_moved_mib", "swapped_in_mib", "stall_some_s")


@dataclass(frozen=True, slots=True, kw_only=True)
class Compared:
    """One policy in one condition: an experiment, or one level of it."""

    backend: str
    condition: str
    baseline: str
    row: dict[str, Any]
    costs: dict[str, float]
    """Of a trial, in the median over its blocks."""
    base_costs: dict[str, float]

    @property
    def label(self) -> str:
        """What the policy is called."""
        return str(self.row["label"])

    @property
    def speedup(self) -> float:
        """Geometric mean over the guests, median over blocks."""
        return float(self.row["speedup"])


def blocks(found: Sequence[Findings], reported: Sequence[Figure]) -> Iterator[Block]:
    """Yield what page one says of several experiments: measured and simulated ones apart."""
    every = [one for findings in found for one in compared(findings)]
    for backend in dict.fromkeys(one.backend for one in every):
        mine = [one for one in every if one.backend == backend]
        where = phrase("measured on Xen" if backend == "xen" else backend)
        first = _first(mine)
        yield Paragraph(lead=phrase("Who won ({}).", where), text=_won(mine, first))
        yield Paragraph(lead=phrase("Where it lost."), text=_lost(mine))
        yield Paragraph(lead=phrase("What it cost."), text=_cost(mine, first))
    yield Paragraph(lead=phrase("What others report."), text=_reported(reported))
    yield Paragraph(lead=phrase("Repeatability."), text=repeats(found))
    if every:
        yield table(every)


def _reported(every: Sequence[Figure]) -> str:
    """Say what of the figures of others is reproduced."""
    return earlier.told(every, titled=True) if every else phrase("No experiment here names a figure of others.")


def compared(found: Findings) -> list[Compared]:
    """Return every policy that could be run and has a pair, condition by condition."""
    study, rows = found.study, records(found.overall) if len(found.overall) else []
    costs = {(str(row["level"]), row["label"]): row for row in records(found.counters)}

    def of(level: float, label: str) -> dict[str, float]:
        row = costs.get((str(level), label), {})
        return {name: float(row.get(name, np.nan)) for name in COSTS}

    return [
        Compared(
            backend=study.backend, condition=f"{study.name}{words.at_level(row['level'])}",
            baseline=str(study.baseline), row=row, costs=of(row["level"], row["label"]),
            base_costs=of(row["level"], str(study.baseline)),
        )
        for row in rows if row["label"] in study.contestants and row["n"]
    ]  # fmt: skip


def table(every: Sequence[Compared]) -> Table:
    """Return a line for every policy on either backend."""
    rows = []
    for backend, label in dict.fromkeys((one.backend, one.label) for one in every):
        mine = [one for one in every if (one.backend, one.label) == (backend, label)]
        best, worst = (choose(mine, key=lambda one: one.speedup) for choose in (max, min))
        verdicts = Counter(words.verdict(one.row) for one in mine)
        rows.append(
            [
                label, phrase(backend), str(len(mine)), str(verdicts[Verdict.BETTER]), str(verdicts[Verdict.WORSE]),
                _mean(mine), _placed(best), _placed(worst), _guest(mine) or words.DASH,
                *(_beside(mine, name) for name in COSTS[:2]),
            ]
        )  # fmt: skip
    return Table(
        name="standing",
        caption=phrase(
            "Every policy over all its conditions, each an experiment or one level of it: in how many it is better and "
            "worse than the baseline; its speed-up (geometric mean over guests, median over blocks), as the geometric "
            "mean of its conditions, in the best and in the worst of them; the guest that fared worst anywhere; and "
            "what it cost in a trial, median over conditions (in brackets: the baseline's)."
        ),
        head=[
            *phrases("policy", "backend", "conditions", "better", "worse", "speed-up", "best", "worst", "worst guest"),
            *phrases("balloon moved, MiB", "swapped in, MiB"),
        ],
        rows=rows,
        aligns="llrrrrlllrr",
    )


def repeats(found: Sequence[Findings]) -> str:
    """Say how far the baseline lay from itself, over all experiments."""
    parts, shares = [], {}
    for one in found:
        heads = one.noise[one.noise["headline"]]["largest_deviation"].dropna() if len(one.noise) else ()
        if len(heads):
            shares[one.study.name] = float(max(heads))
    if shares:
        most = max(shares, key=lambda name: shares[name])
        parts.append(
            phrase(
                "The same policy twice in a block differs by at most {} in any guest's headline metric ({}), and in "
                "the median of {} by at most {}.", words.deviation(shares[most]), most,
                words.counted(len(shares), "experiment"), words.deviation(float(np.median(list(shares.values())))),
            )
        )  # fmt: skip
    measured = [one.study.name for one in found if one.study.backend == "xen" and one.study.name not in shares]
    if measured:
        parts.append(phrase("Not known, for nothing ran twice to its end: {}.", words.some(measured, "overall")))
    if any(one.study.simulated for one in found):
        parts.append(phrase("Simulated: the same seed gives the same numbers again, so no policy had to run twice."))
    return joined(parts)


def _first(every: Sequence[Compared]) -> dict[str, Compared | None]:
    """Condition → who is first by the median; None: the baseline, for nobody is above it."""
    conditions: dict[str, Compared | None] = {}
    for name in dict.fromkeys(one.condition for one in every):
        best = max((one for one in every if one.condition == name), key=lambda one: one.speedup)
        conditions[name] = best if best.speedup > 1 else None
    return conditions


def _won(every: Sequence[Compared], first: dict[str, Compared | None]) -> str:
    counts = Counter(one.label for one in first.values() if one)
    said = []
    for label, count in counts.most_common():
        gains = [one.speedup for one in first.values() if one and one.label == label]
        by = words.times(min(gains)) if count == 1 else phrase("{} to {}", *map(words.times, (min(gains), max(gains))))
        said.append(phrase("{} in {} ({})", label, count, by))
    if none := sum(one is None for one in first.values()):
        said.append(phrase("nobody but the baseline in {}", none))
    verdicts = Counter(words.verdict(one.row) for one in every)
    return phrase(
        "First, by medians over blocks, of {}: {}. Of {} with a baseline, shown to be better: {}; worse: {}; too few "
        "blocks for a result: {}.", words.counted(len(first), "condition"), words.listed(said),
        words.counted(len(every), "comparison"), verdicts[Verdict.BETTER], verdicts[Verdict.WORSE],
        sum(verdicts[verdict] for verdict in words.NO_RESULT),
    )  # fmt: skip


def _lost(every: Sequence[Compared]) -> str:
    behind = sorted((one for one in every if one.speedup < 1), key=lambda one: one.speedup)
    named = [phrase("{} {} in {}", one.label, words.times(one.speedup), one.condition) for one in behind]
    text = (
        phrase("Over all guests behind the baseline: {}.", words.some(named, "overall"))
        if named
        else phrase("Over all guests no policy lay behind the baseline.")
    )
    guests = [one for one in every if one.row["worst_speedup"] < 1]
    if not guests:
        return joined([text, phrase("No guest's median lay behind it either.")])
    worst = min(guests, key=lambda one: one.row["worst_speedup"])
    return joined([text, phrase("The guest that lost most: {}, under {}.", _guest([worst]), worst.label)])


def _cost(every: Sequence[Compared], first: dict[str, Compared | None]) -> str:
    labels = Counter(one.label for one in first.values() if one).most_common(1)
    label = labels[0][0] if labels else every[0].label
    mine = [one for one in every if one.label == label]
    return phrase(
        "{}, in a trial (in brackets: the baseline): {} MiB moved by the balloon, {} MiB swapped in, {} s in which "
        "some work of a guest waited for memory, median over {}.", label, *(_beside(mine, name) for name in COSTS),
        words.counted(len(mine), "condition"),
    )  # fmt: skip


def _mean(mine: Sequence[Compared]) -> str:
    return words.times(statistics.geometric_mean([one.speedup for one in mine]))


def _placed(one: Compared) -> str:
    return phrase("{} in {}", words.times(one.speedup), one.condition)


def _guest(mine: Sequence[Compared]) -> str:
    known = [one for one in mine if one.row["worst_guest"]]
    if not known:
        return ""
    one = min(known, key=lambda one: one.row["worst_speedup"])
    return phrase("{} {} in {}", one.row["worst_guest"], words.times(one.row["worst_speedup"]), one.condition)


def _beside(mine: Sequence[Compared], name: str) -> str:
    """What it cost, in the median over conditions, and the baseline."""
    medians = [float(np.median([of(one)[name] for one in mine])) for of in (_own, _base)]
    return f"{words.number(medians[0])} ({words.number(medians[1])})"


def _own(one: Compared) -> dict[str, float]:
    return one.costs


def _base(one: Compared) -> dict[str, float]:
    return one.base_costs
