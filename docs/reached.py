"""The tables of what `ballast` reaches in mixes of guests, from the rows that docs/mixes.py keeps.

    <!-- mixes -->        the mixes of experiments/, every policy
    <!-- held-out -->     those that were held out at first
    <!-- drawn -->        those that chance has drawn (docs/drawn.py)
    <!-- ablation -->     ours without each of its parts
    <!-- ablation-of-two-state -->  the proposal's likewise
    <!-- conditions -->   the mixes on other disks and in other periods: the best other policy, then ours
    <!-- limits -->       mixes without some of what stands between ours and the bound: the best other, ours, the bound
    <!-- spared -->       what ours reaches, and what it leaves each guest, when it makes nobody wait
    <!-- in-words -->     of the mixes, in how many it is ahead, and where it is not

Each table ends with a sentence that counts.
"""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pandas as pd

OURS, STATIC, INFORMED, ORACLE = "ballast", "static", "informed", "oracle"
NOTHING = "Not simulated yet.\n\n"
AS_GOOD, GAP, LEAST = 0.99, 0.05, 0.97
"""Of the best other policy, for ours; the gap to `informed` that is worth closing; of static, for a guest."""
DRAWN, SPARING, PLANNING = "`drawn-", "nobody waits", "its own plan"
"""The second: our policy when it makes nobody bear want, as the ablation calls it; a run of it alone, beside static.
The last: the bound `informed` alone, beside static, so that it has no policy to follow and certainly not ours."""
ABLATIONS = {"ablation": ("e16-ablation", OURS), "ablation-of-two-state": ("e16-two-state", "two-state")}
"""Marker → the experiment, and the label of what there is whole."""
IN_PARTS = "|".join(name for name, _ in ABLATIONS.values())
"""Matches what is no mix of its own."""
MARKER = "(?<=<!-- {0} -->\n).*?(?=<!-- /{0} -->)"


def read_mixes(path: Path) -> pd.DataFrame:
    """Return the rows that are kept; a number that a run did not have is NaN, a text that is empty stays so."""
    return pd.read_csv(path, keep_default_na=False, na_values=dict.fromkeys(("geometric_mean", "least_of_static"), ""))


def rewritten(page: str, kept: pd.DataFrame, limits: Sequence[str] = ()) -> str:
    """Return the page with the tables of what is kept; `limits` are its conditions that take something away."""
    of = {marker: kept["mix"].str.contains(name) for marker, (name, _) in ABLATIONS.items()}
    ablation, limited = pd.DataFrame(of).any(axis="columns"), kept["condition"].isin(limits)
    here, sparing = kept[(kept["condition"] == "") & ~ablation], kept["condition"] == SPARING
    planning = kept["condition"] == PLANNING
    plans = kept[planning & (kept["label"] == INFORMED)].set_index("mix")["geometric_mean"]
    by_chance = here["mix"].str.contains(DRAWN)
    for marker, table in (
        ("mixes", _table(here[~here["held_out"]], plans)),
        ("held-out", _table(here[here["held_out"] & ~by_chance], plans)),
        ("drawn", _table(here[by_chance], plans) + _together(here[by_chance])),
        *((marker, _ablation(kept[rows], ABLATIONS[marker][1])) for marker, rows in of.items()),
        ("conditions", _conditions(kept[(kept["condition"] != "") & ~limited & ~sparing & ~planning])),
        ("spared", _spared(here, kept[sparing])),
        ("limits", _limits(kept[~ablation & (limited | (kept["condition"] == ""))], limits)),
        ("in-words", _in_words(here[~here["held_out"]], here[by_chance])),
    ):
        page = re.sub(MARKER.format(marker), lambda _, table=table: table, page, flags=re.DOTALL)
    return page


def best_other(rows: pd.DataFrame) -> tuple[str, float]:
    """Return the best policy that anybody could run, ours left out, and what it reached."""
    others = rows[~rows["bound"] & (rows["label"] != OURS)].set_index("label")["geometric_mean"]
    return str(others.idxmax()), float(others.max())


