"""Who is served where not all can be: the modest, then whole needs in turns, at the cost of those who can bear it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from harness.policies.demand import PERIOD_S, Demand
from harness.view import BoolArray, FloatArray, HostView

LEAST_DONE = 0.02
"""A guest that got nothing done lately counts as if it had got this much done."""
HELD = 0.1
"""Of a need that is held already, the part that counts as still to be moved. Who is served stays so until another
outweighs it by far: with every change of turn all is written out and read back."""
RISE, RETURN = 0.03, 0.1
"""By what part of its memory a guest with a slope grows in 2 s; below what it had at first, the second."""
PRICES = 12
"""What those with a slope keep is worked out at so many prices, and taken to be what it is at the next lower one."""
NEARLY_FLAT = 1e-12
IntArray = npt.NDArray[np.intp]
Borne = Callable[[float], FloatArray]
"""From a price per KiB to what each guest with a slope keeps."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Terms:
    """What guests must put up with; the parameters of `ballast` of the same names."""

    bear: float
    take: float
    protect: float
    hold: float
    keep: float
    spare_kib: float


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Turns:
    """Who gets what."""

    granted: FloatArray
    """KiB; nobody is below its minimum, and Σ ≤ pool unless what nobody can be denied is more."""
    served: BoolArray
    """It has all that it needs, or bears what it lacks."""
    whole: BoolArray
    """It has all that it needs because it is its turn."""
    modest: BoolArray
    """It needs no more than it had at first."""


def take_turns(view: HostView, demand: Demand, terms: Terms, period_s: float) -> Turns:
    """Divide the pool by need, turn and what can be borne."""
    low, high, pool, slopes = view.least_kib, view.max_kib, view.pool_kib, demand.slopes
    modest = (demand.base <= demand.first * terms.protect) & ~slopes
    weight = view.shares / view.shares.mean() / np.maximum(demand.done, LEAST_DONE)
    worth = weight * (1 + terms.hold * demand.held) / _effort_kib(view, demand)
    line = np.flatnonzero(~modest & ~slopes)
    line = line[np.argsort(-worth[line], kind="stable")]

    sloped = np.flatnonzero(slopes)
    borne = borne_at(view, demand, sloped, weight, terms.bear)
    left = pool - float(np.where(modest, demand.base, np.where(slopes, 0.0, low)).sum())
    others = terms.keep * kept_from_smaller(view.shares, unused(demand, demand.base))
    accepted = _accepted(np.maximum(demand.base - low, 1.0)[line], worth[line], left - others[line], borne)
    chosen = line[accepted]
    whole = np.zeros(len(view), dtype=bool)
    whole[chosen] = True
    served = modest | slopes | whole
    keeps = borne(float(worth[chosen[-1]])) if len(chosen) else view.current_kib[sloped]
    keeps = np.maximum(keeps, (view.current_kib * (1 - terms.take * demand.known))[sloped])
    granted = np.where(modest, demand.base, low)
    granted[sloped] = np.minimum(np.maximum(keeps, low[sloped]), demand.most[sloped])
    granted[chosen] += serve((demand.base - low)[chosen], pool - float(granted.sum()))

    granted = deal(granted, np.where(served & (demand.lack == 0), demand.lead, 0.0), high, pool)
    waiting = line[~accepted]
    asks = np.maximum(np.minimum(demand.base + demand.lead, high) - granted, 0.0)
    granted[waiting] += serve(asks[waiting], pool - float(granted.sum()))
    granted = _lent(view, demand, terms, granted, period_s)
    spare = demand.base + demand.lead + terms.spare_kib - granted
    granted = deal(granted, np.where(slopes, 0.0, spare), high, pool)
    return Turns(granted=granted, served=served, whole=whole, modest=modest)


def _lent(view: HostView, demand: Demand, terms: Terms, granted: FloatArray, period_s: float) -> FloatArray:
    """Let those with a slope grow: for page cache into all that is left, else into what would be back in time."""
    grows = np.where(view.current_kib < demand.first, RETURN, RISE) * period_s / PERIOD_S
    asks = np.where(demand.slopes, np.minimum(demand.most, view.current_kib * (1 + grows)), granted)
    back_kib_s = terms.take * float(view.current_kib[demand.slopes & ~demand.caches].sum()) / period_s
    kept = terms.keep * late(demand, unused(demand, granted), back_kib_s)
    granted = deal(granted, np.where(demand.caches, asks - granted, 0.0), view.max_kib, view.pool_kib)
    left = max(view.pool_kib - kept, float(granted.sum()))
    return deal_in_order(view.shares, granted, asks - granted, view.max_kib, left)


