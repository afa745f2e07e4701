"""What of a run is of another shape, contradicts itself, or cannot be opened is named with its place and the remedy."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

import reports
from harness.records import RecordsError, read_run
from tests.unit import synthetic_run as synthetic


@pytest.mark.parametrize(
    ("where", "value"),
    [
        (where, value)
        for where in (
            "experiment.policies", "experiment.guests", "experiment.baseline", "experiment.judged_by",
            "experiment.loses_at_most", "experiment.reported", "experiment.repeat_until", "experiment.sweep",
            "experiment.hosts", "experiment.pool_mib", "files", "git", "host", "xen", "seeds", "started_utc",
        )
        for value in (5 if where != "experiment.pool_mib" else "much", [5], [[]])
    ] + [
        ("experiment.sweep", {"levels": [{"at": 1, "guests": guests}]})
        for guests in (5, {"g1": 5}, {"g1": {"workload": 5}}, {"g1": {"behaviour": 5}}, {"g1": {"behaviour": {}}})
    ],
)  # fmt: skip
def test_a_manifest_of_another_shape_is_named_with_the_key(tmp_path: Path, where: str, value: object) -> None:
    path = synthetic.write_run(tmp_path / "run", blocks=1).path
    manifest = json.loads((path / "manifest.json").read_text())
    *steps, last = where.split(".")
    place = manifest
    for step in steps:
        place = place[step]
    place[last] = value
    (path / "manifest.json").write_text(json.dumps(manifest))
    with pytest.raises(RecordsError, match=rf"manifest\.json: {where}.*; restore it from a copy of the run"):
        read_run(path)


def test_a_number_beyond_all_numbers_is_named_with_its_line(tmp_path: Path) -> None:
    path = synthetic.write_run(tmp_path / "run", blocks=1).path / "trials.csv"
    head, first, *rest = path.read_text().splitlines()
    block = head.split(",").index("block")
    cells = first.split(",")
    shutil.rmtree(path.parent / "trials")
    path.write_text("\n".join([head, ",".join([*cells[:block], "9" * 20, *cells[block + 1 :]]), *rest]))
    with pytest.raises(RecordsError, match=r"trials\.csv: line 2, column 'block': '9+' is no int"):
        read_run(path.parent)


def test_a_sweep_that_has_only_begun_its_second_level_is_reported_on(tmp_path: Path) -> None:
    gains = {"static": (1.0, 1.0), "two-state": (2.0, 1.0), "price": (1.5, 1.0)}
    path = synthetic.write_run(tmp_path / "run", gains=gains, levels={1: 1, 2: 1}, blocks=2).path
    shutil.rmtree(path / "trials")  # as published: what is in trials.csv is what there is
    rows = pd.read_csv(path / "trials.csv", dtype=str, keep_default_na=False)
    rows[(rows["level"].astype(float) == 1) | (rows["label"] == "static")].to_csv(path / "trials.csv", index=False)
    document = reports.build([path], out=tmp_path / "report")
    table = pd.read_csv(document.parent / "tables" / "overall.csv")
    assert set(table.loc[table["n"] > 0, "level"]) == {1.0}


def published(path: Path, change: Callable[[pd.DataFrame], pd.DataFrame], **said: Any) -> Path:  # noqa: ANN401 - what write_run takes
    """A run without its `trials/`, its rows changed."""
    folder = synthetic.write_run(path, blocks=2, **said).path
    shutil.rmtree(folder / "trials")
    rows = pd.read_csv(folder / "trials.csv", dtype=str, keep_default_na=False)
    change(rows).to_csv(folder / "trials.csv", index=False)
    return folder


CONTRADICTIONS: dict[str, tuple[Callable[[pd.DataFrame], pd.DataFrame], str]] = {
    "twice": (lambda rows: pd.concat([rows, rows.tail(1)]), "both have no metric of g3 in one trial"),
    "level": (lambda rows: rows.assign(level=["1", *rows["level"][1:]]), "differ in 'level': '1' and ''"),
    "better": (lambda rows: rows.assign(better=["lower", *rows["better"][1:]]), "differ in 'better'"),
    "word": (lambda rows: rows.assign(better="highr"), "'highr' is none of higher, lower"),
    "status": (lambda rows: rows.assign(status="OK"), "'OK' is none of ok, failed"),
    "run": (lambda rows: rows.assign(run="other"), "is of run 'other'"),
}


@pytest.mark.parametrize("kind", CONTRADICTIONS)
def test_rows_that_cannot_all_be_true_are_named_with_their_lines(tmp_path: Path, kind: str) -> None:
    change, said = CONTRADICTIONS[kind]
    with pytest.raises(RecordsError, match=rf"trials\.csv: lines? \d+.*{said}.*restore it from a copy"):
        read_run(published(tmp_path / "run", change))


def test_a_guest_without_a_row_leaves_its_block_without_a_mean(tmp_path: Path) -> None:
    gains = {"static": (1.0, 1.0), "two-state": (4.0, 1.0)}
    path = published(
        tmp_path / "run", gains=gains, steady=True,
        change=lambda rows: rows[(rows["block"] != "1") | (rows["label"] == "static") | (rows["guest"] != "g2")],
    )  # fmt: skip
    reports.build([path], out=tmp_path / "report")
    (row,) = pd.read_csv(tmp_path / "report" / "tables" / "overall.csv").to_dict("records")
    assert (row["n"], row["speedup"]) == (1, pytest.approx(2.0)), "4 would be the survivor's"


@pytest.mark.parametrize("value", ["inf", "-inf", "1e400"])
def test_an_infinite_number_of_a_sample_is_named_and_left_aside(tmp_path: Path, value: str) -> None:
    path = published(tmp_path / "run", lambda rows: rows)
    lines = (path / "samples.csv").read_text().splitlines()
    place = lines[0].split(",").index("current_kib")
    cells = lines[4].split(",")
    lines[4] = ",".join([*cells[:place], value, *cells[place + 1 :]])
    (path / "samples.csv").write_text("\n".join([*lines, ""]))
    with pytest.raises(RecordsError, match=rf"samples\.csv: line 5, column 'current_kib': '{value}' is no float"):
        read_run(path)
    said: list[str] = []
    assert reports.build([path], out=tmp_path / "report", say=said.append).exists()
    assert any("the report is made without a file" in one and "line 5" in one for one in said)


def test_what_cannot_be_opened_is_to_be_let_read(tmp_path: Path) -> None:
    path = published(tmp_path / "run", lambda rows: rows)
    (path / "samples.csv").unlink()
    (path / "samples.csv").mkdir()
    with pytest.raises(RecordsError, match=r"samples\.csv: Is a directory; let it be read, or give a copy of the run"):
        read_run(path)


def test_a_byte_that_is_no_text_is_named_with_its_line(tmp_path: Path) -> None:
    path = published(tmp_path / "run", lambda rows: rows)
    lines = (path / "trials.csv").read_bytes().splitlines(keepends=True)
    (path / "trials.csv").write_bytes(b"".join([*lines[:2], lines[2].replace(b"static", b"st\xfftic"), *lines[3:]]))
    with pytest.raises(RecordsError, match=r"trials\.csv: line 3 is not UTF-8"):
        read_run(path)


def test_a_run_of_old_without_younger_columns_is_told_what_is_wrong_and_no_more(tmp_path: Path) -> None:
    path = published(tmp_path / "run", lambda rows: rows)
    samples = pd.read_csv(path / "samples.csv", dtype=str, keep_default_na=False).drop(columns="reclaimable_slab_kib")
    samples.loc[0, "current_kib"] = "many"
    samples.to_csv(path / "samples.csv", index=False)
    with pytest.raises(RecordsError, match=r"line 2, column 'current_kib': 'many' is no float"):
        read_run(path)
