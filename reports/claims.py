"""What becomes of a claim: the experiment says by which comparisons it is judged and within what they must lie.

A comparison shows a claim where the whole of its exact 95 % interval lies within what is claimed, and refutes it where
none of it does. Where all comparisons must show it, each may be held to 5 % alone (an intersection-union test, Berger
1982), and one that refutes it must do so among all of them (Holm 1979); where any of them may, it is the other way
round.
"""

from __future__ import annotations

import math
from collections.abc import Hashable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from enum import Enum
from typing import Any

import numpy as np

from reports import noise, statistics, summary, words
from reports.findings import Findings
from reports.language import joined, phrase
from reports.special.verdict import judged
from reports.statistics import ALPHA, Estimate, FloatArray
from reports.study import Study

EACH = "each"
"""In place of names: every guest for itself, where otherwise their geometric mean is meant."""
ANY = "any"
"""In place of labels, or of levels: one of them is enough."""


class Says(Enum):
    """What a comparison says of a claim."""

    SHOWN = "shown by {}"
    REFUTED = "refuted by {}"
    OPEN = "left open by {}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Wanted:
    """What must lie where for a claim to hold, as an experiment's `judged_by` says it."""

    text: str
    policies: Sequence[str]
    any_of: bool = False
    """Whether one policy is enough; else all of them must."""
    over: Sequence[str]
    guests: Sequence[str] | None = None
    """None: the geometric mean over all of them."""
    levels: Sequence[float] | None = None
    anywhere: bool = False
    """Whether one of the levels is enough."""
    least: float = 1.0
    most: float = math.inf

    @property
    def one_is_enough(self) -> bool:
        """Whether the claim holds where one of its policies, or levels, shows it."""
        return self.any_of or self.anywhere


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Comparison:
    """One policy against another, at a level, over all guests or of one."""

    name: str
    label: str
    case: tuple[str, str] = ("", "")
    """The policy and the level that it speaks for, where one policy, or one level, is enough."""
    estimate: Estimate
    above_p: float
    """Of the test that the ratio is no more than the least that is claimed, its band included."""
    below_p: float
    """Of the test that it is no less than that."""
    over_p: float
    """Of the test that it is no more than the most that is claimed."""
    within: bool
    band: float
    """How many times the baseline lay from itself; NaN where it ran once."""
    decided: bool


def asked(study: Study) -> Iterator[Wanted]:
    """Yield all that the experiment says its claim is judged by; nothing where these rows cannot tell."""
    if study.baseline is not None and not (study.simulated and study.experiment("only_measured")):
        yield from (wanted(study, said) for said in study.experiment("judged_by") or ())
        if limit := study.experiment("loses_at_most"):
            yield loses_at_most(study, limit)


def wanted(study: Study, said: Mapping[str, Any]) -> Wanted:
    """Return what an entry of an experiment's `judged_by` asks for, with the words for it."""
    over = [str(label) for label in said.get("over") or [study.baseline]]
    chosen = said.get("policies", "all")
    every = isinstance(chosen, str)
    labels = [label for label in study.contestants if label not in over] if every else list(chosen)
    guests = [EACH] if said.get("guests") == EACH else list(said.get("guests") or []) or None
    least, most = float(said.get("at_least", 1.0)), float(said.get("at_most") or math.inf)
    who = (
        phrase("every guest") if guests == [EACH] else words.listed(guests) if guests else phrase("all guests together")
    )
    under = (
        (phrase("any one policy") if chosen == ANY else phrase("every other policy")) if every else words.listed(labels)
    )
    levels, anywhere = said.get("levels") or None, said.get("levels") == ANY
    at = phrase(" at {}", words.listed([f"{level:g}" for level in levels])) if levels and not anywhere else ""
    at = phrase(" at any one level") if anywhere else at
    return Wanted(
        text=_claim(least, most, who, f"{under}{at}", words.listed(over)),
        policies=labels, any_of=chosen == ANY, over=over, guests=guests,
        levels=None if anywhere else levels, anywhere=anywhere, least=least, most=most,
    )  # fmt: skip


def _claim(least: float, most: float, who: str, under: str, over: str) -> str:
    """Say what is claimed of a ratio from `least` to `most`."""
    if math.isfinite(most):
        return phrase("that {} did {:g} to {:g} times as well under {} as under {}", who, least, most, under, over)
    if least == 1:
        return phrase("that {} did better under {} than under {}", who, under, over)
    return phrase("that {} did at least {:g} times as well under {} as under {}", who, least, under, over)


def loses_at_most(study: Study, limit: Mapping[str, Any]) -> Wanted:
    """Return what `loses_at_most` of an experiment, `{percent, guests}`, asks for: an interval must show it."""
    base = str(study.baseline)
    who = words.listed(limit["guests"]) or phrase("every guest")
    return Wanted(
        text=phrase("that {} lost at most {:g} % against {}", who, limit["percent"], base),
        policies=[label for label in study.contestants if label != base],
        over=[base], guests=list(limit["guests"]) or [EACH], least=1 - limit["percent"] / 100,
    )  # fmt: skip


def verdict(found: Findings, wanted: Wanted) -> str:
    """Judge a claim: supported, not supported, or not to be judged from these rows; a sentence with the reasons."""
    every = list(comparisons(found, wanted))
    if not every:
        return phrase("{}: {}; no trial tells.", phrase(judged(None)), wanted.text)
    said = judgements(every, any_of=wanted.one_is_enough)
    holds = fate([(one.case, says) for one, says in zip(every, said, strict=True)], any_of=wanted.one_is_enough)
    parts = []
    for kind in (Says.REFUTED, Says.SHOWN, Says.OPEN):
        if mine := [one for one, says in zip(every, said, strict=True) if says is kind]:
            hardest = sorted(mine, key=lambda one: (math.isnan(one.estimate.median), one.estimate.median))
            told = [_told(one, (wanted.least, wanted.most)) for one in hardest]
            parts.append(phrase(kind.value, words.some(told, "claims")))
    text = phrase("{}: {} is {}.", phrase(judged(holds)), wanted.text, words.semicolon().join(parts))
    if holds is None:
        text = joined([text, _needed(wanted, every)])
    return text


