"""Verdicts that hold together: every p of a report adjusted for how many questions of its kind the report asks."""

from __future__ import annotations

from collections.abc import Collection, Sequence

import numpy as np
import pandas as pd

from reports import statistics

COLUMNS = ("wilcoxon_p_holm", "comparisons")


def adjusted(frames: Sequence[pd.DataFrame], contestants: Sequence[Collection[str]]) -> list[pd.DataFrame]:
    """Return tables of one family with `wilcoxon_p_holm` (Holm 1979) and `comparisons`, the size of the family.

    A row counts if its label is one of the table's contestants and it has pairs at all: one with too few of them was
    asked about too. The others, such as bounds that nobody could run, have no adjusted p.
    """
    asked = [_asked(frame, labels) for frame, labels in zip(frames, contestants, strict=True)]
    every = [np.where(mine, frame["wilcoxon_p"], np.nan) if len(frame) else np.empty(0)
             for frame, mine in zip(frames, asked, strict=True)]  # fmt: skip
    size = int(sum(mine.sum() for mine in asked))
    held = np.asarray(statistics.holm(np.concatenate([np.empty(0), *every]).tolist(), size), dtype=float)
    ends = np.cumsum([len(frame) for frame in frames])
    return [
        frame.assign(wilcoxon_p_holm=held[end - len(frame) : end], comparisons=size) if len(frame) else frame
        for frame, end in zip(frames, ends, strict=True)
    ]


def _asked(frame: pd.DataFrame, labels: Collection[str]) -> np.ndarray[tuple[int], np.dtype[np.bool_]]:
    if not len(frame):
        return np.empty(0, dtype=bool)
    return np.asarray(frame["label"].isin(list(labels)) & frame["n"].gt(0), dtype=bool)
