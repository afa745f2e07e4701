"""`scaling`: what deciding costs the arbiter, by the number of guests."""

from __future__ import annotations

import numpy as np
import pandas as pd
from matplotlib.ticker import FuncFormatter

from reports import figures, style, words
from reports.document import Container, Picture, Table
from reports.findings import Findings
from reports.language import phrase, phrases
from reports.special.verdict import Special, judged
from reports.summary import records

LARGE = 50
"""Guests from which on the exponent is fitted: below, what a tick costs anyway outweighs what a guest costs."""
LINEARITHMIC = 1.2
"""An exponent up to this is n·log n: log n itself grows like n^0.13 between 50 and 10,000."""
MANY, SHARE = 64, 0.01
"""Up to so many guests deciding may take this share of one processor."""


def special(found: Findings) -> Special:
    """Return the figure, the exponents, and whether deciding is O(n log n) and cheap."""
    study, rows = found.study, costs(found)
    fits = exponents(rows)
    small = rows[rows["guests"] <= MANY]
    steep = fits[fits["exponent"] > LINEARITHMIC]
    dear = small[small["share"] > SHARE]
    known = fits["exponent"].notna().all() and len(small) > 0 and len(fits) > 0
    most = rows.sort_values("share").iloc[-1] if len(rows) else None
    reason = phrase("no tick has a time.") if most is None else (
        phrase("decide time grows like n to the {:.2f} to {:.2f} (n log n: up to {:g}), fitted from {} "
"guests on; up to {} guests it takes at most {:.2f} % of one processor, and at {:,} guests "
"{:.1f} % ({}).", fits["exponent"].min(), fits["exponent"].max(), LINEARITHMIC, LARGE, MANY, 100 * small["share"].max(),
            int(most["guests"]), 100 * most["share"], most["label"])
        + (phrase(" Steeper: {}.", words.listed(list(steep['label']))) if len(steep) else "")
        + (phrase(" Above {:g} %: {}.", 100 * SHARE, words.listed(sorted(set(dear['label'])))) if len(dear) else "")
    )  # fmt: skip

    def draw(container: Container) -> None:
        axes = container.subplots()
        axes.set(xscale="log", yscale="log", xlabel=phrase("guests"), ylabel=phrase("time to decide, s"))
        for label, look in style.looks(study.labels).items():
            mine = rows[rows["label"] == label]
            axes.plot(mine["guests"], mine["decide_s"], markersize=4.5, **look)
            axes.vlines(mine["guests"], mine["least_s"], mine["most_s"], color=look["color"], linewidth=1, alpha=0.6)
        n = np.array(sorted(rows["guests"].unique()), dtype=float)
        guide = n * np.log(n)
        axes.plot(
            n,
            guide * rows["decide_s"].max() / guide[-1],
            color=style.QUIET,
            linestyle=(0, (1, 2)),
            label=phrase("n log n"),
        )
        period = rows["period_s"].iloc[0]
        axes.axhline(SHARE * period, color="#b00020", linewidth=0.8, label=phrase("{:g} % of a processor", 100 * SHARE))
        axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:,.0f}"))
        axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
        container.legend(loc="outside right upper")

    return Special(
        claim=judged(bool(not len(steep) and not len(dear)) if known else None),
        reason=reason,
        blocks=[
            Picture(
                name=f"scaling{figures.suffix(study)}",
                caption=phrase(
                    "Time of policy and governor for one decision, on the machine that ran the arbiter: median "
                    "over the ticks of all trials, and from the 10th to the 90th percentile, by guests; both "
                    "axes logarithmic. Dotted: n log n. Red: 1 % of one processor at the period of a tick."
                ),
                draw=draw,
                height_in=3.2,
            ),
            Table(
                name=f"scaling{figures.suffix(study)}",
                caption=phrase(
                    "Exponent of the decide time by guests from {} on, and its share of one processor.", LARGE
                ),
                head=[*phrases("policy", "exponent"), *(f"{int(n):,}" for n in sorted(rows["guests"].unique()))],
                rows=[_line(row, rows) for row in records(fits)],
                aligns="lr" + "r" * rows["guests"].nunique(),
            ),
        ],
        frames={"scaling": rows, "exponents": fits},
    )


def costs(found: Findings) -> pd.DataFrame:
    """Return one row a label and number of guests: time to decide, and its share of the period."""
    study = found.study
    period = float(study.experiment("period_s") or np.nan)
    ticks = [
        (line["label"], len(line["view"]["guests"]), line["timing"]["decide_s"])
        for line in study.decisions()
        if line["tick"] > 1 and line["timing"]["decide_s"] is not None  # the first tick also warms caches
    ]
    frame = pd.DataFrame(ticks, columns=["label", "guests", "decide_s"])
    times = frame.groupby(["label", "guests"])["decide_s"]
    rows = times.agg(decide_s="median", least_s=_tenth, most_s=_ninetieth, ticks="count").reset_index()
    rows = rows.assign(period_s=period, share=rows["decide_s"] / period)
    rank = {label: place for place, label in enumerate(study.labels)}
    rows = rows.sort_values(
        ["label", "guests"], key=lambda column: column.map(rank) if column.name == "label" else column
    )
    return rows.assign(experiment=study.name, backend=study.backend).reset_index(drop=True)


def exponents(rows: pd.DataFrame) -> pd.DataFrame:
    """Return one row a label: the slope of log time over log guests from `LARGE` on; NaN with fewer than two points."""
    found = []
    for label, mine in rows.groupby("label", sort=False):
        large = mine[mine["guests"] >= LARGE]
        slope = np.nan
        if len(large) > 1:
            slope = float(np.polyfit(np.log(large["guests"]), np.log(large["decide_s"]), 1)[0])
        found.append({"label": label, "exponent": slope, "points": len(large)})
    return pd.DataFrame(found, columns=["label", "exponent", "points"])


def _line(row: dict[str, float], rows: pd.DataFrame) -> list[str]:
    mine = rows[rows["label"] == row["label"]].set_index("guests")["share"]
    shares = [f"{100 * mine[n]:.2g} %" if n in mine else words.DASH for n in sorted(rows["guests"].unique())]
    return [str(row["label"]), words.number(row["exponent"]), *shares]


def _tenth(values: pd.Series[float]) -> float:
    return float(values.quantile(0.1))


def _ninetieth(values: pd.Series[float]) -> float:
    return float(values.quantile(0.9))
