"""The figures in README.md and docs/ are those of docs/measured/, and these are what the reports compute of runs."""
# ruff: noqa: RUF001 - the pages have signs of their own for times and for unknown

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from docs import measured, shown
from docs.marks import MarkError, kept
from harness.records import again
from reports.findings import Findings
from reports.study import ReportError, studies
from tests.unit import synthetic_run as synthetic

RUNS = measured.PROJECT / measured.KEPT / "runs"
LAB = {"lab": True, "lab_clock": "instructions", "processor_mips": 250.0, "guest_percent": 25, "accelerator": "tcg"}
TWICE = ((1.01, 1.0), (0.98, 1.004), (1.0, 0.99))
"""What the second trial of `static` reached over the first, block by block: farthest 1/0.98 for g1, 1/0.99 for g2."""
HEAD = "| who | against | reached | times as much [95 %] | n | noise | verdict |\n|---|---|--:|--:|--:|--:|---|\n"
G1 = "| g1 (`mono`), two-state | static | 50.0 → 100 passes/s | 2.00× [2.00, 2.00] | 9 | 2.1 % | better |"
G2 = (
    "| g2 (`kernel-build`), two-state | static | 80.0 → 83.3 s | 0.96× [0.96, 0.96], where less is better | 9 "
    "| 1.1 % | worse |"
)
SOURCE = "`quick`: 9 blocks, none of 27 trials failed, 2026-03-01, commit 0123456."


def run(path: Path, **changes: Any) -> Path:  # noqa: ANN401 - what write_run takes
    """Write a run of the lab: nine exact blocks in which g1 does 50 and 100 passes/s, and g2 takes 80 and 80/0.96 s."""
    given: dict[str, Any] = {
        "blocks": 9, "repeats": TWICE, "steady": True, "backend": "xen", "xen": LAB,
        "gains": {"static": (1, 1), "two-state": (2, 0.96)},
    }  # fmt: skip
    return synthetic.write_run(path, **(given | changes)).path


