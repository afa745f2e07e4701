"""The A/A test in a report: what the same policy shows against itself is no difference between policies."""

from __future__ import annotations

import csv
import math
import shutil
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from matplotlib.colors import to_hex

import reports
from reports import answers, claims, content, lab, noise, printed, style, words
from reports.document import Paragraph, Picture, Table
from reports.findings import Findings
from reports.special import asked, bandwidth, collapse, knee, measure, pareto, twins
from reports.study import ReportError, studies
from reports.words import Verdict
from tests.unit import synthetic_run as synthetic

TWICE = ((1.01, 1.0), (0.98, 1.004), (1.0, 0.99))
"""What the second trial of `static` reached over the first in blocks 1, 2, 3, and so on: for g1 and g2."""
G1, G2 = 1 / 0.98, 1 / 0.99
"""The farthest from 1 that each guest's ratios lie, up or down."""
MEAN = 1 / math.sqrt(0.98 * 1.004)
"""The same of the geometric mean over both: farther than √1.01 = 1.0050 and 1/√0.99 = 1.0050."""
AGAIN = "static (again)"


def findings(path: Path, gains: Mapping[str, tuple[float, float]], **changes: object) -> Findings:
    """The findings of nine exact blocks, or as many as said, with `static` twice in each."""
    given: dict[str, object] = {
        "blocks": 9,
        "repeats": TWICE,
        "steady": True,
        "backend": "xen",
        "gains": {"static": (1, 1), **gains},
    }
    (study,) = studies([synthetic.write_run(path, **(given | changes)).path])  # type: ignore[arg-type]
    return Findings.of(study)


def setting(**keys: object) -> dict[str, object]:
    return dict(synthetic.manifest()["experiment"]) | keys  # type: ignore[call-overload,no-any-return]


def said(found: Findings) -> dict[str, str]:
    document = content.document([found], [asked(found)])
    return {block.lead: block.text for block in document.blocks if isinstance(block, Paragraph) and block.lead}


def test_the_band_reaches_as_far_as_the_ratio_ever_lay_from_one(tmp_path: Path) -> None:
    bands = noise.bands(findings(tmp_path / "run", {}).study)
    assert bands.guest("g1", "passes_per_s") == pytest.approx(G1)
    assert bands.guest("g2", "build_s") == pytest.approx(G2), "a time: less is more"
    assert (bands.mean, bands.widest, bands.n) == (pytest.approx(MEAN), pytest.approx(G1), 9)


def test_the_table_of_the_noise_has_the_largest_and_the_median_deviation(tmp_path: Path) -> None:
    folder = reports.build([findings(tmp_path / "run", {}).study.runs[0].path]).parent
    with (folder / "tables" / "repeatability.csv").open() as file:
        rows = {(row["guest"], row["metric"]): row for row in csv.DictReader(file)}
    assert list(rows) == [("all guests", "geometric mean"), ("g1", "passes_per_s"), ("g2", "build_s")]
    one = rows["g1", "passes_per_s"]
    assert (one["label"], one["n"]) == ("static", "9")
    assert float(one["largest_deviation"]) == pytest.approx(G1 - 1)
    assert float(one["median_deviation"]) == pytest.approx(0.01), "of 1 %, 2.04 % and 0, each twice"
    assert (float(one["band_low"]), float(one["band_high"])) == (pytest.approx(1 / G1), pytest.approx(G1))
    latex = next((folder / "tables").glob("repeatability-*.tex")).read_text()
    assert r"g1 & passes\_per\_s & 9 & 2.1 \% & 1.0 \% & [0.9800, 1.0204]" in latex


def test_what_lies_within_the_band_is_called_neither_better_nor_worse(tmp_path: Path) -> None:
    gains = {"a little": (1.015, 0.992), "a little less": (0.985, 0.985), "more": (1.03, 1.02), "less": (0.9, 0.9)}
    found = findings(tmp_path / "run", gains)
    rows = {(row["label"], row["guest"]): words.verdict(row) for row in found.guests.to_dict("records")}
    assert rows["a little", "g1"] is rows["a little", "g2"] is rows["a little less", "g1"] is Verdict.NOISE
    assert rows["a little less", "g2"] is Verdict.WORSE, "g2 repeats better than g1"
    assert rows["more", "g1"] is rows["more", "g2"] is Verdict.BETTER
    every = {row["label"]: words.verdict(row) for row in found.overall.to_dict("records")}
    assert every == {
        "a little": Verdict.NOISE, "a little less": Verdict.WORSE, "more": Verdict.BETTER, "less": Verdict.WORSE
    }  # fmt: skip
    answer = said(found)
    assert "Better than static: more 1.02" in answer["Who won."]
    assert "No difference beyond what static shows against itself: a little 1.00" in answer["Who won."]
    assert "g1 (mono) under a little less" not in answer["Who lost."]


