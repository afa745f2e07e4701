"""The figures beside the words on related work are those that are kept, and the words hold of the figures."""
# ruff: noqa: RUF001 - the pages have signs of their own for times

from __future__ import annotations

import math
import re
from collections import Counter

import pandas as pd
import pytest

from docs import beside
from docs.marks import Kept, Row, kept
from docs.phrases import PHRASES
from docs.reached import IN_PARTS, best_other, read_mixes
from harness.policies import names
from reports import words

PAGE = "".join(f"<!-- beside: {kind} -->\nold\n<!-- /beside -->\n" for kind in ("policies", "mixes", "losses", "xen"))


def row(mix: str, label: str, mean: float, *, least: float = 1.0, bound: bool = False) -> dict[str, object]:
    return {
        "mix": mix, "held_out": False, "condition": "", "label": label, "bound": bound, "geometric_mean": mean,
        "least_of_static": least, "blocks": 6, "date": "2026-11-27", "commit": "0123456",
    }  # fmt: skip


MIXES = pd.DataFrame([
    row("`e09-a`", "static", 0.4), row("`e09-a`", "mom", 0.2, least=0.5), row("`e09-a`", "ballast", 0.8),
    row("`e09-a`", "oracle", 0.9, bound=True),
    row("b (`e09-x` at 1)", "static", 0.4), row("b (`e09-x` at 1)", "mom", 0.8),
    row("b (`e09-x` at 1)", "ballast", 0.6, least=0.7), row("b (`e09-x` at 1)", "oracle", 0.9, bound=True),
])  # fmt: skip


def measured(*ratios: tuple[str, float, float, float], n: int = 1) -> Kept:
    """What is kept of a measurement: label, level, ratio, band."""
    rows: list[Row] = [
        {"label": a, "level": b, "speedup": c, "band": d, "kind": "all", "n": n, "low": c - 0.1, "high": c + 0.1}
        for a, b, c, d in ratios
    ]
    facts = {"axis": "mix (1 calm, 2 wild)", "dates": ["2026-11-27"], "commits": ["0123456789"]}
    return Kept(facts=facts, rows=rows, simulated=[])


@pytest.fixture(name="mixes", scope="module")
def _mixes() -> pd.DataFrame:
    """What is kept of the mixes, as the chapter quotes it."""
    kept_rows = read_mixes(beside.PROJECT / beside.MIXES)
    return kept_rows[(kept_rows["condition"] == "") & ~kept_rows["held_out"] & ~kept_rows["mix"].str.contains(IN_PARTS)]


@pytest.fixture(name="by_mix", scope="module")
def _by_mix(mixes: pd.DataFrame) -> pd.DataFrame:
    """What each policy reached, a row a policy and a column a mix."""
    frame = mixes.pivot_table(index="label", columns="mix", values="geometric_mean")
    return frame.rename(columns=beside.short)


@pytest.mark.parametrize("language", PHRASES)
def test_a_page_has_the_figures_that_are_kept(language: str) -> None:
    page = (beside.PROJECT / beside.PAGES[language]).read_text(encoding="utf-8")
    assert re.findall(r"<!-- beside: (\w+) -->", page) == ["policies", "mixes", "losses", "xen"]
    every = read_mixes(beside.PROJECT / beside.MIXES)
    new = beside.rewritten(page, every, beside.on_xen(), PHRASES[language])
    assert new == page, "write it anew with: .venv/bin/python docs/beside.py"


@pytest.mark.parametrize("language", PHRASES)
def test_losing_is_shown_as_openly_as_winning(language: str) -> None:
    page = beside.rewritten(PAGE, MIXES, {}, PHRASES[language])
    assert "\nold\n" not in page
    assert "| `ballast` | 1.73× | 1.50× (b) | 2.00× (a) | 1 | – | 0.70 |" in page
    assert "| `mom` | 1.00× | 0.50× (a) | 2.00× (b) | 1 | 1 | 0.50 |" in page
    assert "| `mom` | 0.200 | **0.800** |" in page
    assert "| `ballast` | **0.800** | 0.600 |" in page
    assert re.search(r"b ?\(0\.600.*`mom`.*\)", page)
    assert "b (0.70)" in page
    assert not re.search(r"a ?\(", re.sub(r"(?m)^\|.*$", "", page)), "nothing is lost in a"


def test_a_bound_is_nobodys_rival() -> None:
    page = beside.rewritten(PAGE, MIXES, {}, PHRASES["en"])
    assert "| `oracle` (bound) | 0.900 | 0.900 |" in page
    assert page.count("`oracle`") == 1


def test_what_lies_within_the_noise_is_in_brackets() -> None:
    levels = measured(
        ("ballast", 1, 1.45, 1.01), ("ballast", 2, 0.97, 1.06), ("mom", 1, 0.6, 1.01), ("mom", 2, 0.9, 1.06)
    )
    night = measured(("ballast", math.nan, 1.4, 1.01), n=6)
    page = beside.rewritten(PAGE, MIXES, {"e09-on-xen-night": night, "e09-on-xen": levels}, PHRASES["en"])
    assert "| policy | night | wild |" in page
    assert "| `mom` | – | 0.90× |\n| `ballast` | 1.40× [1.30, 1.50] | (0.97×) |" in page
    assert "| `static` against itself | 1.0 % | 6.0 % |\n| blocks | 6 | 1 |" in page
    assert "`e09-on-xen-night` (2026-11-27, commit 0123456), `e09-on-xen` (2026" in page


