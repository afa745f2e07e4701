"""Views for the tests, written in MiB, and hostile ones drawn at random."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from harness.view import COLUMNS, FloatArray, HostView

MIB = 1024


def names_of(n: int) -> tuple[str, ...]:
    return tuple(f"g{i + 1}" for i in range(n))


def make_view(
    current: Sequence[float],
    *,
    pool: float | None = None,
    lo: Sequence[float] | float = 0,
    hi: Sequence[float] | float = 1 << 20,
    shares: Sequence[float] | float = 1000,
    used: Sequence[float] | None = None,
    swap_fill: Sequence[float] | None = None,
    reserve: float = 0,
    time_s: float = 0,
    **columns: FloatArray,
) -> HostView:
    """Sizes in MiB. `pool` sets Xen's free memory; `used` and `swap_fill` set the fields that they follow from.

    Further columns go by their full name and unit.
    """
    n = len(current)
    size = np.asarray(current, dtype=float)
    if used is not None:
        columns |= {"mem_total_kib": size * MIB + 1e6, "buffers_kib": np.zeros(n), "cached_kib": np.zeros(n)}
        columns["mem_free_kib"] = columns["mem_total_kib"] - np.asarray(used, dtype=float) * MIB
    if swap_fill is not None:
        columns.setdefault("swap_total_kib", np.full(n, 1024.0 * MIB))
        columns["swap_free_kib"] = columns["swap_total_kib"] * (1 - np.asarray(swap_fill, dtype=float))
    spare = 0.0 if pool is None else pool - size.sum()
    free = max(0.0, spare + reserve)  # a pool below what the guests have shows as a reserve that Xen does not have
    return HostView(
        time_s=time_s,
        total_kib=65536 * MIB,
        free_kib=free * MIB,
        reserve_kib=(free - spare) * MIB,
        names=names_of(n),
        current_kib=size * MIB,
        min_kib=np.asarray(lo, dtype=float) * MIB,
        max_kib=np.asarray(hi, dtype=float) * MIB,
        shares=np.asarray(shares, dtype=float),
        **{"age_s": np.zeros(n), **columns},
    )


def in_mib(targets_kib: FloatArray) -> list[float]:
    return [round(float(target) / MIB, 3) for target in targets_kib]


NASTY = (np.nan, np.inf, -np.inf, 0.0, -1.0, -5e9, 1e-12, 0.5, 1e18, 1e308, 1.0)


def hostile_view(rng: np.random.Generator) -> HostView:
    """A view in which every figure is, with some chance, missing, absurd, or in contradiction to another."""
    n = int(rng.integers(0, 8))
    nastiness = rng.choice([0.0, 0.02, 0.1, 0.5])

    def nasty(column: FloatArray) -> FloatArray:
        return np.where(rng.random(column.shape) < nastiness, rng.choice(NASTY, column.shape), column)

    def size(most_mib: int) -> FloatArray:
        return rng.integers(0, most_mib * MIB, n).astype(float)

    lo = size(512)
    columns = {name: size(2048) for name in COLUMNS}
    columns |= {"min_kib": lo, "max_kib": lo + size(4096), "shares": rng.integers(1, 5000, n).astype(float)}
    columns |= {"stall_some": rng.random(n), "stall_full": rng.random(n) / 2, "age_s": rng.exponential(2, n)}
    columns["paused"] = rng.choice([0.0, 1.0, np.nan], n, p=[0.8, 0.1, 0.1])
    for rate in ("swap_in_kib_s", "swap_out_kib_s", "refault_kib_s", "major_faults_s"):
        columns[rate] = rng.exponential(1000, n) * rng.integers(0, 2, n)
    free, reserve, promised = (float(nasty(np.array(rng.integers(0, 4096 * MIB)))) for _ in range(3))
    return HostView(
        time_s=float(nasty(np.array(rng.random() * 100))),
        total_kib=float(nasty(np.array(64.0 * 1024 * MIB))),
        free_kib=free,
        reserve_kib=reserve if rng.random() < 0.5 else 0.0,
        promised_kib=promised if rng.random() < 0.2 else 0.0,
        names=names_of(n),
        **{name: nasty(column) for name, column in columns.items()},
        page_ages=tuple(_curve(rng) for _ in range(n)),
        ghost_returns=tuple(_curve(rng) for _ in range(n)),
    )


def _curve(rng: np.random.Generator) -> tuple[tuple[float, float], ...] | None:
    if rng.random() < 0.3:
        return None
    points = rng.random((int(rng.integers(0, 5)), 2)) * 1e6
    if rng.random() < 0.1:
        points = np.where(rng.random(points.shape) < 0.3, rng.choice(NASTY, points.shape), points)
    return tuple((float(x), float(y)) for x, y in points)
