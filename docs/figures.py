"""The figures of docs/theory.md: `.venv/bin/python docs/figures.py` draws them again, byte for byte."""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping
from pathlib import Path

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

sys.path.insert(0, str(Path(__file__).parents[1]))

from docs.commands import command_line
from docs.worlds import run
from harness.policies import make
from harness.policies.waterfill import waterfill
from harness.view import FloatArray
from reports import style

FOLDER = Path(__file__).with_name("figures")
HEIGHT_IN = 2.5
USED_MIB = np.array([300.0, 700.0, 120.0, 900.0])
POOL_MIB = 2048.0
TAX = 0.75
SWAPPING = {"tax": 0.5, "swap_weight": 0.6, "swap_dead_band_mib": 0}
"""The trap of docs/policies.md."""


def level(axes: Axes) -> None:
    """Where the level of water-filling comes from."""
    lo, hi = np.full(4, 256.0), np.full(4, 700.0)
    base, weight = TAX * USED_MIB, np.ones(4)
    levels = np.linspace(-500, 800, 521)
    sizes = np.clip(base + np.outer(levels, weight), lo, hi)
    chosen = waterfill(POOL_MIB, base, weight, lo, hi).level
    axes.plot(levels, sizes.sum(axis=1), color=style.INK, label="Σ T")
    for used, column, tint in zip(USED_MIB, sizes.T, style.PALETTE, strict=False):
        axes.plot(levels, column, color=tint, label=f"T, A = {used:.0f}")
    axes.axhline(POOL_MIB, color=style.QUIET, linewidth=0.8, linestyle=":")
    axes.axvline(chosen, color=style.QUIET, linewidth=0.8, linestyle=":")
    axes.annotate("M", (-500, POOL_MIB), textcoords="offset points", xytext=(3, 3), color=style.QUIET)
    axes.annotate(f"λ = {chosen:.1f}", (chosen, 0), textcoords="offset points", xytext=(3, 3), color=style.QUIET)
    axes.set(xlabel="level λ (MiB, equal shares)", ylabel="memory (MiB)", ylim=(0, 2900))
    axes.legend(loc="upper left", bbox_to_anchor=(1.0, 1.0))


def tax(axes: Axes) -> None:
    """What the tax moves."""
    rates = np.linspace(0, 1, 101)
    sizes = np.array([rate * USED_MIB + (POOL_MIB - rate * USED_MIB.sum()) / 4 for rate in rates])
    for used, column, tint in zip(USED_MIB, sizes.T, style.PALETTE, strict=False):
        axes.plot(rates, column, color=tint, label=f"A = {used:.0f}")
        axes.plot([1.02], [used], marker="<", color=tint, markersize=4, clip_on=False)
    axes.set(xlabel="tax τ", ylabel="memory (MiB)", xlim=(0, 1), ylim=(0, 1000))
    axes.legend(loc="upper left", bbox_to_anchor=(1.05, 1.0))


def swap_weight(axes: Axes) -> None:
    """When the swap weight oscillates."""
    plain = {"fixed_point": False, "swap_smoothing_s": 0}
    cases: Mapping[str, tuple[float, Mapping[str, float]]] = {
        "swap 1000 MiB, as it is": (1000, plain),
        "swap 100 MiB, as it is": (100, plain),
        "swap 100 MiB, averaged over 10 s": (100, {"fixed_point": False}),
        "swap 100 MiB, foreseen, averaged or not": (100, {}),
    }
    for (label, (swap, params)), tint, mark in zip(cases.items(), style.PALETTE, style.MARKERS, strict=False):
        sizes = run(make("price", {**SWAPPING, **params}), [500, 500], [700, 100], ticks=20, swap=swap)[:, 0]
        axes.plot(sizes.round(3), color=tint, marker=mark, markersize=2.5, linewidth=0.9, label=label)
    axes.set(xlabel="decision", ylabel="memory of guest 1 (MiB)", xlim=(0, 20), xticks=range(0, 21, 4))
    axes.legend(loc="upper left", bbox_to_anchor=(1.0, 1.0))


def hysteresis(axes: Axes) -> None:
    """What hysteresis saves."""
    noise = np.random.default_rng(4).normal(0, 0.012, 120)
    wanted = 0.985 + 0.04 * np.sin(np.linspace(0, 4 * np.pi, 120)) + noise
    axes.plot(wanted, color=style.INK, linewidth=0.8)
    for threshold in (1.0, 0.95):
        axes.axhline(threshold, color=style.QUIET, linewidth=0.6, linestyle=":")
    for row, band in enumerate((0.0, 0.05)):
        scarce = states(wanted, band)
        edges = np.flatnonzero(np.diff(scarce)) + 1
        bottom = 1.075 + 0.022 * row
        for start, end in zip([0, *edges], [*edges, len(scarce)], strict=True):
            fill, hatch = style.STATES["scarce" if scarce[start] else "ample"]
            axes.fill_between([start, end], bottom, bottom + 0.018, facecolor=fill, hatch=hatch, linewidth=0)
        text = f"h = {band:.2f}: {len(edges)} changes"
        axes.annotate(text, (120, bottom + 0.003), textcoords="offset points", xytext=(4, 0))
    axes.set(xlabel="tick", ylabel="wanted / pool", xlim=(0, 120), ylim=(0.9, 1.12))


def states(wanted: FloatArray, band: float) -> FloatArray:
    """Whether memory is scarce, tick by tick, as in `two-state`."""
    scarce = np.zeros(len(wanted))
    now = False
    for tick, sum_over_pool in enumerate(wanted):
        now = sum_over_pool >= 1 - band if now else sum_over_pool > 1
        scarce[tick] = now
    return scarce


def censored(axes: Axes) -> None:
    """How far a guest climbs whose used memory is censored by what it has."""
    for rate, tint in zip((0.5, 0.75, 0.95), style.PALETTE, strict=False):
        policy = make("price", {"tax": rate, "swap_weight": 0})
        sizes = run(policy, [500, 500], [900, 100], ticks=15, censored=True)[:, 0]
        axes.plot(sizes.round(3), color=tint, marker="o", markersize=2.5, label=f"τ = {rate}")
        axes.axhline(500 + rate / 2 * 800, color=tint, linewidth=0.8, linestyle="--")
    axes.plot([], color=style.INK, linewidth=0.8, linestyle="--", label="if its demand were known")
    axes.axhline(900, color=style.QUIET, linewidth=0.8, linestyle=":", label="its demand")
    axes.set(xlabel="decision", ylabel="memory of guest 1 (MiB)", xlim=(0, 15), ylim=(480, 920))
    axes.legend(loc="upper left", bbox_to_anchor=(1.0, 1.0))


FIGURES: Mapping[str, Callable[[Axes], None]] = {
    "level": level,
    "tax": tax,
    "hysteresis": hysteresis,
    "swap-weight": swap_weight,
    "censored": censored,
}
"""Name of the file → what draws it."""


def draw(folder: Path = FOLDER) -> None:
    """Draw all figures into a folder, as SVG."""
    folder.mkdir(parents=True, exist_ok=True)
    for name, plot in FIGURES.items():
        with style.applied():
            figure = Figure(figsize=(style.TEXT_WIDTH_IN, HEIGHT_IN), layout="constrained")
            plot(figure.subplots())
            style.save(figure, folder / name, "svg")


if __name__ == "__main__":
    command_line(__doc__).parse_args()
    draw()
