"""`price`: one price for memory. It moves from the guest that pays least to the one that pays most until all pay alike.

price = S·(1 - τ + ε·s) / (T - τ·A), from the shares per page of Waldspurger, "Memory Resource Management in VMware ESX
Server" (OSDI 2002) §5: rho = S / (P·(f + k(1 - f))), k = 1/(1 - τ), f = A/P, with the swap weight ε of the proposal.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import ClassVar, Literal

import numpy as np
from pydantic import Field
from scipy.optimize import brentq

from harness.policies.base import MIB, Allocation, Average, Params, Reasons, among_known, changes
from harness.policies.waterfill import level_of, waterfill
from harness.view import FloatArray, HostView

PRECISION = 1e-14
"""Of λ, relative: far below a KiB of any target."""
ACTIVE = {
    "used": "used_kib",
    "used-with-shared": "used_with_shared_kib",
    "touched": "active_kib",
    "committed": "committed_kib",
}
"""Which column of the view A is."""


class PriceParams(Params):
    """Parameters of `price`."""

    tax: float = Field(
        default=0.75, ge=0, le=1, description="τ, 0 to 1: how much dearer idle memory is than used; 0.75 as in ESX"
    )
    swap_weight: float = Field(
        default=0.2,
        ge=0,
        le=10,
        description="ε, 0 to 10: how much swap in use raises the price; 0.2 as in the proposal",
    )
    active: Literal["used", "used-with-shared", "touched", "committed"] = Field(
        default="used",
        description="what A is: used memory, that is without what is cached; that and Shmem, which is in "
        "Cached but no cache, as the buffers of PostgreSQL; active_kib, what was touched; or committed_kib, which "
        "unlike these does not shrink with what the guest has",
    )
    swap_smoothing_s: float = Field(
        default=10.0,
        ge=0,
        le=3600,
        description="s, 0 to 3600: exponential average over what swap in use says is wanted; 0 turns it off; ours",
    )
    swap_dead_band_mib: float = Field(
        default=20.0,
        ge=0,
        le=65536,
        description="MiB, 0 to 65536: less swap than this counts as none, because it never comes back by itself; ours",
    )
    swap_horizon_s: float = Field(
        default=10.0,
        gt=0,
        le=3600,
        description="s, above 0 to 3600: swap counts as in use as far as it would be read back within this time; ours",
    )
    fixed_point: bool = Field(
        default=True,
        description="weigh swap as it will be after the move, so that ε cannot oscillate; off to show that it does",
    )


class Price:
    """T = τ·A + S·(1 - τ + ε·s)·λ with Σ T = M, inside the bounds."""

    name: ClassVar[str] = "price"

    def __init__(self, params: PriceParams) -> None:
        self.params = params
        self.reset()

    def reset(self) -> None:
        """Forget the averages."""
        self._swap, self._wanted = Average(), Average()

    @property
    def needs(self) -> tuple[str, ...]:
        """The columns without which a guest has no price."""
        return (ACTIVE[self.params.active], "swap_fill") if self._weighs_swap else (ACTIVE[self.params.active],)

    @property
    def _weighs_swap(self) -> bool:
        return self.params.swap_weight > 0 and self.params.tax < 1

    def decide(self, view: HostView) -> Allocation:
        """Divide the pool at one price."""
        return among_known(view, self._decide, needs=self.needs)

    def _decide(self, view: HostView) -> Allocation:
        active: FloatArray = getattr(view, ACTIVE[self.params.active])
        taxed = self.params.tax * active
        swap = self._swap_in_use(view) if self._weighs_swap else np.zeros(len(view))
        weight = self._weight(view, swap)
        settled = self._weight(view, self._swap_after(view, taxed, swap)) if swap.any() else weight
        targets = waterfill(view.pool_kib, taxed, settled, view.least_kib, view.max_kib).targets_kib
        idle = view.current_kib - taxed
        prices = MIB * np.where(idle > 0, weight / np.where(idle > 0, idle, 1.0), np.inf)
        reasons = (f"{bid}: {text}" for bid, text in zip(_bids(prices), changes(view, targets), strict=True))
        return Allocation(targets_kib=targets, reasons=Reasons(reasons, len(view)))

    def _weight(self, view: HostView, swap: FloatArray) -> FloatArray:
        """S·(1 - τ + ε·s); S at τ = 1, where only used memory would be left to pay for."""
        return view.shares * (1 - self.params.tax + self.params.swap_weight * swap if self.params.tax < 1 else 1.0)

    def _swap_in_use(self, view: HostView) -> FloatArray:
        """Share of swap that counts: above the dead band, where known only what is being read back; averaged.

        An average of s belongs to the sizes of some time ago. Where s will be foreseen it must belong to the present
        one, so what a guest wants, C + s·swap total, is averaged in its place, which does not change when C does; the
        answer stays between s and its average. Theory T18.
        """
        filled = np.where(view.swap_on_disk_kib < self.params.swap_dead_band_mib * MIB, 0.0, view.swap_fill)
        read_back = np.where(~np.isnan(view.swap_in_kib_s), view.swap_in_kib_s * self.params.swap_horizon_s, np.inf)
        in_use = np.minimum(filled, np.divide(read_back, view.swap_total_kib, out=filled.copy(), where=filled > 0))
        averaged = self._swap.update(view, in_use, self.params.swap_smoothing_s)
        wanted = view.current_kib + in_use * view.swap_total_kib
        mean = self._wanted.update(view, wanted, self.params.swap_smoothing_s)
        lacks = (mean - view.current_kib) / np.maximum(view.swap_total_kib, 1.0)
        now = np.minimum(np.maximum(lacks, np.minimum(in_use, averaged)), np.maximum(in_use, averaged))
        return np.where(np.isnan(view.swap_in_kib_s) | (not self.params.fixed_point), averaged, now)

    def _swap_after(self, view: HostView, taxed: FloatArray, swap: FloatArray) -> FloatArray:
        """Swap in use once the memory has moved: s(T) = clamp(s - (T - C)/swap total, 0, s) at the T that it leads to.

        A guest that gets what it reads back stops reading it back, so s depends on T and T on s. For a given λ the two
        meet in one T per guest, which grows with λ; so λ is found where Σ T meets the pool. Only for guests
        whose swap-in rate is known: without it nobody knows which of the swap is missed.
        """
        foreseen = ~np.isnan(view.swap_in_kib_s) & (swap > 0) & (view.swap_total_kib > 0)
        if not self.params.fixed_point or not foreseen.any():
            return swap
        light, heavy = self._weight(view, np.where(foreseen, 0.0, swap)), self._weight(view, swap)
        lo, hi = view.least_kib, view.max_kib
        total = min(max(view.pool_kib, float(lo.sum())), float(hi.sum()))
        low = level_of(total, taxed, heavy, lo, hi)
        if low <= 0:
            return swap
        high = low * float((heavy / light).max())  # even the lightest then has what the heavy one has at the low level
        per_kib = np.divide(1.0, view.swap_total_kib, out=np.zeros(len(view)), where=foreseen)
        pull = self.params.swap_weight * view.shares * per_kib

        def fill(level: float) -> FloatArray:
            meeting = (taxed + heavy * level + pull * level * view.current_kib) / (1 + pull * level)
            free = np.minimum(np.maximum(meeting, taxed + light * level), taxed + heavy * level)
            return np.minimum(np.maximum(free, lo), hi)

        targets = fill(_level(lambda level: float(fill(level).sum()) - total, low, high))
        after = swap - (targets - view.current_kib) * per_kib
        return np.where(foreseen, np.minimum(np.maximum(after, 0.0), swap), swap)


def _level(excess: Callable[[float], float], low: float, high: float) -> float:
    """Where a rising function of λ is 0; the nearer end where rounding leaves none between."""
    if excess(low) >= 0 or low >= high:
        return low
    return high if excess(high) <= 0 else float(brentq(excess, low, high, rtol=PRECISION))


def _bids(prices: FloatArray) -> Iterator[str]:
    """What each guest pays, in shares per MiB, and what the others pay on average."""
    if len(prices) == 1:
        yield "no other guest to trade with"
        return
    finite = np.isfinite(prices)
    total, count = float(prices[finite].sum()), int(finite.sum())
    for price, known in zip(prices.tolist(), finite.tolist(), strict=True):
        rest = count - known
        others = f"others {(total - (price if known else 0.0)) / rest:.2f}" if rest else "others any price"
        yield f"pays {price:.2f}, {others}" if known else f"would pay any price, {others}"
