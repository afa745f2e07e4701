"""What others have published of what an experiment asks, and whether it is reproduced here.

A figure is reproduced where ours may be it: where the exact 95 % interval, wider by what the baseline shows against
itself, reaches what is reported. It is not where all of that lies beyond, with all figures of a report held together
(Holm 1979).
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from reports import claims, noise, statistics, words
from reports.claims import Comparison, Wanted
from reports.findings import Findings
from reports.language import joined, phrase
from reports.statistics import ALPHA
from reports.study import Study

KINDS = ("Reproduced", "Not reproduced", "Open")


@dataclass(frozen=True, slots=True, kw_only=True)
class Figure:
    """One figure of others, and ours."""

    by: str
    times: tuple[float, float]
    title: str
    """Of the study that asks for it."""
    ours: Comparison
    held_p: float = math.nan
    """Of the test that ours is theirs, all figures of a report held together."""

    @property
    def p(self) -> float:
        """The same of this one alone; 1 where too few blocks tell."""
        return float(np.nanmin([self.ours.below_p, self.ours.over_p, 1.0]))

    def fate(self) -> tuple[str, str]:
        """Return what became of it, and what is to be said of that."""
        if not self.ours.decided:
            return "Open", phrase(", which never decided")
        if not self.ours.estimate.enough:
            return "Open", phrase(": a result takes {} blocks that differ", statistics.ENOUGH)
        if self.p > ALPHA:
            return "Reproduced", ""
        if self.held_p > ALPHA:
            return "Open", phrase(": beyond it, which may be chance among all that are held together")
        return "Not reproduced", phrase(": less") if self.ours.estimate.high < self.times[0] else phrase(": more")


def figures(found: Sequence[Findings]) -> list[Figure]:
    """Return every figure that the experiments of a report name, but those of which a simulated run says nothing."""
    every = [
        Figure(by=str(said["by"]), times=(float(said["times"][0]), float(said["times"][1])), title=one.study.title,
               ours=ours)
        for one in found if not (one.study.simulated and one.study.experiment("only_measured"))
        for said in one.study.experiment("reported") or () for ours in list(_ours(one, said)) or [_nothing(said)]
    ]  # fmt: skip
    return [replace(one, held_p=p) for one, p in zip(every, statistics.holm([one.p for one in every]), strict=True)]


def told(every: Sequence[Figure], *, titled: bool = False) -> str:
    """Say which figures are reproduced, which are not, and which are open, and why."""
    kinds: dict[str, list[str]] = {kind: [] for kind in KINDS}
    for one in every:
        kind, why = one.fate()
        where = phrase("{}: {}", one.title, one.ours.name) if titled else one.ours.name
        least, most = (f"{times:g}{words.TIMES}" for times in one.times)
        said = least if least == most else phrase("{} to {}", least, most)
        kinds[kind].append(
            phrase("{}: {}, reported {} ({}){}", where, words.about(one.ours.estimate), said, one.by, why)
        )
    parts = [phrase("{}: {}.", phrase(kind), words.semicolon().join(mine)) for kind, mine in kinds.items() if mine]
    return joined(parts)


def _ours(found: Findings, said: Mapping[str, Any]) -> Iterator[Comparison]:
    """Yield what is measured here of a figure, at every level that it is about."""
    study, level = found.study, said.get("level")
    over = said.get("over") or study.own_baseline
    wanted = Wanted(
        text="", policies=[str(said["policy"])], over=[str(over)], levels=None if level is None else [float(level)],
        guests=[str(said["guest"])] if said.get("guest") else None, least=said["times"][0], most=said["times"][1],
    )  # fmt: skip
    if said.get("beside"):
        for part in study.parts:
            if level is None or part.level == level:
                yield from _beside(part, wanted, str(said["guest"]), str(said["beside"]))
    elif over is not None:
        for one in claims.comparisons(found, wanted):
            yield replace(one, name=one.name + phrase(" over {}", over))


def _nothing(said: Mapping[str, Any]) -> Comparison:
    """What is measured here of a figure of which no trial tells."""
    label, asked = str(said["policy"]), Wanted(text="", policies=(), over=())
    name = phrase("{} under {}", said["guest"], label) if said.get("guest") else label
    return claims.compared(name, label, np.empty(0), math.nan, asked, once=False)


def _beside(part: Study, wanted: Wanted, guest: str, other: str) -> Iterator[Comparison]:
    """Yield how one guest does against another of the same trial, if both give the same metric."""
    (label,) = wanted.policies
    mine = part.pairs[(part.pairs["label"] == label) & (part.pairs["metric"] == part.headline(guest))]
    values = mine.pivot_table(index="place", columns="guest", values="value")
    if {guest, other} <= set(values):
        ratios = statistics.speedups(values[guest], values[other], mine["better"].iloc[0])
        name = phrase("{} beside {} under {}", guest, other, label) + words.at_level(part.level)
        band = noise.between(part, guest, other)
        yield claims.compared(name, label, np.asarray(ratios, dtype=float), band, wanted, once=part.simulated)
