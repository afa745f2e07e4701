"""What is varied is judged level by level; bounds are no rivals; a figure that is asked for brings its verdict."""

from __future__ import annotations

import json
import math
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from matplotlib.figure import Figure

from harness.policies.waterfill import waterfill
from reports import agreement, answers, bounds, content, printed, sweep
from reports.document import Paragraph, Table
from reports.findings import Findings
from reports.special import KINDS, asked, knee, pareto, scaling, states, swap_weight
from reports.special.bruteforce import divided, divisions
from reports.special.measure import falls_below
from reports.special.verdict import Claim, Special
from reports.study import studies
from tests.unit import synthetic_run as synthetic

GAINS = {"static": (1.0, 1.0), "two-state": (2.0, 1.2), "oracle": (2.5, 1.4), "unconstrained": (4.0, 1.6)}
STALLS = {"static": 30.0, "two-state": 12.0, "oracle": 6.0, "unconstrained": 0.0}
SWEEP = {"name": "load", "unit": "MiB", "levels": [{"at": 1}, {"at": 2}]}


def findings(path: Path, **changes: object) -> Findings:
    (study,) = studies([path], "static")
    return Findings.of(study)


def swept(tmp_path: Path, *, figures: tuple[str, ...] = (), **changes: object) -> Findings:
    """Two levels: at the first nothing matters, at the second the gains are as given."""
    experiment = dict(synthetic.manifest()["experiment"]) | {"sweep": SWEEP, "figures": list(figures)}  # type: ignore[call-overload]
    given = {
        "experiment": experiment,
        "gains": GAINS,
        "stalls": STALLS,
        "blocks": 7,
        "levels": {1: 0.0, 2: 1.0},
    } | changes
    return findings(synthetic.write_run(tmp_path / "run", **given).path)  # type: ignore[arg-type]


def said(found: Findings) -> dict[str, str]:
    document = content.document([found], [asked(found)])
    return {block.lead: block.text for block in document.blocks if isinstance(block, Paragraph) and block.lead}


def test_no_number_mixes_two_levels(tmp_path: Path) -> None:
    rows = swept(tmp_path).overall.set_index(["level", "label"])
    assert rows.loc[(1, "two-state"), "speedup"] == pytest.approx(1, abs=0.05)
    assert rows.loc[(2, "two-state"), "speedup"] == pytest.approx(math.sqrt(2.4), rel=0.05)
    assert set(rows["n"]) == {7}


def test_a_sweep_says_at_which_levels_a_policy_wins(tmp_path: Path) -> None:
    answer = said(swept(tmp_path))["Who won."]
    assert "two-state better at 2 (most at 2: " in answer
    assert "load, MiB" in answer


@pytest.mark.parametrize(
    ("guest", "apart"),
    [
        ({"with": {"low_mib": 90}}, False),
        ({"behaviour": {"kind": "lying", "factor": 3}}, True),
        ({"workload": "random"}, True),
    ],
)
def test_levels_that_are_cases_are_joined_by_no_line(tmp_path: Path, guest: dict[str, object], *, apart: bool) -> None:
    levels = [{"at": 1}, {"at": 2, "guests": {"g1": guest}}]
    experiment = dict(synthetic.manifest()["experiment"]) | {"sweep": SWEEP | {"levels": levels}}  # type: ignore[call-overload]
    found = swept(tmp_path, experiment=experiment)
    picture = sweep.picture(found)
    assert ("joined by no line" in picture.caption) == apart
    assert ("A line breaks" in picture.caption) != apart
    figure = Figure()
    picture.draw(figure)
    lines = {line.get_label(): line for line in figure.axes[0].get_lines() if line.get_label() in GAINS}
    assert lines
    for line in lines.values():
        assert (line.get_linestyle() == "None") == apart
    places = np.array([line.get_xdata() for line in lines.values()])
    assert (np.unique(places, axis=0).shape[0] == len(lines)) == apart
    assert np.abs(places - [1, 2]).max() < 0.5


