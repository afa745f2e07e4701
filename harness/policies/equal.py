"""`equal`: everybody the same, by shares."""

from __future__ import annotations

from typing import ClassVar

import numpy as np

from harness.policies.base import Allocation, NoParams, Reasons, among_known, changes
from harness.policies.waterfill import waterfill
from harness.view import HostView


class Equal:
    """T = S·λ with Σ T = M, inside the bounds: M/n each with equal shares."""

    name: ClassVar[str] = "equal"

    def __init__(self, params: NoParams) -> None:
        self.params = params

    def reset(self) -> None:
        """Nothing to forget."""

    def decide(self, view: HostView) -> Allocation:
        """Divide the pool by shares."""
        return among_known(view, self._decide)

    def _decide(self, view: HostView) -> Allocation:
        targets = waterfill(view.pool_kib, np.zeros(len(view)), view.shares, view.min_kib, view.max_kib).targets_kib
        parts = view.shares / view.shares.sum()
        reasons = (
            f"{part:.0%} of all shares: {text}" for part, text in zip(parts, changes(view, targets), strict=True)
        )
        return Allocation(targets_kib=targets, reasons=Reasons(reasons, len(view)))
