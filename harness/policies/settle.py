"""What nobody needs stays where it is: moving memory costs a guest's own processor, and it may be wanted again."""

from __future__ import annotations

import numpy as np

from harness.policies.waterfill import waterfill
from harness.view import FloatArray


def settle(pool_kib: float, needs: FloatArray, current: FloatArray, high: FloatArray) -> FloatArray:
    """T = needs + min(λ, max(min(current, high) - needs, 0)) with Σ T = pool: who has most to spare gives first.

    All sizes in KiB, arrays of one length, Σ needs ≤ pool. Where all that is there fits, everybody keeps what it has,
    and Xen the rest, which can be had at once.
    """
    keeps = np.maximum(needs, np.minimum(current, high))
    if keeps.sum() <= pool_kib:
        return keeps
    return waterfill(pool_kib, needs, np.ones_like(needs), needs, keeps).targets_kib