def test_the_table_of_guests_has_one_metric_for_each_guest_of_a_sweep_and_all_of_what_is_not_swept(
    tmp_path: Path,
) -> None:
    found = swept(tmp_path)
    other = found.guests.assign(metric="other", headline=False)
    with_others = replace(found, guests=pd.concat([found.guests, other], ignore_index=True))
    table = printed.guest(with_others)
    assert table.rows == printed.guest(found).rows
    assert "tables/speedup.csv" in table.caption
    plain = findings(synthetic.write_run(tmp_path / "plain").path)
    everything = replace(plain, guests=pd.concat([plain.guests, plain.guests.assign(headline=False)]))
    assert len(printed.guest(everything).rows) == 2 * len(plain.guests)


def test_bounds_are_no_rivals_but_what_rivals_are_held_against(tmp_path: Path) -> None:
    found = swept(tmp_path)
    answer = said(found)
    assert "unconstrained" not in answer["Who won."].replace("unconstrained memory", "")
    rows = found.performance.set_index(["level", "label"])
    assert rows.loc[(2, "two-state"), "performance"] == pytest.approx(math.sqrt(2.4 / 6.4), rel=0.05)
    assert rows.loc[(2, "static"), "worst_performance"] == pytest.approx(1 / 4, rel=0.05)


def test_the_gap_to_the_oracle_is_lost_time_of_all_guests_in_percentage_points(tmp_path: Path) -> None:
    rows = swept(tmp_path).overall.set_index(["level", "label"])
    assert rows.loc[(2, "two-state"), "gap_pp"] == pytest.approx(100 * (12 - 6) / 60)
    assert np.isnan(rows.loc[(2, "unconstrained"), "gap_pp"])


def test_whoever_beats_the_oracle_is_a_defect_that_is_said(tmp_path: Path) -> None:
    answer = said(swept(tmp_path, gains=GAINS | {"two-state": (3.0, 1.5)}, levels={1: 0.5, 2: 1.0}))
    assert answer["DEFECT."].startswith("The oracle is beaten beyond noise by two-state at 1 and two-state at 2.")


def test_less_stall_with_less_work_is_no_defect_but_is_said(tmp_path: Path) -> None:
    answer = said(swept(tmp_path, stalls=STALLS | {"two-state": 3.0}, levels={1: 0.5, 2: 1.0}))
    assert "DEFECT." not in answer
    assert "Less time is stalled than under it, and less work done, with two-state at 1" in answer["The bound."]


def test_without_unconstrained_trials_the_oracle_is_judged_by_stall(tmp_path: Path) -> None:
    gains = {label: gain for label, gain in GAINS.items() if label != "unconstrained"}
    assert "DEFECT." in said(swept(tmp_path, gains=gains, stalls=STALLS | {"two-state": 3.0}))


def test_a_block_whose_guest_failed_has_no_gap(tmp_path: Path) -> None:
    found = swept(tmp_path, fails=lambda block, label: "g1" if label == "two-state" and block == 2 else "")
    rows = found.gaps.set_index(["level", "label"])
    assert rows.loc[(2, "two-state"), "gap_n"] == 6


@pytest.mark.parametrize("kind", sorted(KINDS))
def test_every_special_figure_can_be_asked_of_any_run_and_judges_it_in_words(tmp_path: Path, kind: str) -> None:
    found = swept(tmp_path, figures=(kind,))
    (special,) = asked(found)
    assert special.verdict.startswith(tuple(f"{claim}: " for claim in Claim))
    assert list(answers.verdicts(found, [special])) == [special.verdict]
    for block in special.blocks:
        if isinstance(block, Table):
            assert all(len(row) == len(block.head) == len(block.aligns) for row in block.rows)


