"""The trials of a run in the portions in which they run: all at once, or until the intervals are narrow enough.

Where an experiment says `repeat_until`, each repetition beyond the least is decided on by the width of the intervals
alone, never by where they lie: a run that stops when it likes what it sees shows what it likes. What is looked at are
the rows of the repetitions so far, in the order of the plan, so a run that was killed decides as one that was not.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import pandas as pd

from harness.experiment.config import Experiment
from harness.experiment.plan import Trial
from harness.records import RunFolder, is_again, read_trials
from harness.statistics import BOUNDS, ENOUGH, Estimate, means, paired, possible, ratio_interval


@dataclass(frozen=True, slots=True, kw_only=True)
class Width:
    """How far an interval reaches from its middle, as a ratio; infinite where there is none."""

    percent: float
    of: str
    """The policy, and where something is varied the level."""


@dataclass(slots=True, kw_only=True)
class Repeating:
    """Portions of the plan; after the last one it is known how many repetitions there were, and why no more."""

    experiment: Experiment
    trials: Sequence[Trial]
    """Of the whole plan, as many repetitions as there can be."""
    folder: RunFolder
    simulated: bool
    repetitions: int = 0
    widest: Width | None = None

    def portions(self) -> Iterator[Sequence[Trial]]:
        """Yield what is to be run next, some of which may have ended before; a portion has ended when the next is due.

        Raises:
            RecordsError: the rows cannot be read.

        """
        until = self.experiment.repeat_until
        self.repetitions = self.experiment.repetitions
        yield self.planned()
        while until is not None:
            self.widest = self._look()
            if self.widest.percent <= until.within_percent or self.repetitions == until.at_most:
                return
            before = len(self.planned())
            self.repetitions += 1
            yield self.planned()[before:]

    def planned(self) -> Sequence[Trial]:
        """Return all trials of the repetitions so far."""
        last = self.repetitions * len(self.experiment.levels())
        return [trial for trial in self.trials if trial.block <= last]

    def told(self) -> dict[str, Any]:
        """Return what the manifest is told; nothing where the number of repetitions was fixed."""
        until = self.experiment.repeat_until
        if until is None or self.widest is None:
            return {}
        percent = self.widest.percent
        return {
            "repeated": {
                "repetitions": self.repetitions,
                "narrow_enough": percent <= until.within_percent,
                "widest_percent": percent if math.isfinite(percent) else None,
                "widest": self.widest.of,
            }
        }

    def _look(self) -> Width:
        self.folder.commit()
        rows = read_trials(self.folder.path)
        rows = rows[rows["block"] <= self.repetitions * len(self.experiment.levels())]
        found = widths(self.experiment, rows, once=self.simulated)
        return max(found, key=lambda width: width.percent)


def widths(experiment: Experiment, trials: pd.DataFrame, *, once: bool) -> list[Width]:
    """Return the width of every comparison over all guests that the report makes with the baseline, level by level."""
    baseline = experiment.compared_with()
    assert baseline is not None  # an experiment without one is refused
    rivals = [one for one in experiment.policies if one.name not in BOUNDS and one.label != baseline.label]
    rows = possible(trials.assign(place=trials["block"].astype(str)))
    rows = rows[~rows["label"].map(is_again).astype(bool)]
    found = []
    for level, at in _levels(experiment, rows):
        blocks = means(paired(at, baseline.label)).groupby("label")["geometric_mean"]
        ratios: Mapping[Any, pd.Series[float]] = dict(iter(blocks))
        for rival in rivals:
            known = ratios.get(rival.label, pd.Series(dtype=float))
            found.append(Width(percent=percent(ratio_interval(known, once=once)), of=f"{rival.label}{level}"))
    return found


def percent(found: Estimate) -> float:
    """Return how far an interval [low, high] of a ratio reaches from its middle √(low·high): √(high / low) - 1.

    Simulated blocks that are all the same have no interval, and no further one tells more: these are as narrow as can
    be, else a policy that does what the baseline does would never let a run end.
    """
    if found.low == found.high or (found.n >= ENOUGH and found.observations == 1):
        return 0.0
    if not 0 < found.low <= found.high < math.inf:
        return math.inf
    return 100 * (math.sqrt(found.high / found.low) - 1)


def _levels(experiment: Experiment, rows: pd.DataFrame) -> Iterator[tuple[str, pd.DataFrame]]:
    if experiment.sweep is None:
        yield "", rows
        return
    for level in experiment.sweep.levels:
        yield f" at {level.at:g}", rows[rows["level"] == level.at]
