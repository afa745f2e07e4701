"""The governor: makes an allocation safe to carry out now, the same for every policy."""

from harness.governor.movement import Trust
from harness.governor.plan import Governor, Plan, Step
from harness.governor.rules import Limits

__all__ = ["Governor", "Limits", "Plan", "Step", "Trust"]