def test_a_weight_of_swap_that_no_policy_has_cannot_be_judged(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    found = swept(tmp_path, figures=("swap-weight",))
    monkeypatch.setattr(swap_weight, "recorded", lambda _: pd.DataFrame())
    (special,) = asked(found)
    assert special.verdict.startswith(f"{Claim.OPEN}: ")
    assert not special.blocks


def judged(path: Path, percent: float, guests: list[str], **changes: object) -> str:
    """The verdict on g1 at 1.0 and g2 at 0.8 of the baseline, with some unrest."""
    limit = {"percent": percent, "guests": guests}
    experiment = dict(synthetic.manifest()["experiment"]) | {"loses_at_most": limit}  # type: ignore[call-overload]
    given: dict[str, object] = {"gains": {"static": (1.0, 1.0), "two-state": (1.0, 0.8)}, "blocks": 8} | changes
    verdicts = answers.verdicts(findings(synthetic.write_run(path, experiment=experiment, **given).path), [])  # type: ignore[arg-type]
    return next(iter(verdicts))


def test_a_margin_is_kept_where_no_interval_reaches_below_it(tmp_path: Path) -> None:
    said = judged(tmp_path / "run", 40, [])
    assert said.startswith("Supported: that every guest lost at most 40 % against static is shown by g2 (kernel-build)")
    assert "g1 (mono) under two-state: 0.98" in said


def test_a_margin_is_broken_by_one_guest_that_lost_more(tmp_path: Path) -> None:
    said = judged(tmp_path / "run", 8, [])
    assert said.startswith("Not supported: ")
    assert "is refuted by g2 (kernel-build) under two-state: 0.80" in said
    assert "shown by g1 (mono)" in said


def test_a_margin_within_the_noise_or_of_few_blocks_is_left_open(tmp_path: Path) -> None:
    assert judged(tmp_path / "noise", 0.01, ["g1"]).startswith("Cannot be judged: that g1 lost at most 0.01 %")
    few = judged(tmp_path / "few", 40, ["g1"], blocks=4)
    assert few.startswith("Cannot be judged: ")
    assert "left open by g1" in few
    assert few.endswith("A result takes 6 blocks that differ.")


def test_a_margin_for_some_guests_is_judged_by_them_alone(tmp_path: Path) -> None:
    limit = {"percent": 40, "guests": ["g2"]}
    experiment = dict(synthetic.manifest()["experiment"]) | {"loses_at_most": limit}  # type: ignore[call-overload]
    found = findings(synthetic.write_run(tmp_path / "run", experiment=experiment).path)
    (margin,) = answers.verdicts(found, [])
    assert "g2 lost at most 40 %" in margin
    assert "g1" not in margin


def twins(tmp_path: Path, gain: float, **changes: object) -> Special:
    """The verdict on g1 and a g2 with the same work, of which each does what the gain says."""
    experiment = json.loads(json.dumps(synthetic.manifest()["experiment"])) | {"figures": ["twins"]}
    given: dict[str, object] = {"gains": {"static": (1.0, 1.0)}, "blocks": 6, "backend": "xen"} | changes
    folder = synthetic.write_run(tmp_path, experiment=experiment, **given).path  # type: ignore[arg-type]
    trials = folder / "trials.csv"
    rows = pd.read_csv(trials, keep_default_na=False)
    rows["value"] = pd.to_numeric(rows["value"])
    one, other = rows["guest"] == "g1", rows["guest"] == "g2"
    for column in ("workload", "metric", "unit", "better"):
        rows.loc[other, column] = rows.loc[one, column].to_numpy()
    rows.loc[other, "value"] = rows.loc[one, "value"].to_numpy() / gain
    rows.to_csv(trials, index=False)
    (special,) = asked(findings(folder))
    return special


@pytest.mark.parametrize(("gain", "claim"), [(0.96, Claim.SUPPORTED), (1.04, Claim.NOT_SUPPORTED)])
def test_twins_are_held_against_one_another_within_a_trial(tmp_path: Path, gain: float, claim: Claim) -> None:
    special = twins(tmp_path / "run", gain)
    assert special.claim is claim
    assert f"g1 does {gain:.2f}\N{MULTIPLICATION SIGN}" in special.reason
    assert special.frames["twins"]["ratio"].tolist() == pytest.approx([gain], rel=1e-6)
    assert "under" not in special.reason


def test_of_twins_under_several_policies_it_is_said_under_which(tmp_path: Path) -> None:
    gains = {"static": (1.0, 1.0), "two-state": (2.0, 2.0)}
    reason = twins(tmp_path / "run", 0.96, gains=gains).reason
    assert "under static (n = 6)" in reason
    assert "under two-state (n = 6)" in reason


def test_twins_of_few_blocks_or_without_any_cannot_be_judged(tmp_path: Path) -> None:
    assert twins(tmp_path / "run", 0.96, blocks=4).claim is Claim.OPEN
    experiment = dict(synthetic.manifest()["experiment"]) | {"figures": ["twins"]}  # type: ignore[call-overload]
    (none,) = asked(findings(synthetic.write_run(tmp_path / "none", experiment=experiment).path))
    assert none.verdict == "Cannot be judged: no two guests do the same work."


def test_an_experiment_names_the_policy_that_the_others_are_compared_with(tmp_path: Path) -> None:
    experiment = dict(synthetic.manifest()["experiment"]) | {"baseline": "two-state"}  # type: ignore[call-overload]
    folder = synthetic.write_run(tmp_path / "run", experiment=experiment).path
    assert studies([folder])[0].baseline == "two-state"
    assert studies([folder], "static")[0].baseline == "static"


def test_brute_force_divides_as_water_filling_does() -> None:
    random = np.random.default_rng(3)
    for _ in range(50):
        lo = random.integers(0, 400, 6).astype(float)
        hi = lo + random.integers(1, 900, 6)
        base, weight = random.uniform(0, 500, 6), random.uniform(0.1, 4, 6)
        total = float(random.integers(int(lo.sum()), int(hi.sum())))
        exact = divided(total, base, weight, lo, hi)
        assert np.abs(exact - waterfill(total, base, weight, lo, hi).targets_kib).max() < 1


def test_a_wrong_division_is_found() -> None:
    guests = [
        {"name": name, "current_kib": 500, "min_kib": 0, "max_kib": 1000, "shares": 1000, "mem_total_kib": 500,
         "mem_free_kib": 100, "buffers_kib": 0, "cached_kib": 0}
        for name in ("a", "b")
    ]  # fmt: skip
    decision = {"policy": "equal", "params": {}, "state": None, "targets_kib": {"a": 500, "b": 500}, "reasons": {}}
    line = {"view": {"time_s": 0.0, "host": {"free_kib": 0, "reserve_kib": 0}, "guests": guests}, "decision": decision}
    (right,) = divisions([line])
    assert not right.unequal
    (wrong,) = divisions([line | {"decision": decision | {"targets_kib": {"a": 510, "b": 490}}}])
    assert wrong.unequal
    assert np.abs(wrong.recorded_kib - wrong.exact_kib).max() == pytest.approx(10)


def test_a_line_falls_below_a_value_between_two_points() -> None:
    assert falls_below([1, 2, 3], [1.0, 0.6, 0.4], 0.5).at == pytest.approx(2.5)
    assert math.isnan(falls_below([1, 2, 3], [1.0, 0.9, 0.8], 0.5).at)
    assert falls_below([1, 2], [0.4, 0.3], 0.5).at == 1
    assert falls_below([1, 100], [1.0, 0.0], 0.5, logarithmic=True).at == pytest.approx(10)


def test_the_knee_is_the_smallest_tax_that_is_as_good_as_the_best() -> None:
    values = [0.5, 0.7, 0.905, 0.908, 0.91]
    given = {"level": 1.0, "tax": [0, 0.25, 0.5, 0.75, 1], "median": values, "low": values, "n": 5}
    curve = pd.DataFrame(given | {"near": 0.01})
    (row,) = knee.knees_of(curve).to_dict("records")
    assert (row["knee"], row["best"]) == (0.5, 1)


def test_a_policy_that_is_worse_in_both_is_dominated(tmp_path: Path) -> None:
    gains = {"static": (1.0, 1.0), "good": (2.0, 2.0), "bad": (1.5, 1.5), "fair": (1.2, 3.0), "unconstrained": (4, 4)}
    rows = pareto.points(findings(synthetic.write_run(tmp_path / "run", gains=gains).path)).set_index("label")
    assert rows[rows["free"]].index.tolist() == ["good"]


def test_nobody_is_spared_or_dominated_by_a_difference_within_the_noise() -> None:
    others = pd.DataFrame({"geometric_mean": [1.0, 1.5, 1.52], "worst": [1.0, 0.9997, 0.99]})
    free = [not pareto._dominated(*row, others, 1.05, 1.05) for row in others.itertuples(index=False)]
    assert free == [False, True, True], "static is better than the second by 0.03 %, which is no difference"
    free = [not pareto._dominated(*row, others) for row in others.itertuples(index=False)]
    assert free == [True, True, True], "where no noise is known every difference is one"


def test_a_state_left_again_at_once_is_chatter() -> None:
    ticks = pd.DataFrame({"tick": range(1, 61), "trial_s": np.arange(60) * 2.0, "state": "ample"})
    ticks.loc[10:29, "state"] = "scarce"
    assert states.counted(ticks) == (2, 0)
    ticks.loc[45:47, "state"] = "scarce"
    assert states.counted(ticks) == (4, 1)


def test_the_exponent_of_a_linear_cost_is_one() -> None:
    guests = np.array([64, 1000, 10_000])
    rows = pd.DataFrame({"label": "price", "guests": guests, "decide_s": 1e-6 * guests})
    assert scaling.exponents(rows)["exponent"].iloc[0] == pytest.approx(1)


def test_the_same_experiment_measured_and_simulated_is_set_side_by_side(tmp_path: Path) -> None:
    gains = {"static": (1.0, 1.0), "two-state": (2.0, 1.0), "equal": (0.8, 0.8)}
    paths = [
        synthetic.write_run(tmp_path / name, gains=gains, run=name, backend=name, seed=seed).path
        for seed, name in enumerate(("xen", "simulator"))
    ]
    found = [Findings.of(study) for study in studies(paths, "static")]
    ((real, simulated),) = agreement.pairs(found)
    assert agreement.errors(real, simulated)["error_pc"].abs().max() < 10
    assert agreement.agreement(agreement.ranking(real, simulated)) == pytest.approx(1)
    tables = [block for block in agreement.section(real, simulated) if isinstance(block, Table)]
    assert all("backend" in table.head for table in tables)
    assert list(agreement.pairs(found[:1])) == []


def test_no_curve_of_measured_and_simulated_memory_leaves_its_panel(tmp_path: Path) -> None:
    paths = [synthetic.write_run(tmp_path / name, run=name, backend=name).path for name in ("xen", "simulator")]
    real, simulated = studies(paths, "static")
    for run in real.runs:
        run.samples.loc[run.samples["label"] != "static", "current_kib"] *= 5
    (picture,) = agreement.curves(real, simulated)
    figure = Figure()
    picture.draw(figure)
    for axes in figure.axes:
        assert axes.get_ylim()[1] >= max(max(line.get_ydata()) for line in axes.get_lines())


def test_runs_of_two_backends_of_different_experiments_are_not_set_side_by_side(tmp_path: Path) -> None:
    first = synthetic.write_run(tmp_path / "a", run="a", backend="xen", blocks=1).path
    other = json.loads(json.dumps(synthetic.manifest()["experiment"])) | {"pool_mib": 900}
    second = synthetic.write_run(tmp_path / "b", run="b", blocks=1, experiment=other).path
    assert list(agreement.pairs([Findings.of(study) for study in studies([first, second], "static")])) == []


def test_a_gap_within_noise_beats_nobody() -> None:
    row = {"gap_pp": -0.05, "gap_most_pp": -0.01, "work_gap_pp": math.nan, "work_gap_most_pp": math.nan}
    assert not bounds.beats(row)
    assert bounds.beats(row | {"gap_pp": -1.0, "gap_most_pp": -0.5})
    assert not bounds.beats(row | {"gap_pp": -1.0, "gap_most_pp": 0.5})
    assert bounds.beats(row | {"work_gap_pp": -1.0, "work_gap_most_pp": -0.5})
