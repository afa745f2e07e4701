"""The verdicts in words; every one is computed from an estimate, and none claims more than its interval holds."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from enum import StrEnum
from typing import Any

import numpy as np

from reports.language import ENGLISH, current, phrase
from reports.statistics import ALPHA, ENOUGH, Estimate, side

TIMES = "\N{MULTIPLICATION SIGN}"
DASH = "\N{EN DASH}"
INFINITE = "\N{INFINITY}"
MINUS = "\N{MINUS SIGN}"
MENTIONED = 6
"""Guests that a sentence names."""
RAISED = dict(zip("⁻⁰¹²³⁴⁵⁶⁷⁸⁹", "-0123456789", strict=True))
"""What an exponent is written with, and what it stands for."""
_RAISE = str.maketrans({plain: raised for raised, plain in RAISED.items()})


class Verdict(StrEnum):
    """What a speed-up and its interval say."""

    BETTER = "better"
    WORSE = "worse"
    NOISE = "within the noise"
    """The interval leaves out 1, yet lies no farther from it than the same policy from itself."""
    CHANCE = "may be chance"
    """The interval leaves out 1, yet among so many comparisons as are made one such is no surprise."""
    OPEN = "no difference shown"
    OBSERVATION = "observation"
    HELD = "never decided"
    """The policy gave no guest a target in any tick: what ran was no policy."""
    NOTHING = "no pair"


NO_RESULT = (Verdict.OBSERVATION, Verdict.HELD, Verdict.NOTHING)
"""Verdicts that are none."""
UNSHOWN = (Verdict.NOISE, Verdict.CHANCE, Verdict.OPEN)
"""Verdicts that no difference is shown."""
COUNTS = ("no", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten")


def verdict(row: Mapping[str, Any], *, name: str = "speedup", low: str = "low", high: str = "high") -> Verdict:
    """Judge one row of a table of speed-ups: only an interval that leaves out 1 is a difference.

    Where the row has the `band` of the A/A test the interval must leave out all of it: what the baseline shows against
    itself is no difference between policies. Where it has a p adjusted for a family of comparisons, `wilcoxon_p_holm`,
    the difference must hold there too.
    """
    if row["n"] == 0 or math.isnan(row[name]):
        return Verdict.NOTHING
    if row.get("undecided", 0) == 1:
        return Verdict.HELD
    if observations(row) < ENOUGH or math.isnan(row[low]):
        return Verdict.OBSERVATION
    if beyond := side(row[low], row[high], band(row)):
        if not row.get("wilcoxon_p_holm", 0) <= ALPHA:
            return Verdict.CHANCE
        return Verdict.BETTER if beyond > 0 else Verdict.WORSE
    return Verdict.NOISE if side(row[low], row[high]) else Verdict.OPEN


def observations(row: Mapping[str, Any]) -> int:
    """Return how many of the n pairs of a row count: of simulated blocks that are the same one does."""
    return int(row.get("observations", row["n"]))


def band(row: Mapping[str, Any]) -> float:
    """Return how many times the baseline differed from itself; 1 where that is not known, so that nothing is hidden."""
    found = float(row.get("band", math.nan))
    return 1.0 if math.isnan(found) else found


def times(value: float) -> str:
    """Return a speed-up for people: with two decimals and a multiplication sign."""
    if math.isnan(value):
        return DASH
    if math.isinf(value):
        return INFINITE
    near = round(value, 2) == 1 != round(value, 3)  # 0.995 is no 1.00
    return f"{value:.{0 if value >= 100 else 3 if near or 0 < value < 0.1 else 2}f}{TIMES}"


def interval(low: float, high: float, limits: Sequence[float] = ()) -> str:
    """Return an interval for people; a dash where the data allow none. Limits: what it is held against, besides 1."""
    if math.isnan(low) or math.isnan(high):
        return DASH
    return "[{}, {}]".format(*ends(low, high, limits))


def ends(low: float, high: float, limits: Sequence[float] = ()) -> tuple[str, str]:
    """Return the ends of an interval for people; dashes where there is none."""
    if math.isnan(low) or math.isnan(high):
        return DASH, DASH
    digits = _digits(low, high, limits)
    return f"{low:.{digits}f}", f"{high:.{digits}f}"


def _digits(low: float, high: float, limits: Sequence[float] = ()) -> int:
    """As many as an interval needs: one that leaves out 1 must not seem to touch it once rounded.

    Nor may an end seem to have reached a limit that it has not, or not to have left one that it has.
    """
    held = [limit for limit in limits if limit != 1 and math.isfinite(limit)]
    digits = 0 if high >= 100 else 3 if 0 < high < 0.1 else 2
    while digits < 4 and (
        round(low, digits) <= 1 < low
        or high < 1 <= round(high, digits)
        or any(np.sign(round(end, digits) - limit) != np.sign(end - limit) for end in (low, high) for limit in held)
    ):
        digits += 1
    return digits


def middle(value: float, low: float, high: float, limits: Sequence[float] = ()) -> str:
    """Return a speed-up with as many digits as its interval has: it must not seem to lie outside."""
    known = math.isfinite(value) and not math.isnan(low) and not math.isnan(high)
    return f"{value:.{_digits(low, high, limits)}f}{TIMES}" if known else times(value)


def within(value: float, low: float, high: float, limits: Sequence[float] = ()) -> str:
    """Return a speed-up and its interval."""
    return f"{middle(value, low, high, limits)} {interval(low, high, limits)}"


def estimate(row: Mapping[str, Any], limits: Sequence[float] = ()) -> str:
    """Return a speed-up with its interval and n; says so when it is only an observation."""
    if row["n"] == 0:
        return phrase("no pair of trials")
    n = f"n = {row['n']}"
    if (count := observations(row)) < row["n"]:
        n += phrase(", all the same, which is one observation") if count == 1 else phrase(", of which {} differ", count)
    elif row["n"] < ENOUGH:
        n += phrase(", an observation")
    return phrase("{} ({})", within(row["speedup"], row["low"], row["high"], limits).removesuffix(f" {DASH}"), n)


def about(found: Estimate, limits: Sequence[float] = ()) -> str:
    """Return an estimate of a speed-up with its interval and n."""
    row = {"speedup": found.median, "low": found.low, "high": found.high, "n": found.n}
    return estimate(row | {"observations": found.observations}, limits)


def number(value: float) -> str:
    """Return a number with three significant digits; a dash for unknown."""
    if math.isnan(value):
        return DASH
    if value == 0 or math.isinf(value):
        return "0" if value == 0 else INFINITE
    digits = max(0, 2 - math.floor(math.log10(abs(value))))
    if digits <= 4:
        return f"{value:,.{digits}f}".replace("-", MINUS)
    mantissa, exponent = f"{value:.2e}".split("e")
    return f"{mantissa.replace('-', MINUS)}{TIMES}10{str(int(exponent)).translate(_RAISE)}"


def points(value: float) -> str:
    """Return percentage points with their sign; a dash for unknown."""
    return DASH if math.isnan(value) else f"{value:+.2f}".replace("-", MINUS)


def percent(share: float) -> str:
    """Return a share as a percentage."""
    return DASH if math.isnan(share) else f"{100 * share:.0f} %"


def deviation(share: float) -> str:
    """Return how far the same policy lay from itself, rounded up, for it is said to be at most that."""
    if math.isnan(share):
        return phrase("not known")
    if share >= 1:
        return times(1 + share)
    digits = 2 if share < 0.01 else 1
    return f"{math.ceil(100 * share * 10**digits - 1e-6) / 10**digits:.{digits}f} %"


def at_level(level: float) -> str:
    """Return ` at` and a level of a sweep; nothing where nothing is varied."""
    return "" if math.isnan(level) else phrase(" at {:g}", level)


def listed(items: Sequence[str]) -> str:
    """Return items as a sentence lists them."""
    return items[0] if len(items) == 1 else phrase("{} and {}", comma().join(items[:-1]), items[-1]) if items else ""


def comma() -> str:
    """Return what parts the items of a list."""
    return ", " if current() == ENGLISH else phrase(",")


def semicolon() -> str:
    """Return what parts longer items."""
    return "; " if current() == ENGLISH else phrase(";")


def some(parts: Sequence[str], table: str) -> str:
    """List the first few and count the rest, which a table of the report has with them."""
    more = len(parts) - MENTIONED
    if more <= 0:
        return listed(parts)
    said = comma().join(parts[:MENTIONED])
    return phrase("{} and {} more in tables/{}.csv", said, more, table)


def counted(count: int, thing: str, things: str = "") -> str:
    """Return a count with its noun, of which only English has two forms."""
    if current() == ENGLISH:
        return f"{count} {thing if count == 1 else things or f'{thing}s'}"
    return phrase(f"{{}} {thing}", count)
