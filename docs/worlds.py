"""Small worlds that answer a policy, for the figures and tests of docs/theory.md. Sizes in MiB.

Guests use what they demand, or what they have if that is less; what they lack lies in swap and is read back at once.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from harness.policies import Policy
from harness.policies.base import MIB
from harness.view import FloatArray, HostView

READ_BACK_KIB_S = 1e9
"""So fast that all of a guest's swap counts as in use."""
BEYOND_MIB = 1024.0
"""Memory that a guest sees and does not use, so that what it uses is never out of range."""


def seen(
    current: FloatArray,
    demand: Sequence[float],
    pool: float,
    *,
    swap: float = 0.0,
    censored: bool = False,
    time_s: float = 0.0,
) -> HostView:
    """What the arbiter sees. `swap` is every guest's swap; `censored`: used memory is at most what a guest has."""
    wanted = np.asarray(demand, dtype=float)
    used = np.minimum(wanted, current) if censored else wanted
    swapped = np.clip(wanted - current, 0.0, swap)
    n = len(current)
    return HostView(
        time_s=time_s,
        total_kib=2 * pool * MIB,
        free_kib=max(0.0, pool - current.sum()) * MIB,
        reserve_kib=max(0.0, current.sum() - pool) * MIB,
        names=tuple(f"g{i + 1}" for i in range(n)),
        current_kib=current * MIB,
        min_kib=np.zeros(n),
        max_kib=np.full(n, pool * MIB),
        shares=np.full(n, 1000.0),
        mem_total_kib=(used + BEYOND_MIB) * MIB,
        mem_free_kib=np.full(n, BEYOND_MIB * MIB),
        buffers_kib=np.zeros(n),
        cached_kib=np.zeros(n),
        swap_total_kib=np.full(n, swap * MIB),
        swap_free_kib=(swap - swapped) * MIB,
        swap_in_kib_s=np.full(n, READ_BACK_KIB_S),
        age_s=np.zeros(n),
    )


def run(
    policy: Policy,
    start: Sequence[float],
    demand: Sequence[float],
    *,
    ticks: int,
    period_s: float = 2.0,
    swap: float = 0.0,
    censored: bool = False,
) -> FloatArray:
    """Let the policy have its way at once, tick after tick; one row of sizes a tick, the start first."""
    sizes = [np.asarray(start, dtype=float)]
    for tick in range(ticks):
        view = seen(sizes[-1], demand, sum(start), swap=swap, censored=censored, time_s=tick * period_s)
        sizes.append(policy.decide(view).targets_kib / MIB)
    return np.array(sizes)
