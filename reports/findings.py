"""A study with the tables that are made of it, each made once."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import pandas as pd

from reports import bounds, noise, shadows, statistics, summary
from reports.study import Study


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Findings:
    """A study and the tables made of it once. Where something is varied every row belongs to one `level`."""

    study: Study
    overall: pd.DataFrame
    guests: pd.DataFrame
    performance: pd.DataFrame
    gaps: pd.DataFrame
    measured: pd.DataFrame
    counters: pd.DataFrame
    guest_counters: pd.DataFrame
    failures: pd.DataFrame
    blocks: pd.DataFrame
    shadows: pd.DataFrame
    noise: pd.DataFrame

    @classmethod
    def of(cls, study: Study) -> Findings:
        """Make all tables of a study, level by level."""
        parts = study.parts

        def every(make: Callable[[Study], pd.DataFrame]) -> pd.DataFrame:
            found = [frame for frame in map(make, parts) if len(frame)]
            return pd.concat(found, ignore_index=True) if found else make(parts[0])

        guests = every(summary.speedups)
        if len(parts) > 1 and len(guests):  # one family: all tests of the study
            guests["wilcoxon_p_holm"] = statistics.holm(guests["wilcoxon_p"].tolist())
        return cls(
            study=study,
            overall=every(lambda part: bounds.with_gaps(summary.overall(part), part)),
            guests=guests,
            performance=every(bounds.performance),
            gaps=every(lambda part: bounds.gaps(part).assign(level=part.level)),
            measured=every(summary.values),
            counters=every(lambda part: summary.counters(part, by_guest=False)),
            guest_counters=every(lambda part: summary.counters(part, by_guest=True)),
            failures=summary.failures(study, again=True),
            blocks=every(summary.per_block),
            shadows=shadows.distances(study),
            noise=every(noise.table),
        )

    @property
    def swept(self) -> bool:
        """Whether something is varied besides the policy."""
        return bool(self.study.levels)