def _table(kept: pd.DataFrame, plans: pd.Series[float]) -> str:
    if kept.empty:
        return NOTHING
    lines = [
        f"| mix | `static` | best other | `ballast` | `informed` | {PLANNING} | `oracle` | of the gap | "
        "least of static |",
        "|---|--:|---|--:|--:|--:|--:|--:|--:|",
    ]
    good = closed = wide = spared = 0
    for mix, rows in kept.groupby("mix", sort=False):
        mean = rows.set_index("label")["geometric_mean"]
        least = float(rows.set_index("label")["least_of_static"][OURS])
        (other, best), ours, plan = best_other(rows), float(mean[OURS]), float(plans.get(mix, math.nan))
        part = (ours - best) / (plan - best) if plan > best * (1 + GAP) else None
        good += ours >= best * AS_GOOD
        spared += least >= LEAST
        wide += part is not None
        closed += part is not None and part >= 1 / 2
        cells = (
            str(mix), f"{mean[STATIC]:.3f}", f"`{other}` {best:.3f}", _bold(ours, good=ours >= best * AS_GOOD),
            f"{mean[INFORMED]:.3f}", _bold(plan, good=True), f"{mean[ORACLE]:.3f}",
            "" if part is None else f"{part:.0%}", _bold(least, good=least >= LEAST, digits=2),
        )  # fmt: skip
        lines.append(f"| {' | '.join(cells)} |")
    number = kept["mix"].nunique()
    said = (
        f"The best that anybody could run, or within 1 % of it, in {good} of {number}; of {wide} gaps of more than 5 % "
        f"to the bound's own plan half or more is closed in {closed}; no guest below {LEAST} of what it "
        f"has under `static` in {spared}. "
        f"Bold: not so. {_source(kept)}"
    )
    return "\n".join(lines) + f"\n\n{said}\n\n"


def _together(kept: pd.DataFrame) -> str:
    """Say what every policy that anybody could run has of what `static` has, over all mixes."""
    if kept.empty:
        return ""
    told = ", ".join(f"`{label}` {value:.2f}" for label, value in _over_static(kept).items())
    return f"All of them together, the geometric mean of what each policy has over what `static` has: {told}.\n\n"


def _over_static(kept: pd.DataFrame) -> pd.Series[float]:
    """Return label → the geometric mean over mixes of what it has over what `static` has, the most first."""
    means = kept[~kept["bound"].astype(bool)].pivot_table(index="label", columns="mix", values="geometric_mean")
    over = np.exp(np.log(means / means.loc[STATIC]).mean(axis="columns"))
    return over.sort_values(ascending=False, kind="stable")


def _in_words(kept: pd.DataFrame, drawn: pd.DataFrame) -> str:
    if kept.empty:
        return NOTHING
    lost, number = _behind(kept), kept["mix"].nunique()
    behind = f"it is behind in {' and '.join(lost)}" if lost else "it is behind in none"
    text = (
        f"On {number} simulated mixes of guests our own policy, [`ballast`](docs/policies.md#ballast), is the best\n"
        f"that anybody could run, or within 1 % of it, in {number - len(lost)}; {behind}.\n"
    )
    if len(drawn):
        lost, number = _behind(drawn), drawn["mix"].nunique()
        over = _over_static(drawn)
        other = str(over.drop(OURS).idxmax())
        text += (
            f"In {number} that chance has drawn it is so in {number - len(lost)}, and behind in {', '.join(lost)};\n"
            f"over all of these it has {over[OURS]:.2f} times what the static split has, `{other}` {over[other]:.2f}\n"
        )
    return f"{text}([docs/simulator.md](docs/simulator.md#what-ballast-reaches), also other disks and periods).\n\n"


def _behind(kept: pd.DataFrame) -> list[str]:
    """Return where ours is more than 1 % behind the best other, with both figures."""
    lost = []
    for mix, rows in kept.groupby("mix", sort=False):
        ours = float(rows.set_index("label")["geometric_mean"][OURS])
        other, best = best_other(rows)
        if ours < best * AS_GOOD:
            lost.append(f"{mix} ({ours:.3f} against {best:.3f} of `{other}`)")
    return lost


def _ablation(kept: pd.DataFrame, whole: str) -> str:
    if kept.empty:
        return NOTHING
    shown = kept[~kept["bound"]].pivot_table(index="label", columns="mix", values="geometric_mean")
    shown = shown.loc[list(dict.fromkeys(kept[~kept["bound"]]["label"]))]
    called = [str(mix).partition(" (")[0] for mix in shown]
    lines = [f"| | {' | '.join(called)} |", f"|---|{'--:|' * len(called)}"]
    ours = shown.loc[whole]
    for label, row in shown.iterrows():
        cells = (_bold(value, good=value >= ours[mix] * AS_GOOD) for mix, value in row.items())
        lines.append(f"| {label} | {' | '.join(cells)} |")
    return "\n".join(lines) + f"\n\nBold: more than 1 % below `{whole}`. {_source(kept)}\n\n"


