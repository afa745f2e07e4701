"""A claim is judged by what the experiment says that it comes to, and by no more; what is no result judges nothing."""

from __future__ import annotations

import math
import re
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import yaml

import reports
from harness.experiment.document import ConfigError
from harness.experiment.files import load_experiment
from reports import answers, claimed, claims, families, figures, statistics, summary, words
from reports.claims import Says
from reports.findings import Findings, together
from reports.special.verdict import Claim, Special
from reports.study import studies
from reports.words import Verdict
from tests.unit import synthetic_run as synthetic

GAINS = {"static": (1.0, 1.0), "good": (1.3, 1.3), "better": (1.4, 1.4), "mixed": (1.5, 0.9), "bad": (0.7, 0.8)}


def findings(path: Path, gains: dict[str, tuple[float, float]] = GAINS, **changes: Any) -> Findings:  # noqa: ANN401 - what write_run takes
    """The findings of ten exact measured blocks."""
    given = {"blocks": 10, "steady": True, "backend": "xen"} | changes
    (study,) = studies([synthetic.write_run(path, gains=gains, **given).path])
    return Findings.of(study)


@pytest.fixture(name="found", scope="module")
def _found(tmp_path_factory: pytest.TempPathFactory) -> Findings:
    return findings(tmp_path_factory.mktemp("claims") / "run")


def judged(found: Findings, **said: object) -> str:
    return claims.verdict(found, claims.wanted(found.study, said))


def test_all_of_them_must_be_better_unless_any_is_enough(found: Findings) -> None:
    every = judged(found)
    assert every.startswith("Not supported: that all guests together did better under every other policy than under")
    assert "refuted by bad: 0.75" in every
    assert "good: 1.30" in every.partition("shown by")[2]
    assert judged(found, policies="any").startswith("Supported: that all guests together did better under any one")
    assert judged(found, policies=["good", "better"]).startswith("Supported: ")
    assert judged(found, policies="any", at_least=2).startswith("Not supported: ")


def test_it_is_said_against_which_policy_and_for_whom(found: Findings) -> None:
    over = judged(found, policies=["better"], over=["static", "good"])
    assert over.startswith("Supported: that all guests together did better under better than under static and good")
    assert judged(found, policies=["good"], over=["better"]).startswith("Not supported: ")
    assert judged(found, policies=["mixed"], guests=["g1"]).startswith("Supported: that g1 did better under mixed")
    each = judged(found, policies=["mixed"], guests="each")
    assert each.startswith("Not supported: that every guest did better under mixed")
    assert "refuted by g2 (kernel-build) under mixed: 0.90" in each


def test_how_much_is_judged_by_an_interval_on_both_sides(found: Findings) -> None:
    assert judged(found, policies=["good"], at_least=1.2, at_most=1.4).startswith(
        "Supported: that all guests together did 1.2 to 1.4 times as well under good as under static"
    )
    assert judged(found, policies=["good"], at_least=1.4, at_most=1.5).startswith("Not supported: ")
    assert judged(found, policies=["good"], at_least=1.05, at_most=1.2).startswith("Not supported: ")
    assert judged(found, policies=["good"], at_least=0.97, at_most=1.4).startswith("Supported: "), "equivalence"


def test_an_interval_that_reaches_over_the_limit_leaves_a_claim_open(tmp_path: Path) -> None:
    noisy = findings(tmp_path / "run", {"static": (1, 1), "good": (1.0, 1.01)}, steady=False)
    said = judged(noisy)
    assert said.startswith("Cannot be judged: ")
    assert said.endswith("beyond what the baseline shows against itself.")
    few = judged(findings(tmp_path / "few", blocks=5))
    assert few.startswith("Cannot be judged: ")
    assert few.endswith("A result takes 6 blocks that differ.")


