"""How a guest that is not obedient is, at a moment: what its balloon may do, and what it lets be known."""

from __future__ import annotations

import math
from dataclasses import dataclass

from harness.experiment.sweep import Behaviour

MIB = 1024.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Manner:
    """What a guest does with its targets, and tells, at one moment."""

    runs: bool = True
    """Its work goes on; a paused or rebooting guest stands still."""
    paused: bool = False
    """Xen does not let it run, and says so."""
    there: bool = True
    """Xen knows it; a rebooting guest is gone for a while."""
    tells: bool = True
    """Its samples come."""
    balloons: bool = True
    """Its balloon moves."""
    slowest_kib_s: float = math.inf
    least_kib: float = 0.0
    most_kib: float = math.inf
    exaggerates: float = 1.0
    """What it says it uses and has committed, over the truth."""


OBEDIENT = Manner()


def manner(behaviour: Behaviour | None, time_s: float) -> Manner:
    """How a guest of this behaviour is at a time of the trial."""
    if behaviour is None or time_s < behaviour.at_s:
        return OBEDIENT
    since_s, lasts_s = time_s - behaviour.at_s, behaviour.for_s or math.inf
    if behaviour.kind == "stuck-at-times":
        return Manner(balloons=int(since_s // min(lasts_s, 1e9)) % 2 == 1)
    if since_s >= lasts_s:
        return OBEDIENT
    match behaviour.kind:
        case "slow":
            return Manner(slowest_kib_s=behaviour.rate_mib_s * MIB)
        case "stuck":
            return Manner(balloons=False)
        case "hidden-minimum":
            return Manner(least_kib=behaviour.mib * MIB)
        case "hidden-maximum":
            return Manner(most_kib=behaviour.mib * MIB)
        case "paused":
            return Manner(runs=False, paused=True, tells=False, balloons=False)
        case "rebooting":
            return Manner(runs=False, there=False, tells=False, balloons=False)
        case "stale" | "claiming" | "babbling" | "flooding":  # what it says instead is not simulated
            return Manner(tells=False)
    return Manner(exaggerates=behaviour.factor)
