"""The governor: makes an allocation safe to carry out now, the same for every policy."""

from harness.governor.movement import LEAST_PATIENCE_S, MOST_OFFSET_KIB, NOTICEABLE_KIB, Trust
from harness.governor.plan import Governor, Plan, Step
from harness.governor.rules import Limits

__all__ = ["LEAST_PATIENCE_S", "MOST_OFFSET_KIB", "NOTICEABLE_KIB", "Governor", "Limits", "Plan", "Step", "Trust"]
