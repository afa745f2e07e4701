"""HostView, what a policy may see at one moment: one column per quantity, one entry per guest, NaN for unknown."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field, fields
from typing import Any

import numpy as np
import numpy.typing as npt

from harness import cells
from harness.cells import LARGEST as LARGEST
from harness.cells import Curve as Curve
from harness.cells import FloatArray as FloatArray
from harness.cells import ViewError as ViewError

BoolArray = npt.NDArray[np.bool_]

TINY = 1e-9
"""In place of no swap at all, of which no share is in use."""


def unknown() -> FloatArray:
    """A column of which nothing is known, for any number of guests."""
    return np.array(np.nan)


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class HostView:
    """The host and its balanced guests.

    A column that is not given is unknown (NaN) for every guest, and so is a figure that cannot be: negative,
    infinite or above `LARGEST`.
    """

    time_s: float = math.nan
    total_kib: float = math.nan
    free_kib: float
    reserve_kib: float
    promised_kib: float = 0.0
    xen_age_s: float = 0.0
    """How long ago Xen said what this view has of it."""
    names: tuple[str, ...]
    current_kib: FloatArray = field(default_factory=unknown)
    target_kib: FloatArray = field(default_factory=unknown)
    """Where Xen has the guest's balloon told to go, whoever did."""
    limit_kib: FloatArray = field(default_factory=unknown)
    """The most that Xen lets it have at this moment."""
    min_kib: FloatArray = field(default_factory=unknown)
    max_kib: FloatArray = field(default_factory=unknown)
    shares: FloatArray = field(default_factory=unknown)
    mem_total_kib: FloatArray = field(default_factory=unknown)
    mem_free_kib: FloatArray = field(default_factory=unknown)
    mem_available_kib: FloatArray = field(default_factory=unknown)
    buffers_kib: FloatArray = field(default_factory=unknown)
    cached_kib: FloatArray = field(default_factory=unknown)
    committed_kib: FloatArray = field(default_factory=unknown)
    swap_total_kib: FloatArray = field(default_factory=unknown)
    swap_free_kib: FloatArray = field(default_factory=unknown)
    swap_in_kib_s: FloatArray = field(default_factory=unknown)
    swap_out_kib_s: FloatArray = field(default_factory=unknown)
    refault_kib_s: FloatArray = field(default_factory=unknown)
    major_faults_s: FloatArray = field(default_factory=unknown)
    stall_some: FloatArray = field(default_factory=unknown)
    stall_full: FloatArray = field(default_factory=unknown)
    age_s: FloatArray = field(default_factory=unknown)
    active_kib: FloatArray = field(default_factory=unknown)
    shmem_kib: FloatArray = field(default_factory=unknown)
    paused: FloatArray = field(default_factory=unknown)
    """Above 0: Xen lets the guest not run; 0: it does."""
    reclaimable_slab_kib: FloatArray = field(default_factory=unknown)
    """What the kernel keeps of files' names and the like, and frees on demand as it does page cache."""
    huge_pages_kib: FloatArray = field(default_factory=unknown)
    """Set aside for huge pages, in use or not: neither given back nor swapped."""
    arc_kib: FloatArray = field(default_factory=unknown)
    """The cache of ZFS, which Linux counts neither as cache nor as available."""
    arc_min_kib: FloatArray = field(default_factory=unknown)
    """Below this it does not shrink."""
    zram_kib: FloatArray = field(default_factory=unknown)
    """Taken by what was swapped to zram, compressed: neither given back nor swapped again."""
    zram_swapped_kib: FloatArray = field(default_factory=unknown)
    """Of the swap in use, what is there and so on no disk."""
    page_ages: tuple[Curve | None, ...] = ()
    ghost_returns: tuple[Curve | None, ...] = ()

    _table: FloatArray = field(init=False, repr=False)
    """All columns, one a row; the columns are its rows."""
    _derived: dict[str, FloatArray] = field(init=False, repr=False)
    """What follows from the columns and was asked for."""

    def __post_init__(self) -> None:
        table = np.empty((len(COLUMNS), len(self.names)))
        for row, name in enumerate(COLUMNS):
            table[row] = getattr(self, name)
        table[AGE] = np.minimum(table[AGE], LARGEST)  # an age without end stays an age
        table[~((table >= 0) & (table <= LARGEST))] = np.nan
        self._set_columns(table)
        for name in HOST_FIELDS:
            figure = float(getattr(self, name))
            object.__setattr__(self, name, figure if 0 <= figure <= LARGEST else math.nan)
        for name in CURVES:
            if curves := getattr(self, name):
                object.__setattr__(self, name, tuple(_believed_points(curve) for curve in curves))
            else:
                object.__setattr__(self, name, (None,) * len(self.names))

    def _set_columns(self, table: FloatArray) -> None:
        """Take a checked table; from here on nobody writes to it."""
        table.flags.writeable = False
        object.__setattr__(self, "_table", table)
        object.__setattr__(self, "_derived", {})
        for name, row in zip(COLUMNS, table, strict=True):
            object.__setattr__(self, name, row)

    def __len__(self) -> int:
        return len(self.names)

    @property
    def pool_kib(self) -> float:
        """What the guests of this view share: Σ current + free - reserve - promised; NaN when a part is unknown."""
        return float(self.current_kib.sum() + self.free_kib - self.reserve_kib - self.promised_kib)

    @property
    def plain_used_kib(self) -> FloatArray:
        """MemTotal - MemFree - Buffers - Cached, by which others go; NaN where unknown or contradictory."""
        return self._derive(
            "plain_used", lambda: self.mem_total_kib - self.mem_free_kib - self.buffers_kib - self.cached_kib
        )

    @property
    def used_kib(self) -> FloatArray:
        """That without reclaimable slab and what the cache of ZFS could give: what only swap would free; NaN likewise.

        What a guest does not tell, or what is more than there is left to be, is not taken off.
        """
        return self._derive("used", lambda: self.plain_used_kib - self._slab_kib - self.arc_spare_kib)

    @property
    def _slab_kib(self) -> FloatArray:
        """Reclaimable slab, all of it, for `cached_kib` is all of page cache; 0 where unknown or contradictory.

        The kernel's own estimate (si_mem_available, mm/show_mem.c) treats the two alike: of each it leaves out the low
        watermark, at most half of it, as in use.
        """
        slab = self.reclaimable_slab_kib
        return self._derive("slab", lambda: np.where(slab <= self.plain_used_kib, slab, 0.0))

    @property
    def arc_spare_kib(self) -> FloatArray:
        """What the cache of ZFS has above its least, and gives under pressure; 0 where unknown or contradictory."""

        def spare() -> FloatArray:
            above = np.maximum(self.arc_kib - self.arc_min_kib, 0.0)
            return np.where(above <= self.plain_used_kib - self._slab_kib, above, 0.0)

        return self._derive("arc_spare", spare)

    @property
    def available_kib(self) -> FloatArray:
        """MemAvailable, and what the cache of ZFS could give besides; NaN where MemAvailable is unknown."""
        return self._derive("available", lambda: self.mem_available_kib + self.arc_spare_kib)

    @property
    def least_kib(self) -> FloatArray:
        """The minimum, or what could not be taken from a guest whatever happened to it; at most its maximum.

        Huge pages and the store of zram, where they are known and not more than it uses.
        """

        def least() -> FloatArray:
            fixed = np.nan_to_num(self.huge_pages_kib) + np.nan_to_num(self.zram_kib)
            fixed = np.where(fixed <= np.fmin(self.current_kib, self.plain_used_kib), fixed, 0.0)
            return np.maximum(self.min_kib, np.fmin(fixed, self.max_kib))

        return self._derive("least", least)

    @property
    def used_with_shared_kib(self) -> FloatArray:
        """Used memory and Shmem, which Linux counts as cached though nothing but swap could free it; NaN likewise."""
        return self._derive("used_with_shared", lambda: self.used_kib + self.shmem_kib)

    @property
    def swap_used_kib(self) -> FloatArray:
        """SwapTotal - SwapFree; NaN where unknown or contradictory."""
        return self._derive("swap_used", lambda: self.swap_total_kib - self.swap_free_kib)

    @property
    def swap_on_disk_kib(self) -> FloatArray:
        """The swap in use that waits for a disk: all but what is known to be on zram; NaN likewise."""
        used, there = self.swap_used_kib, self.zram_swapped_kib
        return self._derive("on_disk", lambda: np.where(there <= used, used - there, used))

    @property
    def swap_fill(self) -> FloatArray:
        """Swap used on disks / swap total, 0 to 1; 0 for a guest without swap, NaN where unknown."""
        total = self.swap_total_kib
        return self._derive("fill", lambda: np.where(total == 0, 0.0, self.swap_on_disk_kib / np.maximum(total, TINY)))

    def _derive(self, name: str, figures: Callable[[], FloatArray]) -> FloatArray:
        """What follows from columns, worked out once; a difference below 0 contradicts itself and is not known."""
        if name not in self._derived:
            found = figures()
            found[found < 0] = np.nan
            found.flags.writeable = False
            self._derived[name] = found
        return self._derived[name]

    def select(self, mask: BoolArray) -> HostView:
        """The same host with only the guests where `mask` is true."""
        if mask.all():
            return self
        chosen = np.flatnonzero(mask)
        view = object.__new__(HostView)  # what has been checked is not checked again
        view._set_columns(self._table[:, chosen])
        for name in ("time_s", *HOST_FIELDS):
            object.__setattr__(view, name, getattr(self, name))
        for name in ("names", *CURVES):
            entries = getattr(self, name)
            object.__setattr__(view, name, tuple(entries[i] for i in chosen))
        return view

    @classmethod
    def from_json(cls, obj: object, *, sized: bool = True) -> HostView:
        """Read the View contract (docs/results.md). Raises ViewError naming the key path; unknown keys are ignored.

        A view that was recorded may lack the size of a guest that was gone; with `sized` that is an error.
        """
        view = cells.mapping(obj, "the view")
        host = cells.mapping(view.get("host"), "host")
        rows = view.get("guests")
        if not isinstance(rows, list):
            raise ViewError(f"guests: expected a list of guests, found {cells.show(rows)}.")
        guests = [cells.mapping(row, f"guests[{i}]") for i, row in enumerate(rows)]
        names = [cells.name(guest.get("name"), f"guests[{i}].name") for i, guest in enumerate(guests)]
        if twice := [name for name, times in Counter(names).items() if times > 1]:
            raise ViewError(f"guests: {cells.show(twice[0])} is there more than once. Give every guest its own name.")
        parts: dict[str, Any] = {name: cells.number(host.get(name), f"host.{name}") for name in HOST_FIELDS}
        parts |= {name: np.array([cells.cell(guest, name, i) for i, guest in enumerate(guests)]) for name in COLUMNS}
        if sized and np.isnan(parts["current_kib"]).any():
            where = f"guests[{int(np.argmax(np.isnan(parts['current_kib'])))}].current_kib"
            raise ViewError(
                f"{where}: missing. It is what Xen gives the guest now; no decision is possible without it."
            )
        for name in CURVES:
            parts[name] = tuple(cells.curve(guest.get(name), f"guests[{i}].{name}") for i, guest in enumerate(guests))
        for name in ("promised_kib", "xen_age_s"):
            if name not in host:
                parts[name] = 0.0
        return cls(time_s=cells.number(view.get("time_s"), "time_s"), names=tuple(names), **parts)

    def to_json(self) -> dict[str, Any]:
        """The View contract: sizes as integers of KiB, null for unknown, optional curves only where there are some."""
        lacking: list[bool] = np.isnan(self._table.sum(axis=1)).tolist()
        columns = map(cells.column_of_json, COLUMNS, lacking, self._table)
        guests = zip(self.names, *columns, strict=True)
        rows: list[dict[str, Any]] = [dict(zip(ROW, guest, strict=True)) for guest in guests]
        for name in CURVES:
            for i, points in enumerate(getattr(self, name)):
                if points is not None:
                    rows[i][name] = [list(point) for point in points]
        host = {key: cells.plain(key, getattr(self, key)) for key in HOST_FIELDS}
        return {"time_s": cells.plain("time_s", self.time_s), "host": host, "guests": rows}


HOST_FIELDS = ("total_kib", "free_kib", "reserve_kib", "promised_kib", "xen_age_s")
CURVES = ("page_ages", "ghost_returns")
COLUMNS = tuple(f.name for f in fields(HostView) if f.init and f.name not in ("time_s", "names", *HOST_FIELDS, *CURVES))
"""The columns of the view: the guest fields of the JSON contract that are numbers, or true or false (`paused`)."""
ROW = ("name", *COLUMNS)
AGE = COLUMNS.index("age_s")


def _believed_points(curve: Curve | None) -> Curve | None:
    return curve and tuple(point for point in curve if all(0 <= number <= LARGEST for number in point))