def test_without_a_second_trial_the_same_numbers_are_a_difference(tmp_path: Path) -> None:
    found = findings(tmp_path / "run", {"a little": (1.015, 0.992)}, repeats=())
    verdicts = [words.verdict(row) for row in found.guests.to_dict("records")]
    assert verdicts == [Verdict.BETTER, Verdict.WORSE]
    assert said(found)["Repeatability."].startswith("Not known: no policy ran twice")


def test_a_block_with_a_failed_trial_gives_no_pair(tmp_path: Path) -> None:
    found = findings(tmp_path / "run", {}, fails=lambda block, label: "g2" if (block, label) == (2, AGAIN) else "")
    assert set(found.noise["n"]) == {8}
    answer = said(found)
    assert answer["Repeatability."].startswith("static ran twice to all its numbers in 8 of 9 blocks")
    assert answer["What failed."].startswith("1 of 18 trials: static (again) 1.")
    assert [row[3] for row in printed.failure(found).rows] == [AGAIN]
    first = findings(tmp_path / "first", {}, fails=lambda block, label: "g1" if label == "static" else "")
    assert said(first)["Repeatability."] == (
        "Not known: static ran twice in a block, but nowhere did all guests give their numbers both times."
    )


def test_page_one_says_how_well_the_lab_repeats(tmp_path: Path) -> None:
    answer = said(findings(tmp_path / "run", {"two-state": (2.0, 1.0)}))
    assert answer["Repeatability."].startswith(
        "static ran twice in each of 9 blocks: headline metrics differ by at most 2.1 % (g1 2.1 % and g2 1.1 %)."
    )
    assert "each with every policy once, and with static a second time" in answer["What was compared."]
    assert answer["What failed."] == "None of 27 trials."


def test_a_simulated_run_has_nothing_to_repeat(tmp_path: Path) -> None:
    found = findings(tmp_path / "run", {"two-state": (2.0, 1.0)}, backend="simulator", repeats=())
    assert said(found)["Repeatability."].startswith("Simulated: the same seed gives the same numbers")
    assert not len(found.noise)


def test_the_second_trial_is_no_competitor(tmp_path: Path) -> None:
    found = findings(tmp_path / "run", {"two-state": (2.0, 1.0)})
    assert found.study.labels == ("static", "two-state")
    for frame in (found.overall, found.guests, found.measured, found.counters, found.guest_counters, found.blocks):
        assert AGAIN not in set(frame["label"])
    folder = reports.build([found.study.runs[0].path]).parent
    assert AGAIN not in (folder / "report.html").read_text()
    with (folder / "trials.csv").open() as file:
        assert {row["label"]: row["policy"] for row in csv.DictReader(file)}[AGAIN] == "static"


def test_the_second_trial_changes_no_number_of_a_comparison(tmp_path: Path) -> None:
    with_it = findings(tmp_path / "with", {"two-state": (2.0, 1.1)})
    without = findings(tmp_path / "without", {"two-state": (2.0, 1.1)}, repeats=())
    numbers = ["label", "speedup", "low", "high", "n", "worst_speedup", "jain", "trials"]
    assert with_it.overall[numbers].equals(without.overall[numbers])


def test_another_baseline_is_held_against_the_noise_of_the_policy_that_ran_twice(tmp_path: Path) -> None:
    path = findings(tmp_path / "run", {"two-state": (2.0, 1.0)}).study.runs[0].path
    (study,) = studies([path], "two-state")
    assert noise.repeated(study) == "static"
    assert Findings.of(study).overall["band"].tolist() == [pytest.approx(MEAN)]
    with pytest.raises(ReportError, match="choose one of: static, two-state"):
        studies([path], AGAIN)


def test_the_band_is_taken_over_the_blocks_of_all_runs(tmp_path: Path) -> None:
    paths = [
        synthetic.write_run(
            tmp_path / name,
            run=name,
            blocks=3,
            backend="xen",
            steady=True,
            repeats=[(ratio, 1.0)],
            gains={"static": (1, 1)},
        ).path
        for name, ratio in (("a", 1.01), ("b", 0.95))
    ]
    (study,) = studies(paths)
    assert noise.bands(study).n == 6
    assert noise.bands(study).guest("g1", "passes_per_s") == pytest.approx(1 / 0.95)


def test_runs_with_and_without_second_trials_are_one_study(tmp_path: Path) -> None:
    paths = [
        synthetic.write_run(
            tmp_path / name, run=name, blocks=3, backend="xen", experiment=setting(**keys), repeats=repeats
        ).path
        for name, keys, repeats in (("a", {"repeat_baseline": True}, TWICE), ("b", {}, ()))
    ]
    (study,) = studies(paths)
    assert (study.blocks, noise.bands(study).n) == (6, 3)