def test_where_one_level_is_enough_the_others_may_lose(tmp_path: Path) -> None:
    """Who gains at 1 loses at 2, and the other way round."""
    swept = {"name": "load", "levels": [{"at": 1}, {"at": 2}]}
    many = findings(
        tmp_path / "run", {"static": (1, 1), "good": (1.3, 1.3), "bad": (0.9, 0.9)}, levels={1: 2.0, 2: -1.0},
        experiment={**synthetic.manifest()["experiment"], "sweep": swept},
    )  # fmt: skip
    anywhere = judged(many, policies=["good"], levels="any")
    assert anywhere.startswith("Supported: that all guests together did better under good at any one level than under")
    assert judged(many, policies=["good"]).startswith("Not supported: ")
    assert judged(many, policies=["bad"], levels="any").startswith("Supported: "), "it gains at 2"
    assert judged(many, policies=["good", "bad"], levels="any").startswith("Not supported: "), "at the same one"
    assert judged(many, policies="any", levels="any").startswith("Supported: ")
    assert judged(many, policies=["good"], levels="any", at_least=2).startswith("Not supported: ")


def test_refuting_among_many_takes_more_than_refuting_one(tmp_path: Path) -> None:
    gains = {"static": (1.0, 1.0), "bad": (0.9, 0.9)} | {f"good {n}": (1.3, 1.3) for n in range(4)}
    six = findings(tmp_path / "run", gains, blocks=6)
    assert judged(six, policies=["bad"]).startswith("Not supported: ")
    assert judged(six).startswith("Cannot be judged: "), "one of five is below: 5 times 2 in 64"
    assert judged(six, policies=[f"good {n}" for n in range(4)]).startswith("Supported: "), "all show it"
    assert judged(six, policies="any").startswith("Cannot be judged: "), "some one of five: 5 times 2 in 64"


def test_any_one_policy_must_show_it_in_all_that_it_is_asked() -> None:
    said = [("a", Says.SHOWN), ("a", Says.REFUTED), ("b", Says.SHOWN), ("b", Says.OPEN)]
    assert claims.fate(said, any_of=True) is None
    assert claims.fate([*said[:2]], any_of=True) is False
    assert claims.fate([*said[:3]], any_of=True) is True
    assert claims.fate(said, any_of=False) is False


def test_a_claim_is_judged_by_what_the_experiment_says_and_else_not_at_all(tmp_path: Path) -> None:
    setting = dict(synthetic.manifest()["experiment"])  # type: ignore[call-overload]
    (none,) = answers.verdicts(findings(tmp_path / "none", experiment=setting), [])
    assert none == (
        "Cannot be judged: the experiment does not say by which rows its claim is judged. Over all guests 3 of 4 "
        "comparisons with static is better and 1 worse."
    )
    entries = [{"policies": ["good"]}, {"policies": ["bad"]}]
    limit = {"percent": 3, "guests": []}
    asked = findings(tmp_path / "asked", experiment=setting | {"judged_by": entries, "loses_at_most": limit})
    assert [said.partition(":")[0] for said in answers.verdicts(asked, [])] == [
        "Supported", "Not supported", "Not supported"
    ]  # fmt: skip


def test_a_report_has_every_comparison_that_a_claim_is_judged_by_where_its_verdict_names_a_few(tmp_path: Path) -> None:
    setting = dict(synthetic.manifest()["experiment"])  # type: ignore[call-overload]
    over = ["static", "good", "mixed", "bad"]
    entries = [{"policies": ["better"], "over": over}, {"policies": ["good"], "at_least": 1.2, "at_most": 1.4}]
    limit = {"percent": 3, "guests": []}
    found = findings(tmp_path / "run", experiment=setting | {"judged_by": entries, "loses_at_most": limit})
    rows = claimed.frame(found)
    ours, between, losing = (mine for _, mine in rows.groupby("claim", sort=False))
    assert ours["comparison"].tolist() == [f"better over {label}" for label in over]
    assert set(ours["says"]) == {"shown"}
    assert between[["at_least", "at_most", "says"]].to_numpy().tolist() == [[1.2, 1.4, "shown"]]
    assert set(losing["at_least"]) == {0.97}
    assert losing["at_most"].isna().all()
    assert set(losing["says"]) == {"shown", "refuted"}
    shown = claimed.table(found)
    assert shown is not None
    assert len(shown.rows) == len(rows)
    claimed_in_turn = [f"> 1.00{words.TIMES}", f"1.20{words.TIMES} to 1.40{words.TIMES}", f"≥ 0.97{words.TIMES}"]
    assert list(dict.fromkeys(row[-2] for row in shown.rows)) == claimed_in_turn, "as page one says them"
    assert all(len(row) == len(shown.head) == len(shown.aligns) for row in shown.rows)
    few = findings(tmp_path / "few", experiment=setting | {"judged_by": entries[1:]})
    assert (len(claimed.frame(few)), claimed.table(few)) == (1, None), "the verdict has it already"


