"""A study with the tables that are made of it, each made once."""

from __future__ import annotations

from dataclasses import dataclass

import pandas as pd

from reports import shadows, summary
from reports.study import Study


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Findings:
    """A study and the tables made of it once."""

    study: Study
    overall: pd.DataFrame
    guests: pd.DataFrame
    values: pd.DataFrame
    counters: pd.DataFrame
    guest_counters: pd.DataFrame
    failures: pd.DataFrame
    blocks: pd.DataFrame
    shadows: pd.DataFrame

    @classmethod
    def of(cls, study: Study) -> Findings:
        """Make all tables of a study."""
        return cls(
            study=study,
            overall=summary.overall(study),
            guests=summary.speedups(study),
            values=summary.values(study),
            counters=summary.counters(study, by_guest=False),
            guest_counters=summary.counters(study, by_guest=True),
            failures=summary.failures(study),
            blocks=summary.per_block(study),
            shadows=shadows.distances(study),
        )