def judgements(every: Sequence[Comparison], *, any_of: bool) -> list[Says]:
    """Return what each comparison says of the claim, all of them taken together."""
    refuting = [np.nanmin([one.below_p, one.over_p, 1.0]) for one in every]
    showing = [one.above_p for one in every]
    refuted = refuting if any_of else statistics.holm(refuting)
    shown = statistics.holm(showing, len(every)) if any_of else showing
    says = []
    for one, no, yes in zip(every, refuted, shown, strict=True):
        if not one.decided or not one.estimate.enough:
            says.append(Says.OPEN)
        else:
            says.append(Says.REFUTED if no <= ALPHA else Says.SHOWN if one.within and yes <= ALPHA else Says.OPEN)
    return says


def fate(said: Sequence[tuple[Hashable, Says]], *, any_of: bool) -> bool | None:
    """Return whether a claim holds: by all comparisons, or by all of any one case; None where that is open."""
    if not any_of:
        kinds = {says for _, says in said}
        return False if Says.REFUTED in kinds else True if kinds == {Says.SHOWN} else None
    each = [fate([one for one in said if one[0] == case], any_of=False) for case in dict.fromkeys(x for x, _ in said)]
    return True if True in each else False if set(each) == {False} else None


def comparisons(found: Findings, wanted: Wanted) -> Iterator[Comparison]:
    """Yield every comparison that a claim is judged by, over the blocks that have it."""
    idle = summary.undecided(found.study)
    for part in found.study.parts:
        if wanted.levels is not None and part.level not in wanted.levels:
            continue
        for over in wanted.over:
            against = part if over == part.baseline else part.against(over)
            for label in wanted.policies:
                if label != over and label in part.labels:
                    for who, band, ratios in _ratios(against, label, wanted.guests):
                        name = phrase("{} under {}", who, label) if who else label
                        name += words.at_level(part.level)
                        name += phrase(" over {}", over) if len(wanted.over) > 1 else ""
                        one = compared(name, label, ratios, band, wanted, once=part.simulated)
                        case = label if wanted.any_of else "", f"{part.level:g}" if wanted.anywhere else ""
                        yield replace(one, case=case, decided=idle.get(label, 0.0) < 1)


def _ratios(study: Study, label: str, guests: Sequence[str] | None) -> Iterator[tuple[str, float, FloatArray]]:
    """Yield who is compared, how far that lay from itself, and the ratio of every block."""
    bands = noise.bands(study)
    if guests is None:
        blocks = summary.per_block(study)
        mean = blocks.loc[blocks["label"] == label, "geometric_mean"]
        yield "", bands.mean, mean.to_numpy(dtype=float)
        return
    mine = study.pairs[study.pairs["label"] == label]
    for guest in study.guests if list(guests) == [EACH] else guests:
        metric = study.headline(guest)
        if metric is not None:
            rows = mine[(mine["guest"] == guest) & (mine["metric"] == metric)]
            who = f"{guest} ({study.workload(guest)})"
            yield who, bands.guest(guest, metric), rows["speedup"].to_numpy(dtype=float)


def compared(name: str, label: str, ratios: FloatArray, band: float, wanted: Wanted, *, once: bool) -> Comparison:
    """Return how the ratio of every block lies to what is wanted."""
    wide = 1.0 if math.isnan(band) else band
    estimate = statistics.ratio_interval(ratios, once=once)
    # A tie with 1 is no gain; what reaches any other margin exactly keeps it.
    least = wanted.least * wide * (1 if wanted.least == 1 else 1 - 2 * statistics.TIE)
    sides = ((least, 1), (wanted.least / wide, -1), (wanted.most * wide, 1))
    above, below, over = (_one_sided(ratios, around, sign, once=once) for around, sign in sides)
    within = statistics.side(estimate.low, estimate.high, around=least) > 0 and estimate.high <= wanted.most / wide
    return Comparison(
        name=name, label=label, estimate=estimate, above_p=above, below_p=below, over_p=over, within=within,
        band=band, decided=True,
    )  # fmt: skip


def _one_sided(ratios: FloatArray, around: float, sign: int, *, once: bool) -> float:
    """The two-sided p where the ratios lie on the side that is asked about, 1 where not; NaN of too few."""
    if math.isinf(around) or around <= 0:
        return 1.0
    test = statistics.wilcoxon(ratios, around=around, once=once)
    return test.p if math.isnan(test.p) or test.effect * sign > 0 else 1.0


def _told(one: Comparison, limits: Sequence[float]) -> str:
    about = words.about(one.estimate, limits)
    return phrase("{}: {}", one.name, about) + ("" if one.decided else phrase(", which never decided"))


def _needed(wanted: Wanted, every: Sequence[Comparison]) -> str:
    if not any(one.estimate.enough for one in every):
        return phrase("A result takes {} blocks that differ.", statistics.ENOUGH)
    limits = phrase("lie above {}", words.times(wanted.least))
    if math.isfinite(wanted.most):
        limits = phrase("lie between {} and {}", words.times(wanted.least), words.times(wanted.most))
    return phrase("An interval must {}, beyond what the baseline shows against itself.", limits)
