"""What of a run is not as it was sealed is said before anything that hangs on it; what is there is reported."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import pandas as pd
import pytest
from typer.testing import CliRunner, Result

import reports
from harness.cli import app
from harness.records import RecordsError, RunFolder, read_run
from reports import content, doubts
from reports.document import Document, Paragraph, Picture
from reports.findings import Findings
from reports.special import asked
from reports.special.verdict import Claim
from reports.study import studies
from tests.unit import synthetic_run as synthetic

Harm = Callable[[Path], object]
PARTS = ("samples.csv", "decisions.jsonl", "events.jsonl")


@pytest.fixture
def sealed(tmp_path: Path) -> Path:
    """A run of two blocks that was sealed, and published without its trials/."""
    said = synthetic.manifest()["experiment"] | {"figures": ["solver", "states"]}  # type: ignore[operator]
    folder = synthetic.write_run(tmp_path / "run", blocks=2, ticks=4, experiment=said).seal()
    shutil.rmtree(folder.path / "trials")
    return folder.path


def report_of(path: Path) -> tuple[Document, dict[str, str]]:
    found = [Findings.of(study) for study in studies([path], "static")]
    document = content.document(found, [asked(one) for one in found])
    return document, {block.lead: block.text for block in document.blocks if isinstance(block, Paragraph)}


def with_cell(path: Path, column: str, value: str) -> Path:
    """Write another value into a row of g1 that is ok."""
    rows = pd.read_csv(path / "trials.csv", dtype=str, keep_default_na=False)
    rows.loc[rows.index[(rows["guest"] == "g1") & (rows["label"] == "two-state")][0], column] = value
    rows.to_csv(path / "trials.csv", index=False)
    return path


def cut(path: Path) -> None:
    path.write_bytes((path.read_bytes() or b'{"event": "note"}\n')[:-9])  # of a synthetic run nothing happened


def ballast(*command: object) -> Result:
    return CliRunner().invoke(app, [str(part) for part in command])


def test_a_run_as_it_was_sealed_has_no_doubts(sealed: Path) -> None:
    assert (list(read_run(sealed).doubts()), list(doubts.blocks([read_run(sealed)]))) == ([], [])


def test_a_report_of_what_was_changed_says_so_before_it_begins_and_on_its_first_page(sealed: Path) -> None:
    said: list[str] = []
    reports.build([with_cell(sealed, "value", "-5")], say=said.append)
    assert said[:2] == [
        f"reading {sealed}",
        f"{sealed / 'trials.csv'} is not what was sealed: changed, so whatever is made of it may not be what was "
        "recorded; restore it from a copy",
    ]
    assert said[2:] == ["quick (simulator): comparing", f"drawing figures: {drawn(sealed)}", "setting report.pdf"]
    document, texts = report_of(sealed)
    assert [block.lead for block in document.blocks[2:3] if isinstance(block, Paragraph)] == ["Not as it was sealed."]
    assert texts["Not as it was sealed."].startswith("Of run r1: trials.csv changed.")


def drawn(path: Path) -> int:
    return sum(isinstance(block, Picture) for block in report_of(path)[0].blocks)


def test_every_command_that_reads_a_run_says_what_is_not_as_sealed(sealed: Path, tmp_path: Path) -> None:
    earlier = reports.build([sealed], out=tmp_path / "earlier").parent
    with_cell(sealed, "value", "")
    for command in (("report", sealed, "--check", earlier), ("replay", sealed, "--policy", "equal")):
        assert f"{sealed / 'trials.csv'} is not what was sealed: changed" in ballast(*command).stderr, command


def test_a_value_that_is_not_there_though_its_row_is_ok_counts_as_missing_and_its_trial_is_named(sealed: Path) -> None:
    _, texts = report_of(with_cell(sealed, "value", ""))
    assert texts["What failed."].startswith("1 of 6 trials: two-state 1.")
    (study,) = studies([sealed])
    (row,) = Findings.of(study).failures.to_dict("records")
    assert (row["block"], row["label"], row["guest"]) == (1, "two-state", "g1")
    assert row["reason"] == "trials.csv has no value of passes_per_s, and calls it ok"


@pytest.mark.parametrize("text", ["nan", "NaN", "1_0"])
@pytest.mark.parametrize("column", ["value", "swapped_in_kib"])
def test_what_is_no_number_in_a_cell_is_named_with_line_and_column(sealed: Path, column: str, text: str) -> None:
    with pytest.raises(RecordsError, match=rf"trials\.csv: line \d+, column '{column}': '{text}' is no float; restore"):
        read_run(with_cell(sealed, column, text))


@pytest.mark.parametrize("name", [*PARTS, "trials.csv"])
def test_what_is_missing_is_not_to_be_deleted_and_without_trials_nothing_rebuilds_it(sealed: Path, name: str) -> None:
    (sealed / name).unlink()
    with pytest.raises(RecordsError, match=rf"{name} is missing; restore it from a copy: there is no trials/ from"):
        list(read_run(sealed).decisions())


def test_what_is_not_rebuilt_for_a_damaged_trial_is_not_to_be_deleted(tmp_path: Path) -> None:
    folder: RunFolder = synthetic.write_run(tmp_path / "run", blocks=1, ticks=2).seal()
    (folder.trial("001-01") / "samples.csv").unlink()
    cut(folder.path / "samples.csv")
    with pytest.raises(
        RecordsError, match=r"samples\.csv: .*; restore it from a copy: in trials/ something is damaged"
    ):
        read_run(folder.path)


@pytest.mark.parametrize("harm", [Path.unlink, cut], ids=["missing", "cut"])
@pytest.mark.parametrize("name", PARTS)
def test_a_report_is_made_without_a_file_that_cannot_be_read_and_says_so(sealed: Path, name: str, harm: Harm) -> None:
    harm(sealed / name)
    said: list[str] = []
    assert studies([sealed], say=said.append)
    assert any(line.startswith(f"the report is made without a file: {sealed / name}") for line in said)
    document, texts = report_of(sealed)
    assert f"{name} of run r1 cannot be read: " in texts["Not as it was sealed."]
    assert "Better" in texts["Who won."] or "Observed" in texts["Who won."]
    timelines = [block for block in document.blocks if isinstance(block, Picture) and block.name.startswith("timeline")]
    assert bool(timelines) == (name != "samples.csv")
    (study,) = studies([sealed])
    open_for_it = [special.reason == f"{name} cannot be read." for special in asked(Findings.of(study))]
    assert open_for_it == [name == "decisions.jsonl", name == "samples.csv"]
    assert all(one.claim == Claim.OPEN for one in asked(Findings.of(study)) if not one.blocks)


def test_a_report_without_its_samples_is_set_to_its_end(sealed: Path) -> None:
    (sealed / "samples.csv").unlink()
    done = ballast("report", sealed)
    assert (done.exit_code, done.stdout) == (0, f"{sealed / 'report.pdf'}\n"), done.stderr


def test_of_trials_that_end_within_a_line_there_is_no_report(sealed: Path) -> None:
    cut(sealed / "trials.csv")
    done = ballast("report", sealed)
    assert done.exit_code != 0
    assert isinstance(done.exception, RecordsError)
    assert "has 2" in str(done.exception)
