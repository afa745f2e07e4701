"""Figures that an experiment asks for by name, each with the verdict that is read from it: one module a kind."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

from reports.doubts import LackingError
from reports.findings import Findings
from reports.special import (
    approach,
    bandwidth,
    collapse,
    fairness,
    knee,
    lie,
    pareto,
    scaling,
    solver,
    states,
    swap_weight,
    twins,
)
from reports.special.verdict import Claim, Special

KINDS: Mapping[str, Callable[[Findings], Special]] = {
    "solver": solver.special,
    "states": states.special,
    "knee": knee.special,
    "swap-weight": swap_weight.special,
    "pareto": pareto.special,
    "collapse": collapse.special,
    "bandwidth": bandwidth.special,
    "fairness": fairness.special,
    "scaling": scaling.special,
    "twins": twins.special,
    "lie": lie.special,
    "approach": approach.special,
}
"""Name in the experiment → what makes it. A name that this version does not know is left out."""


def asked(found: Findings) -> Sequence[Special]:
    """Return what an experiment asks for, in its order."""
    return [_made(KINDS[kind], found) for kind in found.study.experiment("figures") or () if kind in KINDS]


def _made(make: Callable[[Findings], Special], found: Findings) -> Special:
    try:
        return make(found)
    except LackingError as error:
        return Special(claim=Claim.OPEN, reason=str(error), blocks=[])