def _conditions(kept: pd.DataFrame) -> str:
    if kept.empty:
        return NOTHING
    named: Sequence[str] = sorted(kept["condition"].unique(), key=lambda told: ("every" in told, len(told), told))
    lines = [f"| mix | {' | '.join(named)} |", f"|---|{'--:|' * len(named)}"]
    counts = dict.fromkeys(named, 0)
    for mix, rows in kept.groupby("mix", sort=False):
        cells = [str(mix)]
        for told in named:
            there = rows[rows["condition"] == told]
            if there.empty:
                cells.append("")
                continue
            (_, best), ours = best_other(there), float(there.set_index("label")["geometric_mean"][OURS])
            counts[told] += ours < best * AS_GOOD
            cells.append(f"{best:.3f}, {_bold(ours, good=ours >= best * AS_GOOD)}")
        lines.append(f"| {' | '.join(cells)} |")
    behind = ", ".join(f"{count} ({told})" for told, count in counts.items())
    said = f"Bold: more than 1 % behind. Of {kept['mix'].nunique()} that is: {behind}. {_source(kept)}"
    return "\n".join(lines) + f"\n\n{said}\n\n"


def _limits(kept: pd.DataFrame, limits: Sequence[str]) -> str:
    shown = kept[kept["mix"].isin(kept.loc[kept["condition"] != "", "mix"])]
    if shown.empty:
        return NOTHING
    mixes = list(shown["mix"].unique())
    lines = [f"| | {' | '.join(mixes)} |", f"|---|{'--:|' * len(mixes)}"]
    for told in ("", *reversed(limits)):
        cells = [told or "as it is"]
        for mix in mixes:
            rows = shown[(shown["mix"] == mix) & (shown["condition"] == told)]
            mean = rows.set_index("label")["geometric_mean"]
            cells.append(f"{best_other(rows)[1]:.3f}, {mean[OURS]:.3f}, {mean[INFORMED]:.3f}" if len(rows) else "")
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines) + f"\n\n{_source(shown)}\n\n"


def _spared(here: pd.DataFrame, sparing: pd.DataFrame) -> str:
    """Hold what ours reaches, and the least of static that it leaves a guest, against what it does if nobody waits."""
    if sparing.empty:
        return NOTHING
    lines = [
        "| mix | `ballast` | least of static | nobody waits | least of static | `informed` | least of static |",
        "|---|--:|--:|--:|--:|--:|--:|",
    ]
    columns = {OURS: here, SPARING: sparing, INFORMED: here}
    reached = {of: rows[rows["label"] == of].set_index("mix") for of, rows in columns.items()}
    mixes = [mix for mix in here["mix"].unique() if mix in set(sparing["mix"])]
    for mix in mixes:
        figures = (
            f"{rows['geometric_mean'][mix]:.3f} | "
            + _bold(float(rows["least_of_static"][mix]), good=rows["least_of_static"][mix] >= LEAST, digits=2)
            for rows in reached.values()
        )
        lines.append(f"| {mix} | {' | '.join(figures)} |")
    spared = {of: int((rows["least_of_static"][mixes] >= LEAST).sum()) for of, rows in reached.items()}
    ratios = reached[SPARING]["geometric_mean"][mixes] / reached[OURS]["geometric_mean"][mixes]
    part = float(np.exp(np.log(ratios).mean()))
    said = (
        f"No guest below {LEAST} of what it has under `static`: in {spared[OURS]} under `ballast`, in "
        f"{spared[SPARING]} where nobody waits, in {spared[INFORMED]} under the bound, of {len(mixes)}. Where nobody "
        f"waits, {part:.2f} of what `ballast` reaches is reached (geometric mean over mixes). "
        f"Bold: below. {_source(sparing)}"
    )
    return "\n".join(lines) + f"\n\n{said}\n\n"


def _source(kept: pd.DataFrame) -> str:
    blocks = " or ".join(str(count) for count in sorted(kept["blocks"].unique()))
    commits = ", ".join(sorted(kept["commit"].astype(str).unique()))
    return f"Blocks: {blocks}; {' and '.join(sorted(kept['date'].unique()))}, commit {commits}."


def _bold(value: float, *, good: bool, digits: int = 3) -> str:
    shown = "–" if math.isnan(value) else f"{value:.{digits}f}"  # noqa: RUF001 - a dash for what is not there
    return shown if good else f"**{shown}**"