def test_a_run_of_which_only_a_second_trial_has_ended_is_no_run_yet(tmp_path: Path) -> None:
    path = synthetic.write_run(tmp_path / "run", blocks=1, repeats=TWICE, gains={"static": (1, 1)}).path
    text = (path / "trials.csv").read_text().splitlines(keepends=True)
    (path / "trials.csv").write_text("".join(line for line in text if line[:4] == "run," or AGAIN in line))
    shutil.rmtree(path / "trials")
    with pytest.raises(ReportError, match="resume the run"):
        studies([path])


def swept(path: Path, gains: Mapping[str, tuple[float, float]], **changes: object) -> Findings:
    """Two levels in turn: at the first `static` repeats exactly, at the second within 10 % for g1."""
    sweep = {"name": "load", "unit": "MiB", "levels": [{"at": 1}, {"at": 2}]}
    keys = {"levels": {1: 1.0, 2: 1.0}, "blocks": 8, "repeats": [(1.0, 1.0), (1.1, 1.0)]}
    return findings(path, gains, **(keys | {"experiment": setting(sweep=sweep)} | changes))


def test_every_level_has_its_own_band(tmp_path: Path) -> None:
    found = swept(tmp_path / "run", {"two-state": (1.05, 1.02)})
    rows = found.overall.set_index("level")
    assert rows["band"].to_dict() == {1: 1.0, 2: pytest.approx(math.sqrt(1.1))}
    assert rows["widest_band"].to_dict() == {1: 1.0, 2: pytest.approx(1.1)}
    answer = said(found)
    assert "two-state better at 1 (" in answer["Who won."]
    assert answer["Repeatability."].startswith(
        "static ran twice in each of 16 blocks: headline metrics differ by at most 10"
    )


def test_figures_of_ratios_have_the_band_as_a_strip_and_say_so(tmp_path: Path) -> None:
    for found in (findings(tmp_path / "plain", {"a": (2, 1)}), swept(tmp_path / "swept", {"a": (2, 1)})):
        document = content.document([found], [asked(found)])
        drawn = {block.name.split("-")[0]: block for block in document.blocks if isinstance(block, Picture)}
        for name in {"overall", "per", "sweep"} & set(drawn):
            assert "Grey strip around 1" in drawn[name].caption
            with style.applied():
                figure = drawn[name].figure()
            for axes in figure.axes:
                fills = [np.atleast_2d(patch.get_facecolor()) for patch in (*axes.patches, *axes.collections)]
                assert style.BAND in [to_hex(fill[0]) for fill in fills if len(fill)], name


def limited(path: Path, two_state: float, percent: float) -> str:
    """The verdict on a g1 that may lose so many percent."""
    limit = {"percent": percent, "guests": ["g1"]}
    found = findings(path, {"two-state": (two_state, 1.0)}, experiment=setting(loses_at_most=limit))
    return claims.verdict(found, claims.loses_at_most(found.study, limit))


def test_a_margin_is_judged_only_outside_the_band_around_it(tmp_path: Path) -> None:
    assert limited(tmp_path / "kept", 0.95 * 1.03, 5).startswith("Supported")
    near = limited(tmp_path / "near", 0.95 * 1.01, 5)
    assert near.startswith("Cannot be judged")
    assert near.endswith(
        "An interval must lie above 0.95\N{MULTIPLICATION SIGN}, beyond what the baseline shows against itself."
    )
    assert limited(tmp_path / "below", 0.95 / 1.01, 5).startswith("Cannot be judged")
    assert limited(tmp_path / "lost", 0.95 / 1.03, 5).startswith("Not supported")


def test_the_ratio_of_two_guests_has_a_band_of_its_own(tmp_path: Path) -> None:
    path = findings(tmp_path / "run", {}).study.runs[0].path
    rows = list(csv.reader((path / "trials.csv").read_text().splitlines()))
    at = {name: place for place, name in enumerate(rows[0])}
    for row in rows[1:]:
        if row[at["guest"]] == "g2":  # the same work as g1, and as much of it as the time says in trials a second
            row[at["workload"]], row[at["metric"]], row[at["unit"]], row[at["better"]] = (
                "mono",
                "passes_per_s",
                "1/s",
                "higher",
            )
            row[at["value"]] = str(80 / float(row[at["value"]]))
    with (path / "trials.csv").open("w") as file:
        csv.writer(file, lineterminator="\n").writerows(rows)
    (study,) = studies([path])
    # Block by block 1.01/1.0, 0.98/1.004 and 1.0/0.99.
    assert noise.between(study, "g1", "g2") == pytest.approx(1.004 / 0.98)
    assert math.isnan(noise.between(study, "g1", "g3"))


