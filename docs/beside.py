"""The figures beside the words of the chapter on related work, in both of its languages: written between markers.

    .venv/bin/python docs/beside.py     # write both pages anew, from what docs/mixes.py and docs/measured.py keep

    <!-- beside: policies -->   every policy over the static split, all simulated mixes taken together
    <!-- beside: mixes -->      what every policy reached in each of them
    <!-- beside: losses -->     where ours is behind, in words
    <!-- beside: xen -->        the policies that met on a real Xen

Simulated and measured figures never share a table. What is bold and what is bracketed is decided here, so that a page
cannot flatter anybody.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

sys.path.insert(0, str(Path(__file__).parents[1]))

from docs.commands import command_line
from docs.marks import Kept, kept
from docs.phrases import PHRASES, Phrases
from docs.reached import AS_GOOD, IN_PARTS, LEAST, OURS, STATIC, best_other, read_mixes
from harness.records import write_whole
from reports import words
from reports.statistics import ENOUGH

PROJECT = Path(__file__).parents[1]
PAGES: Mapping[str, Path] = {"en": Path("docs/related-work.md"), "zh": Path("docs/related-work.zh.md")}
MIXES = Path("docs/simulated/mixes.csv")
MEASURED = Path("docs/measured")
ON_XEN: Mapping[str, float | None] = {
    "e09-on-xen-swings": None, "e09-on-xen-night": None, "e09-on-xen-tides": None, "e09-on-xen": 2,
}  # fmt: skip
"""The mixes that policies met in on a real Xen, and of which level; the first level of the last is the first mix."""
MARKER = re.compile(r"(<!-- beside: (\w+) -->\n).*?(<!-- /beside -->)", re.DOTALL)
CALLED = re.compile(r"(\d+) ([^,)]+)")
"""What a sweep's name says that its levels are: mix (1 swings, 2 bursts)."""


def on_xen() -> Mapping[str, Kept]:
    """Return what is kept of the experiments that were measured."""
    found = {name: kept(name, PROJECT / MEASURED) for name in ON_XEN}
    return {name: had for name, had in found.items() if had}


def rewritten(page: str, mixes: pd.DataFrame, measured: Mapping[str, Kept], said: Phrases) -> str:
    """Return a page with its tables made anew of what is kept.

    Raises:
        KeyError: a marker that is none of these.

    """
    whole = mixes[(mixes["condition"] == "") & ~mixes["held_out"] & ~mixes["mix"].str.contains(IN_PARTS)]
    made: Mapping[str, Callable[[], str]] = {
        "policies": lambda: _policies(whole, said),
        "mixes": lambda: _mixes(whole, said),
        "losses": lambda: _losses(whole, said),
        "xen": lambda: _xen(measured, said) if measured else said.not_measured,
    }
    return MARKER.sub(lambda found: f"{found[1]}\n{made[found[2]]()}\n\n{found[3]}", page)


def short(mix: str) -> str:
    """Return a mix's name for the head of a narrow column."""
    return mix.partition(" (")[0].strip("`").removeprefix("e09-")


def _policies(mixes: pd.DataFrame, said: Phrases) -> str:
    reached = _by_mix(mixes).drop(index=_bounds(mixes))
    over = reached.div(reached.loc[STATIC], axis="columns")
    mean = np.exp(np.log(over).mean(axis="columns")).sort_values(ascending=False, kind="stable")
    good = (reached >= reached.max() * AS_GOOD).sum(axis="columns")
    others = [best_other(rows)[0] for _, rows in mixes.groupby("mix", sort=False)]
    least = mixes.groupby("label")["least_of_static"].min()
    rows = []
    for label, times in mean.items():
        ends = [(over.loc[label, mix], mix) for mix in (over.loc[label].idxmin(), over.loc[label].idxmax())]
        shown = [said.none if label == STATIC else f"{words.times(end)} ({short(mix)})" for end, mix in ends]
        first = said.none if label == OURS else str(others.count(str(label)))
        rows.append([f"`{label}`", words.times(times), *shown, str(good[label]), first, f"{least[label]:.2f}"])
    told = said.over.format(mixes["mix"].nunique())
    return f"{_table(said.policies, rows)}\n\n{told}{said.gap}{_source(mixes, said)}"


def _mixes(mixes: pd.DataFrame, said: Phrases) -> str:
    reached, bounds = _by_mix(mixes), _bounds(mixes)
    best = reached.drop(index=bounds).max()
    rows = [
        [f"`{label}`{said.bound if label in bounds else ''}",
         *(f"**{value:.3f}**" if label not in bounds and value >= best[mix] * AS_GOOD else f"{value:.3f}"
           for mix, value in reached.loc[label].items())]
        for label in reached.index
    ]  # fmt: skip
    return f"{_table([said.policy, *map(short, reached.columns)], rows)}\n\n{said.bold}{said.gap}{_source(mixes, said)}"