def test_what_is_not_measured_says_so_and_a_marker_of_no_kind_is_an_error() -> None:
    assert "Not measured yet." in beside.rewritten(PAGE, MIXES, {}, PHRASES["en"])
    with pytest.raises(KeyError, match="oddly"):
        beside.rewritten("<!-- beside: oddly -->\n<!-- /beside -->", MIXES, {}, PHRASES["en"])


def test_every_policy_that_anybody_can_run_is_in_the_chapter() -> None:
    page = (beside.PROJECT / beside.PAGES["en"]).read_text(encoding="utf-8")
    named = set(re.findall(r"`([\w-]+)`", page))
    assert set(names()) - {"unconstrained"} <= named


def test_what_the_chapter_says_in_words_of_the_mixes_holds_of_them(mixes: pd.DataFrame, by_mix: pd.DataFrame) -> None:
    static = by_mix.loc["static"]
    assert (by_mix.loc["self-balloon"] < static).mean() > 0.5
    assert by_mix.loc["two-state", "cache"] < static["cache"] < by_mix.loc["self-balloon", "cache"]
    assert by_mix.loc["ghost"].tolist() == pytest.approx(static.tolist(), rel=0.001), "in a full host it moves nothing"
    best = {beside.short(str(mix)): best_other(rows)[0] for mix, rows in mixes.groupby("mix")}
    assert {best[mix] for mix in ("night", "shares", "leak")} == {"miss-ratio"}
    assert by_mix["bursts"].idxmin() == "miss-ratio"
    assert Counter(best.values()).most_common(1)[0][0] == "dynamic-baseline"
    over = by_mix.drop(index=["informed", "oracle"]).div(static).prod(axis="columns")
    assert set(over.nsmallest(2).index) == {"mom", "proxmox"}
    assert over.idxmax() == "ballast"


def test_what_the_chapter_says_in_words_of_xen_holds_of_what_was_measured() -> None:
    found = {
        name: {str(row["label"]): row for row in had.rows if row["kind"] == "all" and row["level"] != 1}
        for name, had in beside.on_xen().items()
    }
    bursts = found.pop("e09-on-xen")
    assert all(1 / row["band"] <= row["speedup"] <= row["band"] for row in bursts.values())
    for rows in found.values():
        assert max(rows, key=lambda label, rows=rows: rows[label]["speedup"]) == "ballast"
    swings = found["e09-on-xen-swings"]
    assert max(swings[label]["high"] for label in ("two-state", "two-state repaired")) < 1
    for mix in (found["e09-on-xen-night"], found["e09-on-xen-tides"]):
        assert min(mix[label]["low"] for label in ("two-state", "two-state repaired", "price")) > 1
    taxed = kept("e10-tax", beside.PROJECT / beside.MEASURED)
    assert taxed is not None
    assert all(row["speedup"] < 1.3 for row in taxed.rows if row["headline"]), "less than ESX is reported to gain"


def test_what_readme_says_in_words_of_xen_holds_of_what_was_measured() -> None:
    page = " ".join((beside.PROJECT / "README.md").read_text(encoding="utf-8").split())
    said = re.search(r"`ballast` gets (\S+ \[\S+ \S+\]) as much done as the static split", page)
    assert said
    swings = kept("e09-on-xen-swings", beside.PROJECT / beside.MEASURED)
    assert swings is not None
    ours = next(row for row in swings.rows if row["kind"] == "all" and row["label"] == "ballast")
    assert said[1] == words.within(ours["speedup"], ours["low"], ours["high"])
    assert ours["n"] == 6
    assert [text.split(":")[0] for text in swings.facts["verdicts"]] == ["Supported"], "over each of the six others"
    at_night = re.search(r"beside guests that claim and do not use, (\S+ \[\S+ \S+\]), and more than each of the", page)
    night = kept("e09-on-xen-night", beside.PROJECT / beside.MEASURED)
    assert at_night
    assert night is not None
    ours = next(row for row in night.rows if row["kind"] == "all" and row["label"] == "ballast")
    assert at_night[1] == words.within(ours["speedup"], ours["low"], ours["high"])
    assert [text.split(":")[0] for text in night.facts["verdicts"]] == ["Supported"], "over each of the fourteen others"
    out_of_phase = re.search(
        r"demands rise out of phase, (\S+ \[\S+ \S+\]), and again more than each of the fourteen", page
    )
    tides = kept("e09-on-xen-tides", beside.PROJECT / beside.MEASURED)
    assert out_of_phase
    assert tides is not None
    over = {str(row["label"]): row for row in tides.rows if row["kind"] == "all"}
    ours = over["ballast"]
    assert out_of_phase[1] == words.within(ours["speedup"], ours["low"], ours["high"])
    assert len(over) == 14, "and static"
    assert [text.split(":")[0] for text in tides.facts["verdicts"]] == ["Supported"], "over each of the fourteen others"