@pytest.mark.parametrize(
    ("low", "high", "band", "slower"),
    [(0.97, 0.99, math.nan, True), (0.97, 0.99, 1.02, None), (0.9, 0.95, 1.02, True), (1.03, 1.1, 1.02, False)],
)
def test_a_twin_is_slower_only_beyond_what_their_ratio_shows_against_itself(
    low: float, high: float, band: float, slower: bool | None
) -> None:
    row = {"n": 6, "low": low, "high": high, "band": band}
    assert twins._slower(pd.DataFrame([row, row])) is slower


def test_what_the_baseline_gains_over_itself_is_no_gain(tmp_path: Path) -> None:
    noisy = {"repeats": [(1.1, 1.0), (1.0, 1.0)]}
    points = bandwidth.bandwidths(swept(tmp_path / "run", {"little": (1.04, 1.04), "much": (1.3, 1.3)}, **noisy))
    gains = points.set_index("label")
    assert gains["noise_pc"].tolist() == [pytest.approx(100 * (math.sqrt(1.1) - 1))] * 2
    special = bandwidth.special(swept(tmp_path / "again", {"little": (1.04, 1.04)}, **noisy))
    assert "no policy gains anything over static" in special.reason


def test_a_policy_dominates_by_no_more_than_noise_no_other(tmp_path: Path) -> None:
    gains = {"little": (1.1, 1.1), "more": (1.104, 1.104), "most": (1.15, 1.15)}
    rows = pareto.points(findings(tmp_path / "run", gains)).set_index("label")
    assert rows[rows["free"]].index.tolist() == ["most"]
    rows = pareto.points(findings(tmp_path / "less", {"little": (1.1, 1.1), "more": (1.104, 1.104)})).set_index("label")
    assert rows[rows["free"]].index.tolist() == ["little", "more"]


def test_a_tax_that_gains_no_more_than_noise_makes_no_difference(tmp_path: Path) -> None:
    study = findings(tmp_path / "run", {}, repeats=[(1.21, 1.0)]).study
    assert knee.near(study, math.nan) == pytest.approx(0.1), "√1.21 of the geometric mean"
    assert knee.near(findings(tmp_path / "quiet", {}, repeats=[(1.0, 1.0)]).study, math.nan) == knee.NEAR


def test_a_policy_collapses_later_only_where_noise_could_not_have_made_it(tmp_path: Path) -> None:
    found = swept(tmp_path / "run", {"two-state": (0.51, 0.51)})
    points = collapse.collapses(found).set_index("label")
    assert math.isnan(points.loc["two-state", "collapse_at"]), "0.51 is above 0.5 at both levels"
    assert 1 < points.loc["two-state", "surely_at"] < 2, "but not by √1.1 at the second"
    assert measure.noise_at(found.study, 2) == pytest.approx(math.sqrt(1.1))


@pytest.mark.parametrize(
    "figures", [["pareto"], ["collapse"], ["bandwidth"], ["knee"], ["fairness"], ["twins"], ["states"]]
)
def test_every_special_figure_can_be_drawn_with_second_trials(tmp_path: Path, figures: list[str]) -> None:
    gains = {"two-state": (1.4, 1.02)}
    found = swept(tmp_path / "run", gains, experiment=setting(
        figures=figures, sweep={"name": "load", "levels": [{"at": 1}, {"at": 2}]},
        policies=["static", {"name": "two-state", "label": "two-state", "tax": 0.5}],
    ))  # fmt: skip
    (special,) = asked(found)
    with style.applied():
        for block in special.blocks:
            if isinstance(block, Picture):
                block.figure().canvas.draw()
            if isinstance(block, Table):
                assert all(len(row) == len(block.head) for row in block.rows)
    assert list(answers.verdicts(found, [special])) == [special.verdict]


def test_page_one_says_what_the_lab_was_and_of_different_labs_which_run_was_where(tmp_path: Path) -> None:
    facts = {"version": "4.17", "lab": True, "lab_clock": "instructions", "processor_mips": 250}
    found = findings(tmp_path / "run", {}, xen=facts)
    assert said(found)["The lab."] == "Lab in virtual time: one emulated processor of 250 MIPS."
    assert "The lab." not in said(findings(tmp_path / "own", {}))
    paths = [
        synthetic.write_run(tmp_path / name, run=name, blocks=1, backend="xen", xen=xen).path
        for name, xen in (("a", facts), ("b", {"lab": False}))
    ]
    (study,) = studies(paths)
    assert lab.line(study) == "a: Lab in virtual time: one emulated processor of 250 MIPS. b: No lab."
