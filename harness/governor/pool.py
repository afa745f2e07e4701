"""What the pool allows: the wishes of all cut to what there is, and no emergency at the cost of what others need."""

from __future__ import annotations

import math
from collections.abc import Iterable

import numpy as np

from harness.governor.rules import fit
from harness.governor.ward import Ward


def divide(pool_kib: float, wards: Iterable[Ward]) -> None:
    """Rule 1: cut the wishes of those that take part to what the others leave of the pool.

    `pool_kib` is what those that take part share. A starving guest has its emergency step of what is not asked for, and
    of what the others are to have beyond what they need to live: one guest's emergency must not become another's.
    """
    part, starving, others = [], [], 0.0
    for ward in wards:
        if ward.part:
            part.append(ward)
        elif ward.starves:
            starving.append(ward)
            others += ward.taken - ward.current
        else:
            others += ward.wanted - ward.current
    pool = pool_kib - others
    if not part and not starving:
        return
    wanted, current, least, need = (
        np.array([(one.wanted, one.current, one.least, one.need) for one in part]).reshape(len(part), 4).T
    )
    fits = fit(wanted, current, least, pool) if part else wanted
    if starving:
        lent = _lend(starving, float(pool - fits.sum() + np.maximum(fits - need, 0.0).sum()))
        fits = fit(fits, current, np.minimum(fits, need), pool - lent) if part else fits
    for ward, size in zip(part, fits.tolist(), strict=True):
        if size < ward.wanted:
            ward.say("the pool allows {}", size)
        ward.wanted = size


def _lend(starving: Iterable[Ward], room_kib: float) -> float:
    """Give out the room for emergency steps, first come, first served; return how much was taken of it."""
    lent, room_kib = 0.0, max(0.0, room_kib)
    for ward in starving:
        step = min(ward.wanted - ward.taken, float(math.floor(room_kib - lent)))
        if ward.taken + step < ward.wanted:
            ward.say("the others leave {} of that", step)
            ward.wanted = ward.taken + step
        ward.starves = step > 0
        lent += step
    return lent
