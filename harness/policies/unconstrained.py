"""`unconstrained`: every guest has its maximum. What performance is normalised by, where the host has that much."""

from __future__ import annotations

from typing import ClassVar

from harness.policies.base import Allocation, NoParams, Reasons, among_known, changes
from harness.view import HostView


class Unconstrained:
    """T = hi, whatever the pool."""

    name: ClassVar[str] = "unconstrained"

    def __init__(self, params: NoParams) -> None:
        self.params = params

    def reset(self) -> None:
        """Nothing to forget."""

    def decide(self, view: HostView) -> Allocation:
        """Ask for everything."""
        return among_known(view, self._decide, host=())

    def _decide(self, view: HostView) -> Allocation:
        reasons = (f"is not limited: {text}" for text in changes(view, view.max_kib))
        return Allocation(targets_kib=view.max_kib.copy(), reasons=Reasons(reasons, len(view)))