def _losses(mixes: pd.DataFrame, said: Phrases) -> str:
    behind, hurt = [], []
    for mix, rows in mixes.groupby("mix", sort=False):
        ours = rows.set_index("label").loc[OURS]
        other, best = best_other(rows)
        if ours["geometric_mean"] < best * AS_GOOD:
            behind.append(said.against.format(short(str(mix)), ours["geometric_mean"], other, best))
        if ours["least_of_static"] < LEAST:
            hurt.append(f"{short(str(mix))} ({ours['least_of_static']:.2f})")
    return "\n".join([
        said.behind.format(said.comma.join(behind) or said.nowhere),
        said.hurt.format(said.comma.join(hurt) or said.nowhere, LEAST),
    ])  # fmt: skip


def _xen(measured: Mapping[str, Kept], said: Phrases) -> str:
    """A table of policies by mixes; in brackets what is no more than the baseline shows against itself."""
    columns = {name: _of_mix(had, ON_XEN[name]) for name, had in measured.items()}
    labels = list(dict.fromkeys(label for rows in columns.values() for label in rows if label != OURS))
    body = [
        [f"`{label}`", *(_bracketed(rows[label]) if label in rows else said.none for rows in columns.values())]
        for label in (*labels, OURS)
    ]
    bands = [max(row["band"] for row in rows.values()) for rows in columns.values()]
    body.append([said.noise, *(words.deviation(band - 1) for band in bands)])
    body.append([said.blocks, *(str(max(row["n"] for row in rows.values())) for rows in columns.values())])
    head = [said.policy, *(_called(name, had.facts) for name, had in measured.items())]
    sources = said.comma.join(
        said.of.format(name, had.facts["dates"][-1], str(had.facts["commits"][-1])[:7])
        for name, had in measured.items()
    )
    return f"{_table(head, body)}\n\n{said.measured.format(sources)}"


def _of_mix(had: Kept, level: float | None) -> Mapping[str, Mapping[str, Any]]:
    """Return label → its ratio over all guests, in a mix."""
    rows = [row for row in had.rows if row["kind"] == "all"]
    return {str(row["label"]): row for row in rows if level is None or row["level"] == level}


def _called(name: str, facts: Mapping[str, Any]) -> str:
    """What a mix is called: as its level is, or its file."""
    level = ON_XEN[name]
    return name.removeprefix("e09-on-xen-") if level is None else dict(CALLED.findall(str(facts["axis"])))[f"{level:g}"]


def _bracketed(row: Mapping[str, Any]) -> str:
    """A ratio with its interval, if it has one; in brackets where it lies within the noise."""
    value = row["speedup"]
    shown = words.within(value, row["low"], row["high"]) if row["n"] >= ENOUGH else words.times(value)
    return f"({shown})" if 1 / row["band"] <= value <= row["band"] else shown


def _by_mix(mixes: pd.DataFrame) -> pd.DataFrame:
    """What each policy reached, a row a policy and a column a mix, in the order in which they are kept."""
    frame = mixes.pivot_table(index="label", columns="mix", values="geometric_mean")
    return frame.loc[list(dict.fromkeys(mixes["label"])), list(dict.fromkeys(mixes["mix"]))]


def _bounds(mixes: pd.DataFrame) -> list[str]:
    return list(dict.fromkeys(mixes.loc[mixes["bound"], "label"]))


def _table(head: list[str], rows: list[list[str]]) -> str:
    rule = f"|---|{'--:|' * (len(head) - 1)}"
    return "\n".join([f"| {' | '.join(head)} |", rule, *(f"| {' | '.join(row)} |" for row in rows)])


def _source(mixes: pd.DataFrame, said: Phrases) -> str:
    blocks = " / ".join(str(count) for count in sorted(mixes["blocks"].unique()))
    commits = ", ".join(sorted(mixes["commit"].astype(str).unique()))
    return said.simulated.format(blocks, ", ".join(sorted(mixes["date"].unique())), commits)


def main() -> None:
    """Write both pages anew."""
    mixes = read_mixes(PROJECT / MIXES)
    for language, path in PAGES.items():
        page = (PROJECT / path).read_text(encoding="utf-8")
        write_whole(PROJECT / path, rewritten(page, mixes, on_xen(), PHRASES[language]))


if __name__ == "__main__":
    command_line(__doc__).parse_args()
    main()
