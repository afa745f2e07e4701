"""A run can be made again from its manifest, and a report says where a number moved."""

from __future__ import annotations

import hashlib
import json
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pandas as pd
import pytest
import yaml
from typer.testing import CliRunner

import reports
from harness.cli import app
from reports import check
from reports.study import ReportError
from tests.unit import synthetic_run as synthetic

PROJECT = Path(__file__).parents[2]
GAINS = {"static": (1.0, 1.0), "two-state": (2.0, 0.96), "unconstrained": (3.0, 1.2)}


def ballast(*command: object) -> tuple[int, str]:
    done = CliRunner().invoke(app, [str(part) for part in command])
    return done.exit_code, done.stdout


def small(path: Path) -> Path:
    guests = [
        {"name": name, "workload": "mono", "with": {"low_mib": 60, "high_mib": 300, "rate_mib_s": 20}, "min_mib": 160,
         "initial_mib": 250, "max_mib": 400}
        for name in ("g1", "g2")
    ]  # fmt: skip
    said = {"name": "again", "pool_mib": 500, "guests": guests, "policies": ["static", "price"], "duration_s": 20}
    path.write_text(yaml.safe_dump(said), encoding="utf-8")
    return path


def test_the_page_leads_from_a_manifest_to_the_same_numbers(tmp_path: Path) -> None:
    (program,) = re.findall(r"python -c '(.*?)' RUN/manifest.json", (PROJECT / "docs/reproducing.md").read_text())
    code, said = ballast("simulate", small(tmp_path / "first.yml"), "--out", tmp_path / "first")
    assert code == 0
    first = Path(said.splitlines()[-1])
    assert ballast("report", first)[0] == 0
    again = subprocess.run(
        [sys.executable, "-c", program, str(first / "manifest.json")], check=True, capture_output=True, text=True
    )
    (tmp_path / "again.yml").write_text(again.stdout)
    code, said = ballast("simulate", tmp_path / "again.yml", "--out", tmp_path / "second")
    second = Path(said.splitlines()[-1])
    code, said = ballast("report", second, "--check", first, "--tolerance", 0)
    assert (code, said.splitlines()[-1]) == (0, "0 of 7 numbers moved by more than 0 %")
    assert not (second / "report.pdf").exists(), "nothing is written"


def test_a_number_that_moved_ends_the_check_with_one(tmp_path: Path) -> None:
    first, second = (
        synthetic.write_run(tmp_path / name, gains=gains, steady=True, blocks=2, run=name, backend="xen").path
        for name, gains in (("a", GAINS), ("b", GAINS | {"two-state": (2.1, 0.96)}))
    )
    baseline = reports.build([first], out=tmp_path / "report").parent
    assert ballast("report", first, "--check", baseline, "--tolerance", 0)[0] == 0
    code, said = ballast("report", second, "--check", baseline)
    assert code == 1
    line = "speedup.csv, quick, xen, two-state, g1, passes_per_s: 2 before, 2.1 now (+5 %)"
    assert line in said.splitlines()
    assert said.splitlines()[-1] == "3 of 8 numbers moved by more than 2 %"
    assert ballast("report", second, "--check", baseline, "--tolerance", 0.06)[0] == 0


@pytest.mark.parametrize(
    "idle", [("--check", "BEFORE", "--out", "X"), ("--check", "BEFORE", "--language", "zh"), ("--tolerance", "0.1")]
)
def test_an_option_that_would_do_nothing_is_refused(tmp_path: Path, idle: tuple[str, ...]) -> None:
    run = synthetic.write_run(tmp_path / "run", gains=GAINS, blocks=2).path
    before = sorted(tmp_path.rglob("*"))
    done = CliRunner().invoke(app, ["report", str(run), *idle])
    assert done.exit_code == 2
    assert f"Invalid value for {idle[-2]}: " in done.stderr
    assert "leave" in done.stderr
    assert sorted(tmp_path.rglob("*")) == before


def test_a_ratio_with_next_to_nothing_on_one_side_has_not_moved() -> None:
    assert check.same(571_555.0, 233_909.0, 0.02)
    assert check.same(2e-6, 0.0, 0.02)
    assert not check.same(571_555.0, 990.0, 0.02)
    assert not check.same(1e-6, 0.01, 0.02)


