"""The View contract, figure by figure: what JSON may say of a guest, and how its columns are written down.

Read strictly: what is not as promised is refused with its place, and what is not known is null or absent, never 0.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

LARGEST = 2.0**40
"""Above this no figure is believed: 1 PiB in KiB, so that sums over 8192 guests stay exact integers in float64."""
LONGEST_CURVE = 4096
"""Points of one histogram; the multi-generational LRU gives tens, a swap trace hundreds."""
LONGEST_NAME = 255
DEFAULT_SHARES = 1000.0
Curve = tuple[tuple[float, float], ...]
"""Pairs: `(age_s, kib)` of a page-age histogram, `(depth_kib, kib_per_s)` of ghost returns."""
FloatArray = npt.NDArray[np.float64]


class ViewError(ValueError):
    """A view that cannot be read; the message names the place in it and the remedy."""


def show(value: object) -> str:
    """A value in an error message, cut short."""
    text = "nothing" if value is None else repr(value)
    return text if len(text) <= 40 else text[:37] + "…"


def mapping(value: object, where: str) -> Mapping[str, Any]:
    """An object; a ViewError for anything else."""
    if not isinstance(value, Mapping):
        raise ViewError(f"{where}: expected an object, found {show(value)}.")
    return value


def name(value: object, where: str) -> str:
    """The name of a guest."""
    if not isinstance(value, str) or not value.strip() or len(value) > LONGEST_NAME or not value.isprintable():
        raise ViewError(f"{where}: expected a printable name of 1 to {LONGEST_NAME} characters, found {show(value)}.")
    return value


def number(value: object, where: str) -> float:
    """A figure; NaN where it is not known."""
    if value is None:
        return math.nan
    if isinstance(value, int | float) and not isinstance(value, bool) and 0 <= value <= LARGEST:
        return float(value)
    raise ViewError(f"{where}: expected a number from 0 to 2^40, or null when it is not known; found {show(value)}.")


def cell(guest: Mapping[str, Any], column: str, i: int) -> float:
    """One guest's figure. Shares have a default; bounds must not cross."""
    where = f"guests[{i}].{column}"
    if column == "paused":
        return _flag(guest.get(column), where)
    figure = number(guest.get(column), where)
    if column == "shares":
        if figure == 0:
            raise ViewError(f"{where}: must be above 0; the default is {DEFAULT_SHARES:.0f}.")
        return DEFAULT_SHARES if math.isnan(figure) else figure
    if column == "max_kib" and figure < number(guest.get("min_kib"), f"guests[{i}].min_kib"):
        raise ViewError(f"{where}: {figure:.0f} is below min_kib. Raise max_kib or lower min_kib.")
    return figure


def _flag(value: object, where: str) -> float:
    if value is None:
        return math.nan
    if isinstance(value, bool):
        return float(value)
    raise ViewError(f"{where}: expected true, false, or null when it is not known; found {show(value)}.")


def curve(value: object, where: str) -> Curve | None:
    """Pairs of numbers; None where there are none."""
    if value is None:
        return None
    if not isinstance(value, Sequence) or isinstance(value, str) or len(value) > LONGEST_CURVE:
        raise ViewError(f"{where}: expected a list of at most {LONGEST_CURVE} pairs of numbers, found {show(value)}.")
    return tuple(_point(point, f"{where}[{i}]") for i, point in enumerate(value))


def _point(value: object, where: str) -> tuple[float, float]:
    if not isinstance(value, Sequence) or isinstance(value, str) or len(value) != 2 or None in value:
        raise ViewError(f"{where}: expected a pair of numbers, found {show(value)}.")
    return number(value[0], where), number(value[1], where)


def column_of_json(name: str, lacks: bool, column: FloatArray) -> list[float | None]:
    """A column as JSON has it: sizes as whole KiB, `paused` as true or false, null for NaN."""
    values: list[float] = column.tolist()
    if lacks:
        return [None if math.isnan(value) else _json_of(name, value) for value in values]
    if name == "paused":
        return [value > 0 for value in values]
    if name.endswith("_kib"):
        values = np.rint(column).astype(np.int64).tolist()
    return list(values)


def _json_of(name: str, value: float) -> float | int | bool:
    return value > 0 if name == "paused" else round(value) if name.endswith("_kib") else value


def plain(name: str, value: float) -> float | int | None:
    """A figure of the host as JSON has it; null for one that is not known."""
    return _json_of(name, float(value)) if math.isfinite(value) else None
