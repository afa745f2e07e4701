"""Page one says which figures of others are reproduced, which are not, and of which too few blocks tell."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from harness.experiment.document import ConfigError
from harness.experiment.files import EXPERIMENTS, load_experiment
from reports import content, earlier, language, words
from reports.document import Paragraph
from reports.findings import Findings, together
from reports.study import studies
from tests.unit import synthetic_run as synthetic
from tests.unit.test_claims import written

GAINS = {"static": (1.0, 1.0), "good": (1.3, 1.3)}


def run(path: Path, *reported: dict[str, Any], **changes: Any) -> Path:  # noqa: ANN401 - what write_run takes
    """Ten measured blocks in which `good` has 1.3 times what `static` has, give or take nothing."""
    setting: Any = synthetic.manifest()["experiment"]
    entries = [{"by": "Somebody 2002", "policy": "good", **one} for one in reported]
    given = {"blocks": 10, "steady": True, "backend": "xen", "gains": GAINS} | changes
    given["experiment"] = setting | given.get("experiment", {}) | ({"reported": entries} if entries else {})
    return synthetic.write_run(path, run=path.name, **given).path


def page(*paths: Path) -> list[str]:
    """What a report says of the figures of others, wherever it does."""
    found = together([Findings.of(study) for study in studies(paths, None)])
    blocks = content.document(found, [[] for _ in found]).blocks
    lead = language.phrase("What others report.")
    return [
        block.text.replace(words.TIMES, "x") for block in blocks if isinstance(block, Paragraph) and block.lead == lead
    ]


@pytest.mark.parametrize(
    ("changes", "times", "said"),
    [
        ({}, [1.3, 1.3], "Reproduced: good over static: 1.30x [1.30, 1.30] (n = 10), reported 1.3x (Somebody 2002)."),
        ({}, [1.2, 1.4], "reported 1.2x to 1.4x (Somebody 2002)."),
        ({}, [1.4, 1.6], "Not reproduced: good over static: 1.30x [1.30, 1.30] (n = 10), reported 1.4x to 1.6x ("),
        ({}, [1.4, 1.6], "(Somebody 2002): less."),
        ({}, [1.1, 1.2], "(Somebody 2002): more."),
        ({"blocks": 5}, [1.4, 1.6], "(n = 5, an observation), reported 1.4x to 1.6x (Somebody 2002): a result takes"),
        ({"gains": {"static": (1.0, 1.0)}}, [1.3, 1.3], "Open: good: no pair of trials, reported 1.3x (Somebody 2002)"),
    ],
)  # fmt: skip
def test_a_figure_is_reproduced_where_the_interval_reaches_it(
    changes: dict[str, Any], times: list[float], said: str, tmp_path: Path
) -> None:
    (text,) = page(run(tmp_path / "a", {"times": times}, **changes))
    assert said in text


def test_what_the_baseline_shows_against_itself_is_no_deviation_from_a_figure(tmp_path: Path) -> None:
    again = [(1.1, 1.1)] * 10
    (text,) = page(run(tmp_path / "a", {"times": [1.4, 1.4]}, {"times": [1.5, 1.5]}, repeats=again))
    assert text.startswith("Reproduced: good over static: 1.30x [1.30, 1.30] (n = 10), reported 1.4x")
    assert "Not reproduced: good over static: 1.30x [1.30, 1.30] (n = 10), reported 1.5x" in text


def test_the_figures_of_a_report_are_held_together_wherever_they_are_said(tmp_path: Path) -> None:
    one = run(tmp_path / "a", {"times": [1.5, 1.5]}, blocks=6)
    other = run(tmp_path / "b", {"guest": "g1", "times": [2, 2]}, blocks=6, experiment={"name": "other"})
    (alone,) = page(one)
    assert alone.startswith("Not reproduced: ")
    first, *each = page(one, other)
    assert first.startswith("Open: other (measured on Xen): g1 (mono) under good over static")
    assert "; quick (measured on Xen): good over static" in first
    assert len(each) == 2
    assert all("beyond it, which may be chance" in text for text in (first, *each))


def test_one_guest_is_held_against_another_of_the_same_trial(tmp_path: Path) -> None:
    path = run(tmp_path / "a", {"guest": "g1", "beside": "g2", "policy": "static", "times": [0.956, 0.986]})
    rows = pd.read_csv(path / "trials.csv", keep_default_na=False)
    rows["value"] = pd.to_numeric(rows["value"])
    first, second = rows["guest"] == "g1", rows["guest"] == "g2"
    for column in ("workload", "metric", "unit", "better"):
        rows.loc[second, column] = rows.loc[first, column].to_numpy()
    rows.loc[second, "value"] = rows.loc[first, "value"].to_numpy() / 0.97
    rows.to_csv(path / "trials.csv", index=False)
    (text,) = page(path)
    assert text.startswith(
        "Reproduced: g1 beside g2 under static: 0.97x [0.97, 0.97] (n = 10), reported 0.956x to 0.986x"
    )


def test_a_run_from_before_names_no_figure_and_belongs_with_one_that_does(tmp_path: Path) -> None:
    before, after = run(tmp_path / "a"), run(tmp_path / "b", {"times": [1.3, 1.3]})
    assert page(before) == []
    assert len(studies([before, after], None)) == 1
    other = run(tmp_path / "c", experiment={"name": "other"})
    assert page(before, other) == ["No experiment here names a figure of others."]


def test_a_simulated_run_of_what_only_a_measurement_shows_reproduces_nothing(tmp_path: Path) -> None:
    said = {"only_measured": "a simulated guest has no shared memory"}
    assert page(run(tmp_path / "a", {"times": [1.3, 1.3]}, backend="simulator", experiment=said)) == []


def test_it_is_said_in_chinese_too(tmp_path: Path) -> None:
    path = run(tmp_path / "a", {"times": [1.5, 1.6]})
    with language.applied("zh"):
        (text,) = page(path)
    assert text.startswith("未能重现")


@pytest.mark.parametrize(
    ("said", "fault"),
    [
        ({"policy": "price"}, r"reported\[0\].policy: there is no policy with the label price"),
        ({"over": "price"}, r"reported\[0\].over: there is no policy with the label price"),
        ({"guest": "g2"}, r"reported\[0\].guest: there is no guest g2; known: g1"),
        ({"level": 3.0}, r"reported\[0\].level: there is no level 3; there are none"),
        ({"times": [2, 1]}, r"reported\[0\].times: is 2 to 1; give the smaller one first"),
        ({"times": [2]}, r"reported\[0\].times"),
        ({"guest": "g1", "beside": "g1"}, r"reported\[0\].beside: is the guest that another one"),
    ],
)
def test_a_figure_that_nothing_here_is_like_is_refused(tmp_path: Path, said: dict[str, Any], fault: str) -> None:
    entry = {"by": "Somebody 2002", "policy": "equal", "times": [1.0, 1.5]} | said
    with pytest.raises(ConfigError, match=fault):
        load_experiment(written(tmp_path, reported=[entry]))


def test_what_others_report_is_in_the_manifest_if_anything_is(tmp_path: Path) -> None:
    (one,) = load_experiment("e10-tax").resolved()["reported"]
    assert (one["policy"], one["guest"], one["times"]) == ("tax 0.75", "busy", [1.3, 1.3])
    assert "reported" not in load_experiment(written(tmp_path)).resolved(), "a run of before is the same experiment"
    for path in sorted((EXPERIMENTS / "real").glob("*.yml")):
        assert json.dumps(load_experiment(path).resolved())


def test_every_fate_is_one_that_is_said() -> None:
    assert set(earlier.KINDS) <= set(language.catalogue("zh"))