def test_a_number_that_is_gone_has_moved_and_a_new_one_has_not(tmp_path: Path) -> None:
    whole = synthetic.write_run(tmp_path / "a", gains=GAINS, steady=True, blocks=1, run="a").path
    less = {label: GAINS[label] for label in ("static", "two-state")}
    part = synthetic.write_run(tmp_path / "b", gains=less, steady=True, blocks=1, run="b").path
    reports.build([whole])
    reports.build([part])
    lines, _ = reports.compare([part], whole, 0)
    assert any(line.startswith("overall.csv, quick, simulator, unconstrained") for line in lines)
    assert all(line.endswith("and not there now") for line in lines)
    assert reports.compare([whole], part, 0)[0] == []


@pytest.mark.parametrize(
    ("old", "new", "tolerance", "same"),
    [
        (2.0, 2.04, 0.02, True),
        (2.0, 2.05, 0.02, False),
        (float("nan"), float("nan"), 0, True),
        (1.0, float("nan"), 9, False),
        (float("inf"), float("inf"), 0, True),
        (0.0, 0.1, 0.02, False),
    ],
)
def test_unknown_is_only_like_unknown(old: float, new: float, tolerance: float, same: bool) -> None:
    assert check.same(old, new, tolerance) is same


def test_a_baseline_that_is_none_says_what_to_give(tmp_path: Path) -> None:
    run = synthetic.write_run(tmp_path / "run", blocks=1, gains=GAINS).path
    with pytest.raises(ReportError, match=r"overall.csv is missing; give the folder of a report, or make one"):
        reports.compare([run], tmp_path, 0)
    (tmp_path / "tables").mkdir()
    (tmp_path / "tables" / "overall.csv").write_text("label,other\na,1\n")
    with pytest.raises(ReportError, match=r"overall.csv cannot be read"):
        reports.compare([run], tmp_path, 0)
    pd.DataFrame(columns=["label", "speedup"]).to_csv(tmp_path / "tables" / "overall.csv", index=False)
    with pytest.raises(ReportError, match="has no number to hold these against"):
        reports.compare([run], tmp_path, 0)


def test_a_folder_is_described_for_archives(tmp_path: Path) -> None:
    run = synthetic.write_run(tmp_path / "run", blocks=1, gains=GAINS).path
    folder = reports.build([run]).parent
    text = (folder / "ro-crate-metadata.json").read_text()
    graph = {node["@id"]: node for node in json.loads(text)["@graph"]}
    assert graph["ro-crate-metadata.json"]["conformsTo"]["@id"] == "https://w3id.org/ro/crate/1.1"
    parts = [part["@id"] for part in graph["./"]["hasPart"]]
    assert {"trials.csv", "manifest.json", "report.pdf", "report.html"} <= set(parts)
    assert all((folder / part).exists() and part in graph for part in parts)
    assert graph["#r1"]["instrument"]["@id"] in graph
    before = hashlib.sha256(text.encode()).hexdigest()
    reports.build([run])
    assert hashlib.sha256((folder / "ro-crate-metadata.json").read_bytes()).hexdigest() == before


def test_the_citation_is_of_this_version() -> None:
    cited = yaml.safe_load((PROJECT / "CITATION.cff").read_text())
    project = (PROJECT / "pyproject.toml").read_text()
    assert f'version = "{cited["version"]}"' in project
    assert cited["cff-version"] == "1.2.0"
    assert {"message", "title", "authors"} <= set(cited)


@pytest.mark.parametrize(
    ("harm", "said"),
    [
        (Path.unlink, "speedup.csv is missing"),
        (lambda path: path.write_text(path.read_text().splitlines()[0] + "\n"), "speedup.csv has no number"),
        (lambda path: path.write_bytes(path.read_bytes()[:-9]), "speedup.csv cannot be read: it ends within a line"),
        (lambda path: path.write_text(path.read_text() + path.read_text().splitlines()[-1] + "\n"), "of the same"),
    ],
)
def test_a_baseline_that_lost_numbers_passes_nothing(tmp_path: Path, harm: Callable[[Path], object], said: str) -> None:
    path = synthetic.write_run(tmp_path / "run").path
    reports.build([path])
    harm(path / "tables" / "speedup.csv")
    with pytest.raises(ReportError, match=said):
        reports.compare([path], path, 0.02)