def test_a_verdict_names_the_hardest_comparison_first(found: Findings) -> None:
    said = judged(found, policies=["better"], over=["static", "good", "mixed", "bad"])
    ratios = [float(text) for text in re.findall(rf": (\d\.\d+){words.TIMES}", said)]
    assert ratios == sorted(ratios)
    assert len(ratios) == 4


def test_a_figure_judges_a_claim_only_where_nothing_else_is_said_to(tmp_path: Path) -> None:
    special = Special(claim=Claim.SUPPORTED, reason="of something else.", blocks=())
    setting = dict(synthetic.manifest()["experiment"])  # type: ignore[call-overload]
    alone = findings(tmp_path / "alone", experiment=setting)
    assert list(answers.verdicts(alone, [special])) == ["Supported: of something else."]
    said = findings(tmp_path / "said", experiment=setting | {"judged_by": [{"policies": ["bad"]}]})
    assert [verdict.partition(":")[0] for verdict in answers.verdicts(said, [special])] == ["Not supported"]


@pytest.mark.parametrize("policies", [["good", "better"], "any"])
def test_a_report_says_why_a_claim_takes_fewer_blocks_than_its_table(tmp_path: Path, policies: list[str] | str) -> None:
    setting = dict(synthetic.manifest()["experiment"]) | {"judged_by": [{"policies": policies}]}  # type: ignore[call-overload]
    found = findings(tmp_path / "run", blocks=6, experiment=setting)
    (claim,) = answers.verdicts(found, [])
    said, why = dict(answers.outcomes(found)), "The claim takes six: it is one question, put before the first trial"
    assert "with all comparisons held together. Different if asked alone, yet not among all" in said["Who won."]
    assert "To show a difference takes 8 blocks" in said["How sure."]
    assert (claim.startswith("Supported"), why in said["How sure."]) == (policies != "any",) * 2


def test_the_figure_of_page_one_stays_there_where_policies_are_many(tmp_path: Path) -> None:
    few, many = (
        findings(tmp_path / str(count), {"static": (1.0, 1.0)} | {f"p{i}": (1.1, 1.2) for i in range(count)}, blocks=2)
        for count in (5, 14)
    )
    fewer, more = (figures.overall(found.study).height_in for found in (few, many))
    assert fewer == pytest.approx(1.35 + 5 * figures.ROW_IN)
    assert fewer < more <= 1.35 + figures.ROWS_IN + 1e-9, "half of a page is its table's"


def test_what_only_a_measurement_can_show_is_not_judged_by_a_simulated_run(tmp_path: Path) -> None:
    setting = dict(synthetic.manifest()["experiment"]) | {  # type: ignore[call-overload]
        "judged_by": [{"policies": ["good"]}], "only_measured": "a simulated guest has no shared memory"
    }  # fmt: skip
    (said,) = answers.verdicts(findings(tmp_path / "run", backend="simulator", experiment=setting), [])
    assert said == "Cannot be judged: this is simulated, and a simulated guest has no shared memory."
    (said,) = answers.verdicts(findings(tmp_path / "real", experiment=setting), [])
    assert said.startswith("Supported: ")


def test_verdicts_hold_for_all_studies_of_a_report(tmp_path: Path) -> None:
    one, other = (
        findings(tmp_path / name, {"static": (1, 1), "good": (1.3, 1.3)}, blocks=6, run=name, backend=backend)
        for name, backend in (("a", "xen"), ("b", "own-host"))
    )
    assert words.verdict(one.overall.iloc[0]) is Verdict.BETTER
    first, second = together([one, other])
    assert first.overall["wilcoxon_p_holm"].tolist() == second.overall["wilcoxon_p_holm"].tolist() == [0.0625]
    assert words.verdict(first.overall.iloc[0]) is Verdict.CHANCE
    assert first.overall["comparisons"].tolist() == [2]
    assert first.guests["comparisons"].tolist() == [4, 4]


