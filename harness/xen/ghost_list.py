"""The ghost list of one guest: its pages in swap in the order of their eviction, and how deep a page lies in it. Pure.

Jones, Arpaci-Dusseau, "Geiger: monitoring the buffer cache in a virtual machine environment" (ASPLOS 2006). A page that
is read back at depth d would not have been evicted with d more memory. The sector of the swap disk names the page.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Sequence

import numpy as np

MOST_PAGES = 128 * 1024
"""That are remembered of one guest: 512 MiB of swap, about 25 MiB here. Whoever has more is followed by a part of its
pages (`thin`); where that does not help, the oldest are forgotten.
"""
LEAST_SLOTS = 1024
MANY = 64
"""Part of the stack; more than that at once, and to number it anew is quicker than to count each."""


class Stack:
    """Pages, newest on top; pushing, taking out and asking for a depth cost O(log n).

    Every push takes the next slot. A Fenwick tree over the slots counts those still taken, and so the pages above one.
    """

    def __init__(self) -> None:
        self._slots: OrderedDict[int, int] = OrderedDict()
        """Page → slot, oldest first."""
        self._renumber()

    def __len__(self) -> int:
        return len(self._slots)

    def __contains__(self, page: int) -> bool:
        return page in self._slots

    def push(self, page: int) -> None:
        """Put a page on top, wherever it was."""
        self.take(page)
        if self._next == self._size:
            self._renumber()
        self._slots[page] = self._next
        self._count(self._next, 1)
        self._next += 1

    def take(self, page: int) -> int:
        """Take a page out and return its depth: 1 for the newest; 0 when it was not there."""
        slot = self._slots.pop(page, None)
        if slot is None:
            return 0
        depth = len(self._slots) + 1 - self._below(slot)
        self._count(slot, -1)
        return depth

    def push_all(self, pages: Sequence[int]) -> None:
        """Put different pages on top, the last one uppermost; many at once cost O(n) together, not O(log n) each."""
        if len(pages) < len(self._slots) / MANY:
            for page in pages:
                self.push(page)
            return
        for page in pages:
            self._slots.pop(page, None)
        self._slots.update(dict.fromkeys(pages, 0))
        self._renumber()

    def thin(self, keeps: Callable[[int], bool]) -> None:
        """Forget the pages that are not to be kept."""
        self._slots = OrderedDict((page, slot) for page, slot in self._slots.items() if keeps(page))
        self._renumber()

    def drop_oldest(self, pages: int = 1) -> None:
        """Forget the pages at the bottom."""
        gone = [self._slots.popitem(last=False)[1] for _ in range(min(pages, len(self._slots)))]
        if len(gone) > len(self._slots) / MANY:
            self._renumber()
        else:
            for slot in gone:
                self._count(slot, -1)

    def _below(self, slot: int) -> int:
        """How many pages lie below a slot."""
        found = 0
        while slot > 0:
            found += self._tree[slot]
            slot &= slot - 1
        return found

    def _count(self, slot: int, by: int) -> None:
        slot += 1
        while slot <= self._size:
            self._tree[slot] += by
            slot += slot & -slot

    def _renumber(self) -> None:
        """Close the gaps: O(n), after at least n pushes."""
        pages = len(self._slots)
        self._size = max(LEAST_SLOTS, 2 * pages)
        self._next = pages
        for slot, page in enumerate(self._slots):
            self._slots[page] = slot
        ends = np.arange(self._size + 1)
        starts = ends & (ends - 1)
        self._tree: list[int] = (np.minimum(ends, pages) - np.minimum(starts, pages)).tolist()


class GhostList:
    """What a guest has evicted to swap, and what it has read back but may drop again without writing.

    A page that is only read after its return keeps its copy in swap, and its next eviction is not seen on the disk. How
    many pages are in swap only, the guest says itself; `settle` takes that into account.
    """

    def __init__(self, most_pages: int = MOST_PAGES) -> None:
        self.unplaced = 0
        """Pages that were read but whose eviction was never seen."""
        self._evicted = Stack()
        self._copies: OrderedDict[int, None] = OrderedDict()
        """Pages in memory with a copy in swap, in the order in which they were read back."""
        self._most = most_pages
        self._stale = 0

    def __len__(self) -> int:
        return len(self._evicted)

    def __contains__(self, page: int) -> bool:
        return page in self._evicted or page in self._copies

    @property
    def known(self) -> int:
        """All pages that are remembered."""
        return len(self._evicted) + len(self._copies)

    def thin(self, keeps: Callable[[int], bool]) -> None:
        """Forget the pages that are not to be kept.

        In a part of the pages that is chosen without regard to their use, depths are those of all, by as much smaller
        (Waldspurger et al., "Efficient MRC construction with SHARDS", FAST 2015).
        """
        before = max(1, len(self._evicted))
        self._evicted.thin(keeps)
        self._copies = OrderedDict((page, None) for page in self._copies if keeps(page))
        self._stale = self._stale * len(self._evicted) // before

    def write(self, page: int) -> None:
        """A page was evicted; what was known under the same name was freed."""
        self._copies.pop(page, None)
        self._evicted.push(page)
        if len(self._evicted) > self._most:
            self._evicted.drop_oldest()

    def read(self, page: int) -> int | None:
        """A page came back; returns its depth in pages, itself included; None when its eviction was not seen."""
        live = 1 - min(1.0, self._stale / max(1, len(self._evicted)))
        depth = self._evicted.take(page)
        self._copies[page] = None
        self._copies.move_to_end(page)
        if len(self._copies) > self._most:
            self._copies.popitem(last=False)
        if depth == 0:
            self.unplaced += 1
            return None
        return max(1, round(depth * live))

    def discard(self, page: int) -> None:
        """The guest has freed the place of a page."""
        self._evicted.take(page)
        self._copies.pop(page, None)

    def evict_silently(self, pages: int = 1) -> None:
        """Of the pages that need not be written those that were read back first were evicted, as LRU would.

        There can be no more of them than there are copies, whatever the guest claims.
        """
        many = min(pages, len(self._copies))
        if many > 0:
            self._evicted.push_all([self._copies.popitem(last=False)[0] for _ in range(many)])
            self._evicted.drop_oldest(max(0, len(self._evicted) - self._most))

    def settle(self, evicted_pages: int, copied_pages: int, moving_pages: int = 0) -> None:
        """Agree with what the guest says: how many pages are in swap only, and how many there and in memory.

        Too few evicted: others were evicted silently. Too many, by more than the `moving_pages` that were written since
        the guest counted: some were freed, nobody knows which, and depths are scaled as if they lay everywhere.
        """
        if evicted_pages <= 0 < len(self._evicted) and not moving_pages:
            self._evicted = Stack()
        self.evict_silently(min(evicted_pages, self._most) - len(self._evicted))
        while len(self._copies) > max(0, copied_pages):
            self._copies.popitem(last=False)
        self._stale = max(0, len(self._evicted) - max(0, evicted_pages) - moving_pages)
