"""`swap-weight`: how the weight of swap in the price moves the guest that swaps, from decision to decision."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.lines import Line2D
from matplotlib.patches import Rectangle

from reports import families, figures, style, summary, words
from reports.document import Container, Picture, Table
from reports.findings import Findings
from reports.language import joined, phrase, phrases
from reports.special.swap_loop import FIRST, SETTLED, SWINGS, agrees, loops_of, overshoots, paths_of, recorded, swinging
from reports.special.theory import Fate, Loop
from reports.special.verdict import Claim, Special, judged
from reports.statistics import ENOUGH
from reports.summary import records

THEORY: Any = {"linestyle": (0, (4, 2)), "linewidth": 0.7}
FRAME: Any = {"fill": False, "edgecolor": style.PALETTE[1], "linewidth": 1.8}
"""A colour that is seen on the dark and the light end of the map."""


def special(found: Findings) -> Special:
    """Return phase plots, a map of the overshoot, and whether damping lowers what the weight stirs up."""
    study, rows = found.study, recorded(found)
    table = overshoots(found, rows)
    if not len(table):
        return Special(claim=Claim.OPEN, reason=phrase("no guest swaps under a policy that weighs swap."), blocks=[])
    bare = table[(table["swap_weight"] > 0) & (table["smoothing_s"] == 0) & ~table["fixed_point"].astype(bool)]
    damped = table[(table["swap_weight"] > 0) & ((table["smoothing_s"] > 0) | table["fixed_point"].astype(bool))]
    known = len(bare) and len(damped) and table["n"].min() >= ENOUGH
    better, undamped = _helps(found, list(damped["label"])), _helps(found, list(bare["label"]))
    stirred = known and bare["swing_pc"].max() > 100 * SWINGS >= damped["swing_pc"].max()
    holds = bool(stirred and better is True and undamped is not True) if known else None
    stirred_up = phrase("{}; {}.", _stirred("undamped", bare), _stirred("damped", damped))
    compared = [_said("a damped", better), _said("an undamped", undamped)]
    reason = joined([stirred_up, *_first(table), *compared, *_agreement(table)])

    def draw(container: Container) -> None:
        halves: Any = container.subfigures(2, 1, height_ratios=(3, 2.2))
        _phases(halves[0], paths_of(rows), loops_of(rows))
        _map(halves[1], table)

    return Special(
        claim=judged(holds),
        reason=reason,
        blocks=[
            Picture(
                name=f"swap-weight{figures.suffix(study)}",
                caption=phrase(
                    "Above: target of the guest that swaps most, as a share of the pool, against the one before, in "
                    "one block; one panel a smoothing of swap in use, one line a weight ε. On the diagonal nothing "
                    "moves any more; a path around it is an oscillation. Dashed: the map of theory (section 4), on "
                    "which a target without smoothing lies where memory has moved since the one before. Below: how "
                    "much of the pool the targets overshoot where they settle (median over blocks), by weight and "
                    "smoothing, without and with the fixed point. Framed: by theory (T18) they swing for ever."
                ),
                draw=draw,
                height_in=5.0,
            ),
            Table(
                name=f"swap-weight{figures.suffix(study)}",
                caption=phrase(
                    "The first {} targets of the guest that swaps most (share of the pool), where it settles if it "
                    "does, how far the largest target is beyond that, and how much targets still swing in the last {} "
                    "decisions (percent of the pool); medians over blocks. Beside it what theory makes of the recorded "
                    "views: the fixed point (T17), and whether the loop comes to it and stays (T16, T18).",
                    FIRST,
                    SETTLED,
                ),
                head=[
                    *phrases("policy", "ε", "smoothing, s"),
                    *(f"T{k}" for k in range(1, FIRST + 1)),
                    *phrases("settles", "theory: settles", "overshoot, %", "swing, %", "theory", "n"),
                ],
                rows=[
                    [row["label"], f"{row['swap_weight']:g}", f"{row['smoothing_s']:g}"]
                    + [f"{row[f't{k}']:.4f}" for k in range(1, FIRST + 1)]
                    + [words.DASH if swinging(row) else f"{row['settled']:.4f}", _size(row["theory_settled"])]
                    + [f"{row['overshoot_pc']:.2f}", f"{row['swing_pc']:.2f}", _fate(row), str(row["n"])]
                    for row in records(table)
                ],
                aligns="lrr" + "r" * (FIRST + 4) + "lr",
            ),
        ],
        frames={"swap-weight": table},
    )


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
    row = records(bare.sort_values("overshoot_pc"))[-1]
    steps = ", ".join(f"{row[f't{k}']:.3f}" for k in range(1, FIRST + 1))
    if swinging(row):
        swings = phrase("still between {:.4f} and {:.4f} at the end", row["settled_low"], row["settled_high"])
        yield phrase("The first targets of {}: {}, and {}.", row["label"], steps, swings)
    else:
        yield phrase("The first targets of {}: {}, settling at {:.4f}.", row["label"], steps, row["settled"])


def _agreement(table: pd.DataFrame) -> Iterator[str]:
    """Where theory and measurement agree, and where not."""
    rows = [row for row in records(table) if row["theory"]]
    if not rows:
        return
    yield phrase(
        "Whether they swing, and where they settle if not, is under {} of {} policies as theory predicts it from the "
        "recorded views (T16 to T18).",
        sum(agrees(row) for row in rows),
        len(rows),
    )
    if others := [row for row in rows if not agrees(row)]:
        each = [
            phrase(
                "{} (theory: {}, {:.4f}; measured: {}, swinging by {:.1f} %)",
                row["label"], _fate(row), row["theory_settled"], reached(row), row["swing_pc"],
            )
            for row in others
        ]  # fmt: skip
        yield phrase("Not so under {}.", words.some(each, "swap-weight"))


def _fate(row: Mapping[str, Any]) -> str:
    return phrase(Fate(row["theory"])) if row["theory"] else words.DASH


def reached(row: Mapping[str, Any]) -> str:
    """Where the targets are in the end: what swings has not settled, and its median is nowhere that it stays."""
    ends = (f"{row[key]:.4f}" for key in ("settled_low", "settled_high"))
    return phrase("{} to {}", *ends) if swinging(row) else f"{row['settled']:.4f}"


def _size(share: float) -> str:
    return words.DASH if np.isnan(share) else f"{share:.4f}"


def _phases(container: Container, paths: pd.DataFrame, loops: Mapping[str, tuple[Loop, float, int]]) -> None:
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
            mine = shown[(shown["smoothing_s"] == smoothing) & (shown["swap_weight"] == weight)]
            path, tint = mine["target"].to_numpy(), tints[str(weight)]
            axes.plot(path[:-1], path[1:], "-o", color=tint, markersize=2.5, linewidth=0.8, label=f"ε = {weight:g}")
        axes.set(xlabel=phrase("target before"), title=phrase("smoothing {:g} s", smoothing))
    if smoothings[0] == 0 and len(bare):
        for label, mine in shown[shown["smoothing_s"] == 0].groupby("label", sort=False):
            if label in loops:
                _answer(grid[0, 0], loops[str(label)], tints[str(mine["swap_weight"].iloc[0])])
    grid[0, 0].set_ylabel(phrase("target, share of the pool"))
    handles, labels = grid[0, 0].get_legend_handles_labels()
    if any(label in loops for label in shown["label"]):
        handles.append(Line2D([], [], color=style.QUIET, **THEORY))
        labels.append(phrase("theory"))
    container.legend(handles, labels, loc="outside upper center", ncols=6)


def _answer(axes: Axes, one: tuple[Loop, float, int], tint: str) -> None:
    """Draw the map of theory over what the guest that swaps most has, the others being where they settle."""
    loop, _, most = one
    settled = loop.settles()
    sizes = np.linspace(*axes.get_xlim(), 200)
    answers = [loop.answer(np.where(np.arange(len(settled)) == most, size, settled))[most] for size in sizes]
    axes.plot(sizes, answers, color=tint, zorder=1.5, scalex=False, scaley=False, **THEORY)


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
        for row in records(table[(table["fixed_point"].astype(bool) == flag) & (table["theory"] == Fate.SWINGS)]):
            x, y = list(cells.columns).index(row["swap_weight"]), list(cells.index).index(row["smoothing_s"])
            axes.add_patch(Rectangle((x - 0.46, y - 0.44), 0.92, 0.88, **FRAME))
        axes.set_xticks(range(cells.shape[1]), [f"{x:g}" for x in cells.columns])
        axes.set_yticks(range(cells.shape[0]), [f"{y:g}" for y in cells.index])
        axes.set(xlabel=phrase("weight ε"), ylabel=phrase("smoothing, s"), title=title)
        axes.grid(visible=False)
