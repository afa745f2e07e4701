"""A study with the tables that are made of it, each made once."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import pandas as pd

from reports import bounds, families, noise, shadows, summary
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

        alone = cls(
            study=study,
            overall=every(lambda part: bounds.with_gaps(summary.overall(part), part)),
            guests=every(summary.speedups),
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
        return together([alone])[0]

    @property
    def swept(self) -> bool:
        """Whether something is varied besides the policy."""
        return bool(self.study.levels)


def together(found: Sequence[Findings]) -> list[Findings]:
    """Return the findings with every test adjusted for how many of its kind all of them make.

    Three families, each held to 5 %: who is better over all guests; who is, guest by guest, in what stands for a
    guest's work; and who is in what else is measured.
    """
    rivals = [one.study.contestants for one in found]
    overall = families.adjusted([one.overall for one in found], rivals)
    guests = []
    for heads in (True, False):
        parts = [one.guests[one.guests["headline"] == heads] if len(one.guests) else one.guests for one in found]
        guests.append(families.adjusted(parts, rivals))
    both = [pd.concat(pair).sort_index() for pair in zip(*guests, strict=True)]
    return [replace(one, overall=mine, guests=theirs) for one, mine, theirs in zip(found, overall, both, strict=True)]
