"""Timelines to hover over: what a guest had, used and had on its swap disk at each tick, as a chart of Plotly's."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from itertools import groupby
from typing import Any

import numpy as np
import pandas as pd

from reports import style
from reports.language import phrase
from reports.study import Study

MIB = 1024.0
HEIGHT_PX = 130
"""Of one guest's row."""
GAP = 0.03
"""Between panels, as a share of the chart."""
STRIP = (-0.06, -0.01)
"""Where the strip of states lies, under a panel, as shares of its height."""
STRIP_PX = 10
"""Room for it above the numbers of the last axis."""


def chart(
    study: Study, labels: Sequence[str], guests: Sequence[str], trials: Mapping[str, pd.DataFrame]
) -> tuple[list[dict[str, Any]], dict[str, Any], dict[str, Any]]:
    """Return traces, layout and settings: a column a policy, a row a guest, all columns with the same axes."""
    traces: list[dict[str, Any]] = []
    layout: dict[str, Any] = {
        "height": 90 + HEIGHT_PX * len(guests), "margin": {"l": 70, "r": 10, "t": 60, "b": 45},
        "legend": {"orientation": "h", "y": 1.0, "yanchor": "top", "yref": "container"}, "hovermode": "x unified",
        "font": {"size": 11, "color": style.INK}, "plot_bgcolor": style.PAPER, "annotations": [], "shapes": [],
    }  # fmt: skip
    looks = style.states(sorted({state for label in labels for state in trials[label]["state"]} - {""}))
    for row, guest in enumerate(guests):
        for column, label in enumerate(labels):
            number = _axis(row * len(labels) + column)
            left, right = _share(column, len(labels))
            bottom, top = _share(len(guests) - 1 - row, len(guests))
            last = row == len(guests) - 1
            layout[f"xaxis{number}"] = {
                "domain": [left, right], "anchor": f"y{number}", "showticklabels": last,
                "title": {"text": phrase("time in the trial, s") if last else ""}, "gridcolor": style.RULE,
                "ticks": "outside", "ticklen": STRIP_PX, "tickcolor": style.PAPER,
                "unifiedhovertitle": {"text": f"{plain(style.shortened(guest, 16))}, %{{x}} s"},
            }  # fmt: skip
            layout[f"yaxis{number}"] = {
                "domain": [bottom, top], "anchor": f"x{number}", "rangemode": "tozero", "gridcolor": style.RULE,
                "showticklabels": column == 0,
                "title": {"text": f"{plain(style.shortened(guest, 16))}, MiB" if column == 0 else ""},
            }  # fmt: skip
            if number:
                layout[f"xaxis{number}"]["matches"] = "x"
            if column:
                layout[f"yaxis{number}"]["matches"] = f"y{_axis(row * len(labels))}"
            if row == 0:
                layout["annotations"].append({
                    "text": f"<b>{plain(style.shortened(label, 72 // len(labels)))}</b>", "showarrow": False,
                    "x": (left + right) / 2, "y": 1.0, "xref": "paper", "yref": "paper", "yanchor": "bottom",
                })  # fmt: skip
            rows = trials[label][trials[label]["guest"] == guest]
            layout["shapes"] += _states(rows, number, looks)
            traces += _guest(rows, number, first=not number)
    traces += _legend(looks)
    return traces, layout, {"displayModeBar": False, "responsive": True}


def plain(text: str) -> str:
    """Return text as Plotly shows it to the letter: it reads some tags of HTML in every text."""
    return text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")


def _axis(place: int) -> str:
    """What the name of an axis ends in: the first has no number."""
    return str(place + 1) if place else ""


def _share(place: int, count: int) -> tuple[float, float]:
    width = (1 - GAP * (count - 1)) / count
    start = place * (width + GAP)
    return start, min(1.0, start + width)


def _guest(rows: pd.DataFrame, number: str, *, first: bool) -> Iterator[dict[str, Any]]:
    used = (rows["mem_total_kib"] - rows["mem_free_kib"] - rows["buffers_kib"] - rows["cached_kib"]) / MIB
    swapped = (rows["swap_total_kib"] - rows["swap_free_kib"]) / MIB
    states = [plain(state) if state else phrase("no state") for state in rows["state"]]
    lines = (
        (phrase("used"), used, {"stackgroup": f"memory{number}", "fillcolor": style.USED, "line": {"width": 0}}),
        (
            phrase("on swap"),
            swapped,
            {"stackgroup": f"memory{number}", "fillcolor": style.SWAPPED, "line": {"width": 0}},
        ),
        (
            phrase("allocated"),
            rows["current_kib"] / MIB,
            {
                "line": {"color": style.ALLOCATED, "width": 1.5, "shape": "hv"},
                "text": states,
                "hovertemplate": "%{y:.0f} MiB, %{text}",
            },
        ),
    )
    for name, values, look in lines:
        yield {
            "type": "scatter", "mode": "lines", "name": name, "legendgroup": name, "showlegend": first,
            "x": _numbers(rows["trial_s"]), "y": _numbers(values), "xaxis": f"x{number}", "yaxis": f"y{number}",
            "hovertemplate": "%{y:.0f} MiB", **look,
        }  # fmt: skip


def _legend(looks: Mapping[str, tuple[str, str]]) -> Iterator[dict[str, Any]]:
    """What the colours of the strip stand for: traces without a point."""
    for state, (fill, _) in looks.items():
        yield {
            "type": "scatter", "mode": "markers", "name": plain(state), "x": [None], "y": [None], "hoverinfo": "skip",
            "marker": {"symbol": "square", "size": 10, "color": fill},
        }  # fmt: skip


def _states(rows: pd.DataFrame, number: str, looks: Mapping[str, tuple[str, str]]) -> Iterator[dict[str, Any]]:
    """A strip under a panel: the state that the policy was in."""
    ticks = rows.drop_duplicates("tick")[["trial_s", "state"]]
    ends = [*ticks["trial_s"], *ticks["trial_s"].tail(1)]
    start = 0
    for state, same in groupby(ticks["state"]):
        end = start + len(list(same))
        if state:
            yield {
                "type": "rect", "xref": f"x{number}", "yref": f"y{number} domain", "x0": float(ends[start]),
                "x1": float(ends[end]), "y0": STRIP[0], "y1": STRIP[1], "fillcolor": looks[state][0],
                "line": {"width": 0}, "name": state,
            }  # fmt: skip
        start = end


def _numbers(values: pd.Series[float]) -> list[float | None]:
    """A tenth is as exact as a chart can show; unknown is null."""
    return [None if np.isnan(value) else round(float(value), 1) for value in values]