def test_bounds_are_asked_nothing_and_rows_without_an_answer_count() -> None:
    frame = pd.DataFrame({"label": ["a", "b", "oracle"], "n": [6, 2, 6], "wilcoxon_p": [0.01, math.nan, 0.01]})
    (found,) = families.adjusted([frame], [["a", "b"]])
    assert found["wilcoxon_p_holm"].tolist() == pytest.approx([0.02, math.nan, math.nan], nan_ok=True)
    assert families.adjusted([pd.DataFrame()], [[]])[0].empty


def test_simulated_blocks_that_are_the_same_are_one_observation_in_every_table(tmp_path: Path) -> None:
    found = findings(tmp_path / "run", backend="simulator")
    assert set(found.overall["n"]) == {10}
    assert set(found.overall["observations"]) == set(found.guests["observations"]) == {1}
    assert {words.verdict(row) for row in summary.records(found.overall)} == {Verdict.OBSERVATION}
    said = dict(answers.outcomes(found))
    assert "Simulated blocks that gave the same ratio are one observation: so with bad" in said["How sure."]
    assert set(findings(tmp_path / "real").overall["observations"]) == {10}


def test_a_policy_that_never_decided_is_no_result(tmp_path: Path) -> None:
    path = synthetic.write_run(tmp_path / "run", blocks=7, backend="xen", gains=GAINS).path
    samples = pd.read_csv(path / "samples.csv", dtype=str, keep_default_na=False)
    samples.loc[samples["label"] == "good", "asked_kib"] = ""
    samples.to_csv(path / "samples.csv", index=False)
    found = Findings.of(studies([path])[0])
    assert summary.undecided(found.study)["good"] == 1
    assert summary.undecided(found.study)["static"] < 1
    rows = {row["label"]: words.verdict(row) for row in summary.records(found.overall)}
    assert rows["good"] is Verdict.HELD
    assert rows["bad"] is not Verdict.HELD
    assert "Never decided, for it lacked what it needs, so what ran was no policy: good" in answers.won(found)
    assert "good" in claims.verdict(found, claims.wanted(found.study, {"policies": ["good"]})).partition("open by")[2]


def test_the_worst_guest_is_a_name_and_its_speed_up_a_number_in_every_table(found: Findings) -> None:
    mixed = found.blocks[found.blocks["label"] == "mixed"]
    assert set(mixed["worst_guest"]) == {"g2"}
    assert mixed["worst_speedup"].tolist() == pytest.approx([0.9] * 10)
    row = found.overall.set_index("label").loc["mixed"]
    assert (row["worst_guest"], row["worst_speedup"]) == ("g2", pytest.approx(0.9))


def written(folder: Path, name: str = "small", **keys: object) -> Path:
    """An experiment as a file."""
    guests = [{"name": "g1", "workload": "idle", "min_mib": 160, "initial_mib": 200, "max_mib": 400}]
    said = {"name": name, "pool_mib": 2000, "guests": guests, "policies": ["static", "equal"], "duration_s": 30, **keys}
    path = folder / "small.yml"
    path.write_text(yaml.safe_dump(said), encoding="utf-8")
    return path


@pytest.mark.parametrize(
    ("keys", "fault"),
    [
        ({"judged_by": [{"policies": ["price"]}]}, r"judged_by\[0\].policies\[0\]: there is no policy with the label"),
        ({"judged_by": [{"guests": ["g2"]}]}, r"judged_by\[0\].guests\[0\]: there is no guest g2; known: g1"),
        ({"judged_by": [{"over": ["price"]}]}, r"judged_by\[0\].over\[0\]: there is no policy with the label price"),
        ({"judged_by": [{"levels": "any"}]}, r"judged_by\[0\].levels: nothing is varied; leave the key out, or add a"),
        ({"judged_by": [{"levels": [3.0]}]}, r"judged_by\[0\].levels\[0\]: there is no level 3; there are none"),
        ({"judged_by": [{"at_least": 2, "at_most": 1.5}]}, r"judged_by\[0\].at_most: is 1.5, no more than at_least 2"),
        ({"judged_by": [{}], "policies": ["equal"]}, r"judged_by\[0\].over: nothing is the baseline"),
        ({"policies": ["miss-ratio"]}, r"small.yml:\d+: policies\[0\]: miss-ratio can decide nothing without the sign"),
        ({"policies": [{"name": "price", "active": "touched"}]}, r"add `signals: \[page-ages\]`"),
        ({"shadows": ["miss-ratio"]}, r"shadows\[0\]: miss-ratio can decide nothing"),
    ],
)
def test_what_cannot_be_judged_or_decided_is_refused_with_file_line_key_and_remedy(
    tmp_path: Path, keys: dict[str, object], fault: str
) -> None:
    with pytest.raises(ConfigError, match=fault):
        load_experiment(written(tmp_path, **keys))


