"""From the generations of a guest's pages to a histogram of their ages, and to what was touched lately. Pure."""

from __future__ import annotations

import math

from harness.view import Curve
from harness.xen.facts import UNKNOWN

WINDOW_S = 30.0
"""What a guest has not touched for so long is idle; the period over which ESX samples (Waldspurger 2002 §5.3)."""
AGINGS = 2
"""To a window: the kernel has four generations, and after an aging the oldest holds what was not used for two."""
SLACK = 0.1
"""Part of the window: agings come with the sampler's lines, and so not to the moment."""

Generations = tuple[tuple[float, float, float], ...]
"""`(age_s, anonymous_kib, file_kib)`, as facts.Sample has them."""


def histogram(generations: Generations) -> Curve:
    """`(age_s, kib)`, youngest first: what was last used at least so long ago, as far as is known."""
    return tuple(sorted((age_s, anonymous + file) for age_s, anonymous, file in generations))


def touched_kib(generations: Generations | None, window_s: float) -> float:
    """What is not known to have been idle for the window; NaN without generations.

    It is what was touched once two agings have passed. Before, and where the kernel itself made new generations because
    memory was short, the generations reach less far back, and all that the guest has counts.
    """
    if generations is None:
        return UNKNOWN
    return math.fsum(kib for age_s, kib in histogram(generations) if age_s < window_s * (1 - SLACK))