def unused(demand: Demand, granted: FloatArray) -> FloatArray:
    """What each guest lately needed, and does not need now; nothing of one with a slope."""
    return np.where(demand.slopes, 0.0, np.maximum(demand.peak - granted, 0.0))


def late(demand: Demand, unused_kib: FloatArray, back_kib_s: float) -> float:
    """What of all that is unused would be missed if it were lent: G·(1 - D/R), where its owners rise by R.

    What is lent comes back no faster than D, for it must be written out first: when all has risen, in G/R, D·G/R has.
    """
    rise_kib_s = float(demand.rise[unused_kib > 0].sum())
    return float(unused_kib.sum()) * max(1 - back_kib_s / max(rise_kib_s, 1.0), 0.0)


def kept_from_smaller(shares: FloatArray, unused_kib: FloatArray) -> FloatArray:
    """What is unused of those who have more shares than each guest."""
    sizes, of = np.unique(shares, return_inverse=True)
    own = np.bincount(of, weights=unused_kib, minlength=len(sizes))
    larger: FloatArray = (own.sum() - own.cumsum())[of]
    return larger


def _effort_kib(view: HostView, demand: Demand) -> FloatArray:
    """What must be moved to serve a guest, and a part of what it holds already."""
    lacking = demand.base - np.minimum(view.current_kib, demand.base)
    return np.maximum(lacking + HELD * (demand.base - view.least_kib), 1.0)


def borne_at(view: HostView, demand: Demand, sloped: IntArray, weight: FloatArray, bear: float) -> Borne:
    """What those with a slope keep at a price: base + lack - min(bear, 1 - weight·k/price)/k; without what is cold.

    At stall s = k·lack the gradient of weight·ln(1 - s) is weight·k/(1 - s) per KiB; there it equals the price.
    """
    k = np.maximum(demand.steepness[sloped], NEARLY_FLAT)
    gain, cold = weight[sloped] * k, demand.cold[sloped]
    base, most = demand.base[sloped], demand.most[sloped]
    low = np.minimum(view.least_kib[sloped], most)
    most, needs = np.where(cold > 0, np.maximum(base - cold, low), most), base + demand.lack[sloped]
    low = np.where(cold > 0, most, low)

    def keeps(price: float) -> FloatArray:
        waits = np.minimum(np.maximum(1 - gain / price, 0.0), bear)
        return np.minimum(np.maximum(needs - waits / k, low), most)

    return keeps


def _accepted(needs: FloatArray, prices: FloatArray, left_kib: FloatArray, borne: Borne) -> BoolArray:
    """Who of the line, the most worth first, fits into what is left for it when those with a slope have what they keep.

    One that does not fit is passed over: half of a need is worth nothing, and the next one may fit.
    """
    accepted = np.zeros(len(needs), dtype=bool)
    if not len(needs):
        return accepted
    marks = prices[np.unique(np.linspace(0, len(prices) - 1, PRICES).round().astype(int))]
    kept = np.array([borne(float(mark)).sum() for mark in marks])
    rooms = left_kib - kept[np.minimum(np.searchsorted(-marks, -prices), len(marks) - 1)]
    smallest = np.minimum.accumulate(needs[::-1])[::-1]
    largest = np.maximum.accumulate(rooms[::-1])[::-1]
    used = 0.0
    for i, (need, room) in enumerate(zip(needs.tolist(), rooms.tolist(), strict=True)):
        if used + need <= room:
            accepted[i] = True
            used += need
        elif used + smallest[i] > largest[i]:  # nobody after it can fit
            break
    return accepted


def serve(asks: FloatArray, budget_kib: float) -> FloatArray:
    """Serve asks in their order until the budget is used up."""
    return np.clip(budget_kib - (asks.cumsum() - asks), 0.0, asks)


def deal(granted: FloatArray, extra: FloatArray, high: FloatArray, pool_kib: float) -> FloatArray:
    """Give to all what they ask besides, or to all the same part of it."""
    asks = np.clip(extra, 0.0, high - granted)
    part = np.clip((pool_kib - granted.sum()) / max(float(asks.sum()), 1.0), 0.0, 1.0)
    dealt: FloatArray = granted + asks * part
    return dealt


def deal_in_order(
    shares: FloatArray, granted: FloatArray, extra: FloatArray, high: FloatArray, pool_kib: float
) -> FloatArray:
    """Give what is asked besides to those with most shares first, to equals the same part of it."""
    asks = np.clip(extra, 0.0, high - granted)
    _, of = np.unique(-shares, return_inverse=True)
    sums: FloatArray = np.bincount(of, weights=asks).astype(float)
    parts = serve(sums, pool_kib - float(granted.sum())) / np.maximum(sums, 1.0)
    dealt: FloatArray = granted + asks * parts[of]
    return dealt
