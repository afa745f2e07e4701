"""`static`: every guest keeps what it had at the start. What the other policies are compared with."""

from __future__ import annotations

from typing import ClassVar

import numpy as np

from harness.policies.base import Allocation, NoParams, Reasons, among_known, changes
from harness.view import HostView


class Static:
    """T = C of the first view after a reset; a guest that comes later keeps what it came with."""

    name: ClassVar[str] = "static"

    def __init__(self, params: NoParams) -> None:
        self.params = params
        self.reset()

    def reset(self) -> None:
        """Take the next view as the start."""
        self._initial: dict[str, float] = {}

    def decide(self, view: HostView) -> Allocation:
        """The initial split, inside the bounds."""
        return among_known(view, self._decide, host=())

    def _decide(self, view: HostView) -> Allocation:
        for name, current in zip(view.names, view.current_kib, strict=True):
            self._initial.setdefault(name, current)
        targets = np.clip([self._initial[name] for name in view.names], view.min_kib, view.max_kib)
        reasons = (f"keeps its initial memory: {text}" for text in changes(view, targets))
        return Allocation(targets_kib=targets, reasons=Reasons(reasons, len(view)))
