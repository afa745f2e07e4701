"""How well the lab repeats: what page one says of the A/A test, and its table."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from reports import figures, noise, printed, words
from reports.document import Table
from reports.findings import Findings
from reports.language import phrase, phrases
from reports.summary import records


def sentence(found: Findings) -> str:
    """Say by how much the baseline differed from itself, guest by guest, or that this is not known."""
    study, rows = found.study, found.noise
    if not len(rows):
        if study.backend == "simulator":
            return phrase("Simulated: the same seed gives the same numbers again, so no policy had to run twice.")
        return phrase(
            "Not known: no policy ran twice in a block, so nothing tells how far one lies from itself "
            "here. Intervals are held against 1 alone."
        )
    count = sum(noise.bands(part).n for part in study.parts)
    label, blocks = noise.repeated(study), words.counted(study.blocks, "block")
    if not count:
        return phrase(
            "Not known: {} ran twice in a block, but nowhere did all guests give their numbers both times.", label
        )
    heads = rows[rows["headline"]].groupby("guest", sort=False)["largest_deviation"].max()
    each = words.some([f"{guest} {words.deviation(share)}" for guest, share in heads.items()], "repeatability")
    where = (
        phrase("in each of {}", blocks)
        if count == study.blocks
        else phrase("to all its numbers in {} of {}", count, blocks)
    )
    return phrase(
        "{} ran twice {}: headline metrics differ by at most {} ({}). Nothing within what the same "
        "policy shows against itself is called better or worse.",
        label,
        where,
        words.deviation(heads.max()),
        each,
    )


def _band(low: float, high: float) -> str:
    """A band, with digits enough for a lab that repeats to a part in ten thousand."""
    return f"[{low:.4f}, {high:.4f}]" if high < 2 else words.interval(low, high)


def _what(row: Mapping[str, Any]) -> tuple[str, str]:
    """Whose number it is, and which: names, but for the row of all guests."""
    whose, metric = row["guest"], row["metric"]
    return (phrase(whose), phrase(metric)) if whose == noise.ALL else (whose, metric)


def table(found: Findings) -> Table:
    """Return how far the baseline lay from itself, guest by guest and metric by metric."""
    rows = [
        [
            *_what(row), str(row["n"]), words.deviation(row["largest_deviation"]),
            words.deviation(row["median_deviation"]), _band(row["band_low"], row["band_high"]),
        ]
        for row in records(found.noise)
    ]  # fmt: skip
    label = noise.repeated(found.study)
    return printed.by_level(
        found,
        found.noise,
        Table(
            name=f"repeatability{figures.suffix(found.study)}",
            caption=phrase(
                "The A/A test: {} ran twice in a block, with the same seed, and this is how far its second "
                "trial lay from its first. Deviation: max(r, 1/r) - 1 of their ratio r. Band: [1/b, b] with "
                "b the largest such ratio, up or down, of the n blocks; the range that was seen, not an "
                "interval of confidence, and it grows with n. A block with a failed trial gives no pair.",
                label,
            ),
            head=phrases("guest", "metric", "n", "largest deviation", "median", "band"),
            rows=rows,
            aligns="llrrrr",
        ),
    )
