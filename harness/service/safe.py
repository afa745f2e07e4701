"""What dom0 sets when the service dies: what everybody has, and never less than a guest uses."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import replace

import numpy as np

from harness.governor import Limits
from harness.governor.rules import bounds_kib, fit, or_0
from harness.view import HostView


def safe_kib(view: HostView, limits: Limits, initial_kib: Mapping[str, int]) -> dict[str, int]:
    """The safe targets (guest → KiB) as this view shows the guests; together at most the pool.

    Everybody keeps what he has, so that nothing moves when a service is restarted or a switch fails. Who has less than
    he uses and his margin is to have that, as far as there is room for it: what he is not given stays with the others.
    Where Xen has less than all have, those give that have more than they use. A guest that is not there now is to have
    `initial_kib` when it comes, or less where there is less; nothing is said about one for which there is no room.
    """
    known = view.select(~np.isnan(view.current_kib))
    told = (known.current_kib, known.mem_total_kib, known.available_kib, known.least_kib, known.max_kib)
    figures = zip(*(column.tolist() for column in told), strict=True)
    guests = [_wanted_kib(*guest, limits=limits) for guest in figures]
    current, wanted, need, minimum = np.array(guests).reshape(len(guests), 4).T
    pool_kib = float(current.sum()) if math.isnan(known.pool_kib) else known.pool_kib
    if guests:
        wanted = fit(wanted, current, need, pool_kib)
        wanted = fit(wanted, wanted, np.minimum(wanted, minimum), pool_kib)
    targets = {name: int(kib) for name, kib in zip(known.names, wanted.tolist(), strict=True) if kib > 0}
    left_kib = pool_kib - float(wanted.sum())
    for name, low in zip(view.names, view.min_kib.tolist(), strict=True):
        first_kib = math.floor(min(initial_kib.get(name, 0), left_kib))
        if name not in known.names and first_kib > 0 and first_kib >= or_0(low):
            targets[name] = first_kib
            left_kib -= first_kib
    return targets


def _wanted_kib(
    current: float, total: float, available: float, low: float, high: float, *, limits: Limits
) -> tuple[float, float, float, float]:
    """What a guest has, is to have, needs, and is to have at least; whole KiB."""
    current = float(round(current))
    least, most = bounds_kib(current, total, available, low, high, replace(limits, allow_swap=False))
    uses = max(current, or_0(total)) - available + limits.margin_of_kib(current)
    need = least if math.isnan(uses) else float(math.ceil(min(max(uses, least), most)))
    wanted = max(current, need)
    return current, wanted, need, min(or_0(low), need)
