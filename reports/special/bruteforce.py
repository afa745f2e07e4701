"""Divisions of the pool recomputed from recorded views by a root finder, knowing nothing of the solver.

T = clamp(base + weight·λ, lo, hi) with Σ T = clamp(M, Σ lo, Σ hi); λ by Brent's method (R. Brent, Algorithms for
Minimization without Derivatives, 1973, chapter 4). base = τ·A and weight = S·(1 - τ) for one price, S for ESX's, and
base = 0 for equal parts.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from scipy.optimize import brentq

from reports.special.views import FloatArray, columns, pool_kib, used_and_least

HALF_LIVES = ("slow_half_life_s", "fast_half_life_s")


@dataclass(frozen=True, slots=True, kw_only=True)
class Division:
    """One decision: what was recorded, and what is exact."""

    recorded_kib: FloatArray
    exact_kib: FloatArray
    total_kib: float
    violations: int
    dispersion: float
    """(max - min)/mean of the recorded prices of guests inside their bounds; NaN with fewer than two."""
    unequal: bool
    """The dispersion is more than rounding by up to 1 KiB explains."""


@dataclass(slots=True)
class _Averages:
    """Slow and fast exponential averages of used memory, as idle-tax keeps them; every tick counts."""

    time_s: float = math.nan
    values: dict[str, FloatArray] = field(default_factory=dict)

    def largest(self, time_s: float, used: FloatArray, half_lives: Sequence[float]) -> FloatArray:
        found = used
        for half_life in half_lives:
            old = self.values.get(str(half_life), used)
            kept = 0.5 ** ((time_s - self.time_s) / half_life) if time_s >= self.time_s else 0.0
            self.values[str(half_life)] = used + (old - used) * kept
            found = np.maximum(found, self.values[str(half_life)])
        self.time_s = time_s
        return found


def divisions(lines: Sequence[Mapping[str, Any]]) -> Iterator[Division]:
    """Yield the decisions of one trial that can be recomputed.

    Left out: views in which a figure or guest is missing, states without a division, and answers that are repeated.
    """
    averages = _Averages()
    for line in lines:
        decision, view = line["decision"], line["view"]
        known = columns(view)
        if known is None or list(decision["targets_kib"]) != [guest["name"] for guest in view["guests"]]:
            continue
        used, least = used_and_least(known)
        params = decision["params"]
        if decision["policy"] == "idle-tax":
            used = averages.largest(view["time_s"], used, [params[name] for name in HALF_LIVES])
        told = _base_and_weight(decision, used, known["shares"])
        if told is not None:
            lo = known["min_kib"] if decision["policy"] == "equal" else least
            yield _division(decision, pool_kib(view), lo, known["max_kib"], *told)


def _base_and_weight(
    decision: Mapping[str, Any], used: FloatArray, shares: FloatArray
) -> tuple[FloatArray, FloatArray] | None:
    """The base and weight of a policy's division; None where it divides by something else, or repeats an answer."""
    params, state = decision["params"], decision["state"]
    repeated = any(str(reason).endswith("s ago)") for reason in decision["reasons"].values())
    if params.get("active", "used") != "used" or repeated:
        return None
    match decision["policy"]:
        case "equal":
            return np.zeros(len(used)), shares
        case "price" | "two-state" if params["swap_weight"] == 0 and state in (None, "scarce"):
            tax = params["tax"]
            return tax * used, shares * (1 - tax) if tax < 1 else shares
        case "idle-tax" if state == "soft":
            return params["tax"] * used, shares
    return None


def _division(
    decision: Mapping[str, Any], pool: float, lo: FloatArray, hi: FloatArray, base: FloatArray, weight: FloatArray
) -> Division:
    total = float(np.clip(math.floor(pool), lo.sum(), hi.sum()))
    exact = divided(total, base, weight, lo, hi)
    recorded = np.array(list(decision["targets_kib"].values()), dtype=float)
    inside = (recorded > lo) & (recorded < hi)
    prices = weight[inside] / (recorded - base)[inside]
    rounding = weight[inside] / np.maximum((recorded - base)[inside] - 1, 1e-9) - prices
    many = inside.sum() > 1
    return Division(
        recorded_kib=recorded,
        exact_kib=exact,
        total_kib=total,
        violations=int(((recorded < lo) | (recorded > hi)).sum()),
        dispersion=float(np.ptp(prices) / prices.mean()) if many else math.nan,
        unequal=bool(many and np.ptp(prices) > 2 * np.abs(rounding).max()),
    )


def divided(total_kib: float, base: FloatArray, weight: FloatArray, lo: FloatArray, hi: FloatArray) -> FloatArray:
    """Divide a total by one level, found by Brent's method between the level at which all have lo and all have hi."""

    def targets(level: float) -> FloatArray:
        return np.clip(base + weight * level, lo, hi)

    low, high = float(((lo - base) / weight).min()), float(((hi - base) / weight).max())
    if total_kib <= lo.sum() or total_kib >= hi.sum():
        return lo if total_kib <= lo.sum() else hi
    level = brentq(
        lambda at: targets(at).sum() - total_kib, low, high, xtol=1e-12 * max(abs(low), abs(high)), rtol=1e-15
    )
    return targets(level)