def test_an_experiment_that_has_what_its_policies_need_is_taken(tmp_path: Path) -> None:
    path = written(tmp_path, policies=["static", "miss-ratio"], signals=["page-ages"], judged_by=[{"guests": "each"}])
    found = load_experiment(path)
    assert found.resolved()["judged_by"][0]["guests"] == "each"
    assert "judged_by" not in load_experiment(written(tmp_path)).resolved(), "a run of before is the same experiment"


def test_an_experiment_in_the_list_is_called_as_its_file(tmp_path: Path) -> None:
    written(tmp_path, "other")
    with pytest.raises(ConfigError, match=r"name: is other, and the file small\.yml"):
        load_experiment("small", experiments=tmp_path)


def test_several_runs_are_reported_in_a_folder_of_their_own_without_what_is_no_more_true(tmp_path: Path) -> None:
    gains = {"static": (1, 1), "good": (1.3, 1.3)}
    paths = [
        synthetic.write_run(tmp_path / "quick" / name, run=name, backend=backend, blocks=1, gains=gains).path
        for name, backend in (("a", "xen"), ("b", "simulator"))
    ]
    place = reports.place(paths)
    assert place == reports.place(paths[::-1])
    assert place.parent == tmp_path / "reports"
    assert reports.place(paths[:1]) == paths[0]
    folder = tmp_path / "out"
    (folder / "tables").mkdir(parents=True)
    (folder / "tables" / "mine.tex").write_text("by hand")
    reports.build(paths, out=folder)
    assert (folder / "tables" / "agreement.csv").exists()
    reports.build(paths[:1], out=folder)
    assert not (folder / "tables" / "agreement.csv").exists(), "of another report"
    assert not list((folder / "figures").glob("*simulator*"))
    assert (folder / "tables" / "mine.tex").exists(), "nobody's but his who put it there"


def test_twelve_of_the_same_ratio_are_measured_as_often_as_they_are_measured() -> None:
    assert statistics.ratio_interval(np.full(12, 1.2)).observations == 12


def test_what_a_claim_compares_with_another_policy_can_be_quoted(tmp_path: Path) -> None:
    setting: Any = synthetic.manifest()["experiment"]
    entries = [{"policies": ["better"], "over": ["static", "good"]}]
    path = tmp_path / "run"
    findings(path, experiment=setting | {"judged_by": entries})
    said = []
    for name, baseline in (("own", None), ("other", "good")):
        reports.build([path], baseline, out=tmp_path / name)
        text = (tmp_path / name / "tables" / "macros.tex").read_text()
        said.append(dict(re.findall(r"\\newcommand\{\\(BallastSpeedupBetterOverGood\w+)\}\{([\d.]+)\}", text)))
    assert "1.08" in said[0].values(), "1.4 over 1.3"
    assert said[0].items() <= said[1].items(), "a name means the same, whatever the report compares with"


def test_the_macros_of_two_reports_can_stand_in_one_text(tmp_path: Path) -> None:
    names = []
    for pool in (1500, 1600):
        findings(tmp_path / str(pool), experiment=synthetic.manifest()["experiment"] | {"pool_mib": pool})
        reports.build([tmp_path / str(pool)], out=tmp_path / f"of-{pool}")
        folder = tmp_path / f"of-{pool}" / "tables"
        names.append(re.findall(r"newcommand\{(\\\w+)\}", (folder / "macros-whole.tex").read_text()))
        assert names[-1]
        assert {rf"newcommand{{{name}}}" in (folder / "macros.tex").read_text() for name in names[-1]} == {True}
    assert not set(names[0]) & set(names[1]), "TeX refuses a name that two of them define"
