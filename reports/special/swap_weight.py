"""`swap-weight`: how the weight of swap in the price moves the guest that swaps, from decision to decision."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any

import numpy as np
import pandas as pd

from reports import families, figures, style, summary, words
from reports.document import Container, Picture, Table
from reports.findings import Findings
from reports.language import joined, phrase, phrases
from reports.special.verdict import Claim, Special, judged
from reports.statistics import ENOUGH, FloatArray
from reports.summary import records

MIB = 1024.0
SETTLED = 10
"""The last so many decisions of a trial are where it settled."""
FIRST = 4
"""Decisions that the table shows."""
SWINGS = 0.01
"""Targets that in the end still swing by more than this share of the pool have not settled."""


def special(found: Findings) -> Special:
    """Return phase plots, a map of the overshoot, and whether damping lowers what the weight stirs up."""
    study, paths = found.study, paths_of(found)
    table = overshoots(found, paths)
    if not len(table):
        return Special(claim=Claim.OPEN, reason=phrase("no guest swaps under a policy that weighs swap."), blocks=[])
    bare = table[(table["swap_weight"] > 0) & (table["smoothing_s"] == 0) & ~table["fixed_point"].astype(bool)]
    damped = table[(table["swap_weight"] > 0) & ((table["smoothing_s"] > 0) | table["fixed_point"].astype(bool))]
    known = len(bare) and len(damped) and table["n"].min() >= ENOUGH
    better, undamped = _helps(found, list(damped["label"])), _helps(found, list(bare["label"]))
    stirred = known and bare["swing_pc"].max() > 100 * SWINGS >= damped["swing_pc"].max()
    holds = bool(stirred and better is True and undamped is not True) if known else None
    stirred_up = phrase("{}; {}.", _stirred("undamped", bare), _stirred("damped", damped))
    reason = joined([stirred_up, *_first(table), _said("a damped", better), _said("an undamped", undamped)])

    def draw(container: Container) -> None:
        halves: Any = container.subfigures(2, 1, height_ratios=(3, 2.2))
        _phases(halves[0], paths)
        _map(halves[1], table)

    return Special(
        claim=judged(holds),
        reason=reason,
        blocks=[
            Picture(
                name=f"swap-weight{figures.suffix(study)}",
                caption=phrase(
                    "Above: target of the guest that swaps most, as a share of the pool, against the one before, "
                    "in one block; one panel a smoothing of swap in use, one line a weight ε. On the diagonal "
                    "nothing moves any more; a path around it is an oscillation. Below: how much of the pool the "
                    "targets overshoot where they settle (median over blocks), by weight and smoothing, without "
                    "and with the fixed point."
                ),
                draw=draw,
                height_in=5.0,
            ),
            Table(
                name=f"swap-weight{figures.suffix(study)}",
                caption=phrase(
                    "The first {} targets of the guest that swaps most (share of the pool), where it settles, "
                    "how far the largest target is beyond that, and how much targets still swing in the last {} "
                    "decisions (percent of the pool); medians over blocks.",
                    FIRST,
                    SETTLED,
                ),
                head=[
                    *phrases("policy", "ε", "smoothing, s"),
                    *(f"T{k}" for k in range(1, FIRST + 1)),
                    *phrases("settles", "overshoot, %", "swing, %", "n"),
                ],
                rows=[
                    [row["label"], f"{row['swap_weight']:g}", f"{row['smoothing_s']:g}"]
                    + [f"{row[f't{k}']:.4f}" for k in range(1, FIRST + 1)]
                    + [f"{row['settled']:.4f}", f"{row['overshoot_pc']:.2f}", f"{row['swing_pc']:.2f}", str(row["n"])]
                    for row in records(table)
                ],
                aligns="lrr" + "r" * (FIRST + 4),
            ),
        ],
        frames={"swap-weight": table},
    )


def paths_of(found: Findings) -> pd.DataFrame:
    """Return the targets of the guest that swaps most in each trial, decision by decision, as shares of the pool."""
    rows = []
    for line in found.study.decisions():
        params = line["decision"]["params"]
        if "swap_weight" not in params:
            continue
        guests = line["view"]["guests"]
        host = line["view"]["host"]
        pool = sum(g["current_kib"] for g in guests) + host["free_kib"] - host["reserve_kib"]
        fills = {g["name"]: (g.get("swap_total_kib") or 0) - (g.get("swap_free_kib") or 0) for g in guests}
        for name, target in line["decision"]["targets_kib"].items():
            if target is not None:
                row = {"place": f"{line['run']}/{line['block']}", "label": line["label"], "tick": line["tick"]}
                row |= {"guest": name, "target": target / pool, "swap_kib": fills[name]}
                row |= {"swap_weight": params["swap_weight"], "smoothing_s": params["swap_smoothing_s"]}
                rows.append(row | {"fixed_point": params["fixed_point"]})
    frame = pd.DataFrame(rows)
    if not len(frame):
        return frame
    most = frame.groupby("guest")["swap_kib"].sum().idxmax()
    return frame[frame["guest"] == most].sort_values(["place", "label", "tick"], kind="stable")


def overshoots(found: Findings, paths: pd.DataFrame) -> pd.DataFrame:
    """Return one row a label: first targets, where they settle, overshoot and swing; medians over blocks."""
    rows = []
    for label, mine in paths.groupby("label", sort=False) if len(paths) else ():
        trials = [trial["target"].to_numpy() for _, trial in mine.groupby("place")]
        ends = np.array([np.median(path[-SETTLED:]) for path in trials])
        over = [100 * max(0.0, path.max() - end) for path, end in zip(trials, ends, strict=True)]
        first = mine.iloc[0]
        row = {"experiment": found.study.name, "backend": found.study.backend, "label": label}
        row |= {name: first[name] for name in ("swap_weight", "smoothing_s", "fixed_point")}
        row |= {f"t{k}": float(np.median([_at(path, k) for path in trials])) for k in range(1, FIRST + 1)}
        row |= {"settled": float(np.median(ends)), "overshoot_pc": float(np.median(over))}
        lasts = [path[-SETTLED:] for path in trials]
        row |= {"settled_low": float(np.median([last.min() for last in lasts]))}
        row |= {"settled_high": float(np.median([last.max() for last in lasts]))}
        rows.append(
            row | {"swing_pc": float(np.median([100 * np.ptp(p[-SETTLED:]) for p in trials])), "n": len(trials)}
        )
    frame = pd.DataFrame(rows)
    rank = {label: place for place, label in enumerate(found.study.labels)}
    return frame.sort_values("label", key=lambda column: column.map(rank)).reset_index(drop=True) if rows else frame


def _at(path: FloatArray, k: int) -> float:
    """The k-th target of a trial; NaN where it had fewer."""
    return float(path[k - 1]) if k <= len(path) else math.nan


def _helps(found: Findings, labels: list[str]) -> bool | None:
    """Whether some of these is shown to be better, or else worse, than no weight; None where neither is shown."""
    plain = next((x for x in found.study.labels if found.study.parameter(x, "swap_weight") == 0), None)
    if plain is None:
        return None
    (frame,) = families.adjusted([summary.overall(found.study.against(plain))], [labels])
    said = [words.verdict(row) for row in records(frame) if row["label"] in labels]
    return True if words.Verdict.BETTER in said else False if words.Verdict.WORSE in said else None


def _stirred(which: str, table: pd.DataFrame) -> str:
    """What a weight stirs up, the worst of these."""
    if not len(table):
        return phrase(f"no {which} weight was tried")
    over, swing = table["overshoot_pc"].max(), table["swing_pc"].max()
    return phrase(
        f"{which}, targets overshoot by up to {{:.1f}} % of the pool and still swing by {{:.1f}} % at the end",
        over,
        swing,
    )


def _said(which: str, better: bool | None) -> str:
    if better is None:
        return phrase(f"No difference between {which} weight and none is shown.")
    return phrase(f"{which.capitalize()} weight is {'better' if better else 'worse'} than none.")


def _first(table: pd.DataFrame) -> Iterator[str]:
    bare = table[(table["swap_weight"] > 0) & (table["smoothing_s"] == 0) & ~table["fixed_point"].astype(bool)]
    if not len(bare):
        return
    row = bare.sort_values("overshoot_pc").iloc[-1]
    steps = ", ".join(f"{row[f't{k}']:.3f}" for k in range(1, FIRST + 1))
    if row["swing_pc"] > 100 * SWINGS:
        swings = phrase("still between {:.4f} and {:.4f} at the end", row["settled_low"], row["settled_high"])
        yield phrase("The first targets of {}: {}, and {}.", row["label"], steps, swings)
    else:
        yield phrase("The first targets of {}: {}, settling at {:.4f}.", row["label"], steps, row["settled"])


def _phases(container: Container, paths: pd.DataFrame) -> None:
    place = sorted(paths["place"].unique())[0]
    here = paths[paths["place"] == place]
    bare = here[~here["fixed_point"].astype(bool)]
    shown = bare if len(bare) else here  # with the fixed point only where nothing else ran
    smoothings = sorted(shown["smoothing_s"].unique())
    weights = sorted(shown["swap_weight"].unique())
    tints = style.colours(["", *map(str, weights)])
    grid = container.subplots(1, len(smoothings), sharex=True, sharey=True, squeeze=False)
    for axes, smoothing in zip(grid[0], smoothings, strict=True):
        axes.axline((0.5, 0.5), slope=1, color=style.QUIET, linewidth=0.7)
        for weight in weights:
            path = shown[(shown["smoothing_s"] == smoothing) & (shown["swap_weight"] == weight)]["target"].to_numpy()
            axes.plot(path[:-1], path[1:], "-o", color=tints[str(weight)], markersize=2.5, linewidth=0.8,
                      label=f"ε = {weight:g}")  # fmt: skip
        axes.set(xlabel=phrase("target before"), title=phrase("smoothing {:g} s", smoothing))
    grid[0, 0].set_ylabel(phrase("target, share of the pool"))
    handles, labels = grid[0, 0].get_legend_handles_labels()
    container.legend(handles, labels, loc="outside upper center", ncols=6)


def _map(container: Container, table: pd.DataFrame) -> None:
    kinds = [(False, phrase("without the fixed point")), (True, phrase("with the fixed point"))]
    kinds = [(flag, title) for flag, title in kinds if (table["fixed_point"].astype(bool) == flag).any()]
    grid = container.subplots(1, len(kinds), squeeze=False, width_ratios=[3, 1.4][: len(kinds)])
    most = max(1e-9, table["overshoot_pc"].max())
    for axes, (flag, title) in zip(grid[0], kinds, strict=True):
        cells = table[table["fixed_point"].astype(bool) == flag].pivot_table(
            index="smoothing_s", columns="swap_weight", values="overshoot_pc"
        )
        axes.imshow(cells, cmap="cividis_r", vmin=0, vmax=most, aspect="auto")
        for (y, x), value in np.ndenumerate(cells.to_numpy()):
            if not np.isnan(value):
                dark = value > 0.6 * most
                axes.text(x, y, f"{value:.1f}", ha="center", va="center", color=style.PAPER if dark else style.INK)
        axes.set_xticks(range(cells.shape[1]), [f"{x:g}" for x in cells.columns])
        axes.set_yticks(range(cells.shape[0]), [f"{y:g}" for y in cells.index])
        axes.set(xlabel=phrase("weight ε"), ylabel=phrase("smoothing, s"), title=title)
        axes.grid(visible=False)
