"""What the governor insists on in a trial: nothing that hides what a policy does, unless the experiment says so."""

from __future__ import annotations

import math

from harness.experiment.config import Experiment
from harness.governor import Limits
from harness.policies.base import MIB


def limits_of(experiment: Experiment) -> Limits:
    """The limits of its trials: guests may be made to swap, and memory is taken as fast as it is wanted."""
    take_mib_s = math.inf if experiment.take_mib_s is None else experiment.take_mib_s
    return Limits(period_s=experiment.period_s, allow_swap=True, take_kib_s=take_mib_s * MIB)
