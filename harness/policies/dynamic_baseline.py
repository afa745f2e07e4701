"""`dynamic-baseline`: an equal split, corrected by how much more than the average a guest uses.

Zhang, Xie, Hsu, "Automatic memory control of multiple virtual machines on a consolidated server", IEEE Transactions on
Cloud Computing 5(1), 2017. The tax τ is no constant: it is what leaves the guest that uses most a given amount free.
"""

from __future__ import annotations

from typing import ClassVar

import numpy as np
from pydantic import Field

from harness.policies.base import MIB, Allocation, Params, Reasons, among_known, changes, mib
from harness.policies.waterfill import waterfill
from harness.view import FloatArray, HostView

FALL = 10
"""τ falls by a tenth of the way per tick."""


class DynamicBaselineParams(Params):
    """Parameters of `dynamic-baseline`."""

    free_mib: float = Field(
        default=128.0,
        ge=0,
        le=1 << 20,
        description="f, MiB, 0 to 1048576: free memory for the guest that uses most; 128",
    )


class DynamicBaseline:
    """T = M/n + τ·(A - Ā), inside the bounds; τ rises at once and falls slowly."""

    name: ClassVar[str] = "dynamic-baseline"

    def __init__(self, params: DynamicBaselineParams) -> None:
        self.params = params
        self.reset()

    def reset(self) -> None:
        """Start with no tax."""
        self._tax = 0.0

    def decide(self, view: HostView) -> Allocation:
        """Set the tax, then the targets. A counts page cache as free but buffers as used, as the source does."""
        return among_known(view, self._decide, needs=["plain_used_kib", "buffers_kib"])

    def _decide(self, view: HostView) -> Allocation:
        used = view.plain_used_kib + view.buffers_kib
        pool = view.pool_kib
        wanted = self._wanted_tax(used, pool)
        self._tax = max(wanted, self._tax - (self._tax - wanted) / FALL)
        baseline = pool / len(view) + self._tax * (used - used.mean())
        targets = waterfill(pool, baseline, np.ones(len(view)), view.min_kib, view.max_kib).targets_kib
        reasons = (
            f"uses {mib(size)}, average {mib(used.mean())}, tax {self._tax:.2f}: {text}"
            for size, text in zip(used, changes(view, targets), strict=True)
        )
        return Allocation(targets_kib=targets, reasons=Reasons(reasons, len(view)))

    def _wanted_tax(self, used: FloatArray, pool: float) -> float:
        """τ_d = clamp01[(f + A_max - M/n) / (A_max - Ā)]; 0 where all use the same and no tax could tell them apart."""
        spread = used.max() - used.mean()
        lacking = self.params.free_mib * MIB + used.max() - pool / len(used)
        return float(np.clip(lacking / spread, 0.0, 1.0)) if spread > 0 else 0.0