@pytest.fixture(name="project", scope="module")
def _project(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A project that keeps what `run` writes."""
    project = tmp_path_factory.mktemp("project")
    measured.keep([run(project / "run")], project)
    return project


def text(project: Path, kind: str, selection: str) -> str:
    return shown.shown(kind, selection, project / measured.KEPT)


@pytest.mark.parametrize("page", measured.pages(), ids=lambda page: page.name)
def test_a_page_has_the_figures_that_are_kept(page: Path) -> None:
    found = shown.stale(page.read_text(encoding="utf-8"), measured.PROJECT / measured.KEPT, page.name)
    where = [f"{page.name}:{line}" for line in found]
    assert not where, "write them anew with: .venv/bin/python docs/measured.py"


def test_every_kept_file_is_of_an_experiment_and_shown_on_a_page() -> None:
    told = "".join(page.read_text(encoding="utf-8") for page in measured.pages())
    names = sorted(path.stem for path in (measured.PROJECT / measured.KEPT).glob("*.json"))
    assert names
    for name in names:
        assert (measured.PROJECT / "experiments" / f"{name}.yml").exists()
        assert f"`{name}`: " in told


@pytest.mark.parametrize("folder", sorted(RUNS.iterdir()), ids=lambda folder: folder.name)
def test_the_figures_of_a_page_can_be_computed_again_from_the_rows_that_are_kept(folder: Path, tmp_path: Path) -> None:
    [study] = studies(sorted(folder.iterdir()))
    facts = json.loads((RUNS.parent / f"{folder.name}.json").read_text(encoding="utf-8"))
    assert [run.manifest["run"] for run in study.runs] == facts["runs"]
    for run in study.runs:
        assert "trials.csv" not in run.changed_files, "these are the rows that were sealed"
    measured.rows(Findings.of(study)).to_csv(tmp_path / "again.csv", index=False)
    again, kept_rows = (pd.read_csv(path) for path in (tmp_path / "again.csv", RUNS.parent / f"{folder.name}.csv"))
    pd.testing.assert_frame_equal(again, kept_rows, check_dtype=False, rtol=1e-9)


def test_where_a_claim_reads_otherwise_since_or_has_come_to_be_judged_the_page_says_so(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(shown, "EXPERIMENTS", tmp_path)
    facts = {
        "experiment": "quick",
        "claim": "as it was",
        "verdicts": [f"Cannot be judged: the experiment {shown.UNSAID}"],
    }
    for now, said in (
        ("claim: as it was", []),
        ("claim: as it is", ["*Its claim reads otherwise since.*"]),
        ("claim: as it was\nloses_at_most: {percent: 3}", ["*It says so since.*"]),
    ):
        (tmp_path / "quick.yml").write_text(now)
        assert list(shown._since(facts)) == said


def test_the_rows_of_a_run_take_the_place_of_those_before(project: Path) -> None:
    [kept_run] = (project / measured.KEPT / "runs" / "quick").iterdir()
    assert sorted(path.name for path in kept_run.iterdir()) == sorted(measured.ROWS)


def test_what_is_kept_is_what_was_measured(project: Path) -> None:
    found = kept("quick", project / measured.KEPT)
    assert found is not None
    rows = {row["guest"]: row for row in found.rows}
    assert rows["g1"]["base_median"] == 50
    assert rows["g1"]["median"] == 100
    assert (rows["g1"]["speedup"], rows["g1"]["low"], rows["g1"]["high"], rows["g1"]["n"]) == (2, 2, 2, 9)
    assert rows["g1"]["band"] == pytest.approx(1 / 0.98)
    assert rows["g2"]["speedup"] == pytest.approx(0.96)
    assert rows["g2"]["band"] == pytest.approx(1 / 0.99)
    assert rows["g1"]["major_faults"] == rows["g1"]["base_major_faults"] == 120
    assert rows["all guests"]["speedup"] == pytest.approx(math.sqrt(2 * 0.96))
    facts = found.facts
    assert (facts["blocks"], facts["trials"], facts["failed_trials"], facts["runs"]) == (9, 27, 0, ["r1"])
    assert facts["trial_wall_s"] == 8, "four ticks of two seconds"
    assert facts["lab"] == {key: LAB[key] for key in ("lab", "lab_clock", "processor_mips", "guest_percent")}
    picture = project / measured.PICTURES["quick"]
    assert picture.read_bytes().startswith(b"\x89PNG")


def test_a_table_says_who_gains_and_who_loses_by_how_much_and_beyond_which_noise(project: Path) -> None:
    assert text(project, "measured", "quick") == f"{HEAD}{G1}\n{G2}\n\n{SOURCE}"
    named = text(project, "measured", 'columns=who,times; quick guests=g2 as="a build"')
    row = "| a build, two-state | 0.96× [0.96, 0.96], where less is better |"
    assert named == f"| who | times as much [95 %] |\n|---|--:|\n{row}\n\n{SOURCE}"
    mean = text(project, "measured", "columns=who,times,verdict; quick of=all")
    assert "| all guests, two-state | 1.39× [1.39, 1.39] | better |" in mean


def test_sentences_claims_and_where_say_the_same(project: Path) -> None:
    said = "g1 (`mono`), two-state over static: 2.00× [2.00, 2.00] (n = 9), better: 50.0 → 100 passes/s; noise 2.1 %."
    assert text(project, "measured-in-words", "quick guests=g1") == f"{said} {SOURCE}"
    assert "Over all guests 1 of 1 comparison with static is better and 0 worse." in text(
        project, "measured-claims", "quick"
    )
    where = text(project, "measured-where", "quick")
    assert "| `quick` | 9 | 27 | 0 | – | 8 | 25 % | 2026-03-01 | 0123456 | r1 |" in where
    assert where.endswith("Lab in virtual time: one emulated processor of 250 MIPS.")


def test_failed_trials_and_too_few_blocks_are_told(tmp_path: Path) -> None:
    fails = lambda block, label: "g2" if (block, label) == (2, "two-state") else ""  # noqa: E731
    measured.keep([run(tmp_path / "run", fails=fails, git={"commit": "89abcdef", "dirty": True})], tmp_path)
    table = text(tmp_path, "measured", "quick guests=g2")
    assert "| 8 | 1.1 % | worse; 1 trial without a number |" in table
    assert "1 of 27 trials failed, 2026-03-01, commit 89abcde with changes." in table
    measured.keep([run(tmp_path / "few", blocks=2, repeats=())], tmp_path)
    assert "| 2 | not known | observation |" in text(tmp_path, "measured", "quick guests=g1")
    assert "(n = 2, an observation): 50.0" in text(tmp_path, "measured-in-words", "quick guests=g1")


def test_a_simulated_run_beside_a_measured_one_is_held_against_it_and_forgotten_with_it(tmp_path: Path) -> None:
    real = run(tmp_path / "real")
    simulated = run(
        tmp_path / "simulated",
        run="r2",
        backend="simulator",
        repeats=(),
        gains={"static": (1, 1), "two-state": (2.2, 0.96)},
    )
    measured.keep([simulated, real], tmp_path)
    said = text(tmp_path, "measured-and-simulated", "quick; e02-mono")
    assert "| `quick` | g1, two-state | 2.00× [2.00, 2.00] | 9 | 2.20× | +10.0 % |" in said
    assert "10.0 % at most (g1 under two-state)" in said
    assert said.endswith("Not measured yet in the lab's own time: `e02-mono`.")
    measured.keep([real], tmp_path)
    assert text(tmp_path, "measured-and-simulated", "quick") == "Measured, and not simulated beside it yet: `quick`."
    with pytest.raises(ReportError, match="quick is simulated; give the measured run"):
        measured.keep([simulated], tmp_path)


def test_what_is_not_measured_says_so_and_nothing_else(tmp_path: Path) -> None:
    for kind in shown.KINDS:
        assert text(tmp_path, kind, "quick; e07-hog") == ("Not measured yet in the lab's own time: `quick`, `e07-hog`.")


def test_the_command_writes_pages_and_its_check_names_page_and_line(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "docs").mkdir()
    page = tmp_path / "README.md"
    page.write_text("# Title\n\n<!-- measured:\n  quick -->\n<!-- /measured -->\n\nThe end.\n")
    assert measured.main(["--check"], tmp_path) == 1
    assert capsys.readouterr().out.startswith("README.md:5: not what docs/measured/ gives\n")
    assert measured.main([str(run(tmp_path / "run"))], tmp_path) == 0
    assert page.read_text() == (
        f"# Title\n\n<!-- measured:\n  quick -->\n\n{HEAD}{G1}\n{G2}\n\n{SOURCE}\n\n<!-- /measured -->\n\nThe end.\n"
    )
    assert capsys.readouterr().out == "README.md written anew\n"
    assert measured.main(["--check"], tmp_path) == 0
    page.write_text(page.read_text().replace("0.96×", "1.06×"))
    assert measured.main(["--check"], tmp_path) == 1
    assert capsys.readouterr().out.startswith("README.md:9: not what")
    assert measured.main([], tmp_path) == 0
    assert "1.06×" not in page.read_text()


@pytest.mark.parametrize(
    ("marker", "error"),
    [
        (
            "<!-- measured: quick guests=g9 -->\n<!-- /measured -->",
            "page.md:2: quick has no guests 'g9'; it has g1, g2, g3",
        ),
        ("<!-- measured: quick labels=tax -->\n<!-- /measured -->", "page.md:2: quick has no labels 'tax'"),
        ("<!-- measured: e99 -->\n<!-- /measured -->", "page.md:2: .*e99"),
        ("<!-- measured: quick of=some -->\n<!-- /measured -->", "page.md:2: quick: of=some; use"),
        ("<!-- measured: quick who=g1 -->\n<!-- /measured -->", "page.md:2: quick: 'who' is no key"),
        ("<!-- measured: quick; -->\n<!-- /measured -->", "page.md:2: '' is no selection"),
        ("<!-- measured-oddly: quick -->\n<!-- /measured -->", "page.md:2: measured-oddly is no kind"),
        ("<!-- measured: quick -->\n", "page.md:2: <!-- measured: quick --> is half of a section"),
        ("\n<!-- /measured -->", "page.md:3: .* is half of a section"),
        (
            "<!-- measured: quick -->\n<!-- measured: quick -->\n<!-- /measured -->",
            "page.md:2: .* is half of a section",
        ),
    ],
)
def test_a_marker_that_cannot_be_followed_is_an_error_with_its_place(tmp_path: Path, marker: str, error: str) -> None:
    with pytest.raises(MarkError, match=error):
        shown.rewritten(f"# Page\n{marker}\n", tmp_path, "page.md")


def test_a_marker_that_wants_what_was_not_kept_is_an_error(project: Path) -> None:
    for selection, error in (
        ("quick guests=g3", "quick.csv has no row of"),
        ('quick as="both"', "as= names one guest"),
        ("columns=who,place; quick", "no column 'place'"),
    ):
        with pytest.raises(MarkError, match=error):
            text(project, "measured", selection)


def test_a_run_that_no_page_may_quote_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ReportError, match="run r1 was not measured in the lab's own time"):
        measured.keep([run(tmp_path / "real time", xen=LAB | {"lab_clock": "real"})], tmp_path)
    with pytest.raises(ReportError, match="run r1 was not measured in the lab's own time"):
        measured.keep([run(tmp_path / "host", xen={"version": "4.17"})], tmp_path)
    changed = run(tmp_path / "changed")
    rows = (changed / "trials.csv").read_text()
    (changed / "trials.csv").write_text(rows.replace(f"{again('static')},g1", f"{again('static')},g3"))
    with pytest.raises(ReportError, match=r"run r1 is not whole: .*trials.csv is changed"):
        measured.keep([changed], tmp_path)
    one = run(tmp_path / "one")
    other = run(tmp_path / "other", run="r2", xen=LAB | {"processor_mips": 500.0})
    with pytest.raises(ReportError, match="measured in different labs"):
        measured.keep([one, other], tmp_path)
    assert not list((tmp_path / measured.KEPT).glob("*"))


def test_what_is_kept_can_be_read_again_without_loss(tmp_path: Path) -> None:
    measured.keep([run(tmp_path / "run", steady=False)], tmp_path)
    before = (tmp_path / measured.KEPT / "quick.csv").read_bytes()
    measured.keep([tmp_path / "run"], tmp_path)
    assert (tmp_path / measured.KEPT / "quick.csv").read_bytes() == before
    assert json.loads((tmp_path / measured.KEPT / "quick.json").read_text())["baseline"] == "static"
