"""How often a touch finds its page in memory, by how much of a footprint is there.

Every function takes numbers or arrays, so that one guest is simulated with numbers and a whole curve is drawn at once.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TypeVar, cast

import numpy as np

from harness.view import FloatArray

PAGE_KIB = 4.0
NEARLY_0 = 1e-6
Number = TypeVar("Number", float, FloatArray)


@dataclass(frozen=True, slots=True, kw_only=True)
class Law:
    """Which pages of a footprint are touched how often.

    Zipf: the page of rank r with a weight of 1/r^exponent; 0 is uniform. Cyclic: one after the other, over and over.
    `order` is how well the kernel's choice of what to evict follows popularity: 1 keeps exactly the most popular pages,
    0 any. `scan` is how many times its missing part a cycle misses: 1 as if by chance, large as by strict LRU.
    """

    exponent: float = 0.0
    cyclic: bool = False
    order: float = 1.0
    scan: float = 1.0

    def miss(self, resident: float, footprint_kib: float) -> float:
        """Share of touches that miss when a share `resident`, 0 to 1, of the footprint is in memory."""
        if resident >= 1 or footprint_kib <= 0:
            return 0.0
        if self.cyclic:
            return min(1.0, self.scan * (1 - resident))
        hit = self.order * self.hottest(resident, footprint_kib) + (1 - self.order) * resident
        return max(0.0, 1 - hit)

    def misses(self, resident: FloatArray, footprint_kib: float) -> FloatArray:
        """`miss` for many sizes at once."""
        resident = np.clip(resident, 0.0, 1.0)
        if footprint_kib <= 0:
            return np.zeros_like(resident)
        if self.cyclic:
            return np.minimum(1.0, self.scan * (1 - resident))
        hit = self.order * self.hottest(resident, footprint_kib) + (1 - self.order) * resident
        return np.maximum(0.0, 1 - hit)

    def hottest(self, share: Number, footprint_kib: float) -> Number:
        """Share of touches that go to the most popular `share` of the pages: G(share·N)/G(N).

        G(y) is the sum of 1/r^exponent over the first y ranks, by the midpoint rule from 1/2 to y + 1/2.
        """
        pages = max(1.0, footprint_kib / PAGE_KIB)
        return _weight(share * pages, self.exponent) / _weight(pages, self.exponent)

    def touched(self, touches: float, footprint_kib: float) -> float:
        """KiB of the footprint that so many touches reach at least once."""
        pages = max(1.0, footprint_kib / PAGE_KIB)
        if self.cyclic:
            return PAGE_KIB * min(pages, touches)
        ranks = np.geomspace(1.0, pages, 33)
        middle = np.sqrt(ranks[1:] * ranks[:-1])
        chance = middle**-self.exponent / _weight(pages, self.exponent)
        return float(PAGE_KIB * (np.diff(ranks) * -np.expm1(-chance * touches)).sum())


def _weight(ranks: Number, exponent: float) -> Number:
    power = (1 - exponent) or NEARLY_0  # towards 0 the difference quotient becomes the logarithm
    return cast("Number", ((ranks + 0.5) ** power - 0.5**power) / power)
