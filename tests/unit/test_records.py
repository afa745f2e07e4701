"""The files of a run survive a kill at any moment, and come back with the types they were promised."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from harness.governor import Plan
from harness.policies import make
from harness.policies.base import Allocation
from harness.ports import Outcome
from harness.records import (
    SAMPLE_COLUMNS,
    TRIAL_COLUMNS,
    RecordsError,
    RunFolder,
    Stamp,
    TrialKey,
    TrialRow,
    TrialWriter,
    read_decisions,
    read_run,
)
from tests.unit import synthetic_run as synthetic

ROOT = Path(__file__).parents[2]
RUN_FILES = ("trials.csv", "samples.csv", "decisions.jsonl", "events.jsonl")


class KilledError(Exception):
    """Stands for the end of the process."""


def key(block: int, order: int, label: str = "static") -> TrialKey:
    return TrialKey(run="r1", block=block, order=order, policy="static", label=label)


def one_trial(folder: RunFolder, trial: TrialKey, *, commit: bool = True) -> None:
    clock = synthetic.VirtualTime()
    with TrialWriter(folder, trial, stamp=clock) as writer:
        synthetic.write_trial(writer, clock, ticks=2)
        writer.event("note", guest="g1", detail=f"in {trial.folder}")
        writer.finish(synthetic.rows(writer, {"g1": 5.0, "g2": 7.0}), commit=commit)


@pytest.fixture
def folder(tmp_path: Path) -> RunFolder:
    made = RunFolder.create(tmp_path / "run", synthetic.manifest())
    one_trial(made, key(1, 1))
    return made


def trials_in(path: Path) -> dict[str, set[tuple[int, int]]]:
    """Return which trials each file of the run holds; every line must parse."""
    found = {}
    for name in RUN_FILES:
        if name.endswith(".csv"):
            frame = pd.read_csv(path / name)
            found[name] = set(zip(frame["block"], frame["order"], strict=True))
        else:
            lines = [json.loads(line) for line in (path / name).read_text().splitlines()]
            found[name] = {(line["block"], line["order"]) for line in lines}
    return found


def test_what_is_written_comes_back_with_the_promised_types(tmp_path: Path) -> None:
    run = read_run(synthetic.write_run(tmp_path / "run", blocks=2).path)
    kinds = {"int": "int64", "float": "float64", "str": "str"}
    assert [(name, str(run.trials[name].dtype)) for name in TRIAL_COLUMNS] == [
        (name, kinds[kind]) for name, kind in TRIAL_COLUMNS.items()
    ]
    assert [(name, str(run.samples[name].dtype)) for name in SAMPLE_COLUMNS] == [
        (name, kinds[kind]) for name, kind in SAMPLE_COLUMNS.items()
    ]
    assert len(run.trials) == 2 * 3 * 3
    assert len(run.samples) == 2 * 3 * 4 * 3
    assert run.changed_files == {}
    assert run.manifest["files"].keys() >= set(RUN_FILES)


def test_values_are_not_rounded_and_unknown_is_not_zero(tmp_path: Path) -> None:
    folder = RunFolder.create(tmp_path / "run", synthetic.manifest())
    with TrialWriter(folder, key(1, 1)) as writer:
        writer.finish(synthetic.rows(writer, {"g1": 1 / 3, "g2": 1e-300}))
    trials = read_run(folder.path).trials
    assert trials["value"].tolist()[:2] == [1 / 3, 1e-300]
    assert np.isnan(trials["value"].iloc[2])
    assert trials["metric"].iloc[2] == ""
    assert trials["stall_full_s"].isna().all()


@pytest.mark.parametrize(
    "text", ["NA", "nan", 'a "quoted", one', "two\nlines", "tab\tand \u00fc \u4e2d", "None", " spaced "]
)
def test_any_text_comes_back_as_it_was(tmp_path: Path, text: str) -> None:
    folder = RunFolder.create(tmp_path / "run", synthetic.manifest())
    with TrialWriter(folder, key(1, 1, label=text)) as writer:
        writer.event("odd", detail=text)
        writer.finish(
            [TrialRow(guest=text, workload="w", status="failed", reason=text, started=Stamp.now(), duration_s=0.0)]
        )
    run = read_run(folder.path)
    assert run.trials.loc[0, ["label", "guest", "reason"]].tolist() == [text] * 3
    assert run.events["detail"].tolist() == [text]


def test_bytes_that_are_no_text_do_not_stop_a_trial(tmp_path: Path) -> None:
    folder = RunFolder.create(tmp_path / "run", synthetic.manifest())
    reason = "10%\r20%\x00\udcff\x1b[0m"
    with TrialWriter(folder, key(1, 1)) as writer:
        writer.event("odd", detail=reason)
        writer.finish(
            [TrialRow(guest="g", workload="w", status="failed", reason=reason, started=Stamp.now(), duration_s=0.0)]
        )
    assert read_run(folder.path).trials["reason"].tolist() == ["10%\n20%\ufffd\\udcff\ufffd[0m"]


def test_a_decision_line_holds_view_decision_plan_and_outcome(folder: RunFolder) -> None:
    first = next(read_run(folder.path).decisions())
    assert first.keys() == {
        "run", "block", "order", "policy", "label", "tick", "utc", "mono_s", "trial_s", "view", "decision", "plan",
        "outcome", "timing",
    }  # fmt: skip
    assert first["decision"]["targets_kib"]["g1"] == 250 * 1024
    assert first["decision"]["params"] == make("static").params.model_dump(mode="json")
    assert first["view"]["guests"][0]["stall_some"] is None
    assert first["trial_s"] == 2.0


def test_what_the_shadows_want_is_on_the_line_of_the_tick(tmp_path: Path) -> None:
    first = next(read_run(synthetic.write_run(tmp_path / "run", blocks=1, shadows=["equal"]).path).decisions())
    assert list(first["shadow"]) == ["equal (shadow)"]
    assert first["shadow"]["equal (shadow)"].keys() == first["decision"].keys()


def test_a_stale_guest_is_seen_but_not_asked_for_anything(tmp_path: Path) -> None:
    folder = RunFolder.create(tmp_path / "run", synthetic.manifest())
    seen = synthetic.view(0, [256_000.0] * 3)
    allocation = Allocation(targets_kib=np.array([1.0, np.nan]), reasons=("a", "b"))
    policy, plan, outcome = make("static"), Plan(steps=(), held={}), Outcome(applied_kib={}, failed={})
    with TrialWriter(folder, key(1, 1)) as writer:
        with pytest.raises(RecordsError, match="2 guests for 3 names"):
            writer.tick(seen, allocation, policy, plan, outcome, {})
        writer.tick(seen, allocation, policy, plan, outcome, {}, names=("g1", "g3"))
        writer.finish(synthetic.rows(writer, {"g1": 1.0, "g2": 1.0}))
    run = read_run(folder.path)
    assert run.samples["asked_kib"].fillna(-1).tolist() == [1.0, -1.0, -1.0]
    assert next(run.decisions())["decision"]["targets_kib"] == {"g1": 1, "g3": None}


def test_an_unfinished_trial_is_in_no_file_of_the_run(folder: RunFolder) -> None:
    clock = synthetic.VirtualTime()
    writer = TrialWriter(folder, key(1, 2), stamp=clock)
    synthetic.write_trial(writer, clock, ticks=3)
    ticks = (writer.path / "decisions.jsonl").read_text().splitlines()
    writer.close()
    assert len(ticks) == 3, "every tick must be on its way to the disk at once"
    resumed = RunFolder.open(folder.path)
    assert resumed.finished() == {(1, 1)}
    assert set(map(frozenset, trials_in(folder.path).values())) == {frozenset({(1, 1)})}


def test_a_second_attempt_replaces_one_that_did_not_end_and_says_so(folder: RunFolder) -> None:
    clock = synthetic.VirtualTime()
    with TrialWriter(folder, key(1, 2), stamp=clock) as writer:
        synthetic.write_trial(writer, clock, ticks=3)
    one_trial(RunFolder.open(folder.path), key(1, 2))
    run = read_run(folder.path)
    second = run.samples[run.samples["order"] == 2]
    assert second["tick"].max() == 2
    events = run.events.loc[run.events["order"] == 2]
    assert events["event"].tolist() == ["attempt_discarded", "note"]
    assert "3 ticks" in events["detail"].iloc[0]


def test_what_the_arbiters_of_several_hosts_write_stands_one_after_the_other_and_is_discarded_together(
    folder: RunFolder,
) -> None:
    clock = synthetic.VirtualTime()
    with TrialWriter(folder, key(1, 2), stamp=clock) as writer:
        for host in ("a", "b"):
            synthetic.write_trial(writer.on(host, clock), clock, ticks=3)
    with TrialWriter(RunFolder.open(folder.path), key(1, 2), stamp=clock) as writer:
        first, second = writer.on("a", clock), writer.on("b", clock)
        synthetic.write_trial(second, clock, ticks=1)
        synthetic.write_trial(first, clock, ticks=2)
        second.event("note")
        writer.finish(synthetic.rows(writer, {"g1": 5.0, "g2": 7.0}))
    lines = [line for line in read_decisions(folder.path) if line["order"] == 2]
    assert [(line["host"], line["tick"]) for line in lines] == [("a", 1), ("a", 2), ("b", 1)]
    events = [json.loads(line) for line in (folder.path / "events.jsonl").read_text().splitlines()]
    assert [(one["event"], one.get("host")) for one in events if one["order"] == 2] == [
        ("attempt_discarded", None),
        ("note", "b"),
    ]
    assert "6 ticks" in next(one["detail"] for one in events if one["event"] == "attempt_discarded")
    samples = read_run(folder.path).samples
    assert samples.loc[samples["order"] == 2, "tick"].tolist() == [1] * 3 + [2] * 3 + [1] * 3
    assert not list(folder.path.glob("trials/*/hosts"))
    assert RunFolder.open(folder.path).damage == {}


def test_a_trial_that_has_ended_is_never_overwritten(folder: RunFolder) -> None:
    with pytest.raises(RecordsError, match="has ended already"):
        TrialWriter(folder, key(1, 1))


@pytest.mark.parametrize("cut", range(0, 3000, 97))
@pytest.mark.parametrize("name", RUN_FILES[1:])
def test_a_trial_cut_at_any_byte_can_be_resumed(folder: RunFolder, name: str, cut: int) -> None:
    one_trial(folder, key(1, 2), commit=False)
    trial = folder.trial("001-02")
    (trial / "done").unlink()
    whole = (trial / name).read_bytes()
    (trial / name).write_bytes(whole[: cut % (len(whole) + 1)])
    resumed = RunFolder.open(folder.path)
    assert resumed.finished() == {(1, 1)}
    one_trial(resumed, key(1, 2))
    assert set(map(frozenset, trials_in(folder.path).values())) == {frozenset({(1, 1), (1, 2)})}


@pytest.mark.parametrize("replacement", range(5))
@pytest.mark.parametrize("half", [False, True])
def test_a_kill_at_any_replacement_leaves_whole_files_and_loses_no_ended_trial(
    folder: RunFolder, monkeypatch: pytest.MonkeyPatch, replacement: int, half: bool
) -> None:
    real, count = Path.replace, 0

    def replace(self: Path, target: str | Path) -> Path:
        nonlocal count
        count += 1
        if count > replacement:
            if half:
                self.write_bytes(self.read_bytes()[:-7])
            raise KilledError
        return real(self, target)

    monkeypatch.setattr(Path, "replace", replace)
    with pytest.raises(KilledError):
        one_trial(folder, key(1, 2))
    monkeypatch.undo()
    ended = {(1, 1), (1, 2)} if replacement else {(1, 1)}  # the first replacement is that of `done`
    for held in trials_in(folder.path).values():
        assert held in ({(1, 1)}, {(1, 1), (1, 2)})
    run = read_run(folder.path)
    assert set(zip(run.trials["block"], run.trials["order"], strict=True)) == ended
    assert set(zip(run.samples["block"], run.samples["order"], strict=True)) == ended
    assert RunFolder.open(folder.path).finished() == ended


WRITE_FOREVER = """
import sys
from pathlib import Path
from harness.records import RunFolder
from tests.unit.test_records import key, one_trial
folder = RunFolder.open(Path(sys.argv[1]))
print("writing", flush=True)
for block in range(1, 1000):
    one_trial(folder, key(block, 1))
"""


@pytest.mark.parametrize("after_s", [0.01, 0.04, 0.09, 0.17])
def test_a_writer_that_is_really_killed_leaves_a_run_to_resume(tmp_path: Path, after_s: float) -> None:
    path = RunFolder.create(tmp_path / "run", synthetic.manifest()).path
    with subprocess.Popen([sys.executable, "-c", WRITE_FOREVER, path], stdout=subprocess.PIPE, cwd=ROOT) as writer:
        assert writer.stdout is not None
        writer.stdout.readline()
        time.sleep(after_s)
        writer.kill()
    trials_in(path)
    folder = RunFolder.open(path)
    assert folder.finished() == {(block, 1) for block in range(1, len(folder.finished()) + 1)}
    one_trial(folder, key(len(folder.finished()) + 1, 1))
    assert set(map(frozenset, trials_in(path).values())) == {folder.finished()}


def test_trials_of_a_run_are_in_their_order_however_they_ended(tmp_path: Path) -> None:
    folder = RunFolder.create(tmp_path / "run", synthetic.manifest())
    for block, order in [(2, 1), (1, 10), (1, 2)]:
        one_trial(folder, key(block, order))
    trials = read_run(folder.path).trials
    assert list(dict.fromkeys(zip(trials["block"], trials["order"], strict=True))) == [(1, 2), (1, 10), (2, 1)]


def test_a_run_of_no_trials_can_be_read(tmp_path: Path) -> None:
    run = read_run(RunFolder.create(tmp_path / "run", synthetic.manifest()).path)
    assert (len(run.trials), len(run.samples), len(run.events)) == (0, 0, 0)


def test_a_published_run_without_its_trial_folders_can_be_read_but_not_resumed(folder: RunFolder) -> None:
    shutil.rmtree(folder.path / "trials")
    assert len(read_run(folder.path).trials) == 3
    assert RunFolder.open(folder.path).finished() == {(1, 1)}
    with pytest.raises(RecordsError, match="restore it to resume"):
        TrialWriter(folder, key(1, 2))


@pytest.mark.parametrize("name", RUN_FILES)
def test_a_file_of_the_run_that_was_deleted_is_rebuilt(folder: RunFolder, name: str) -> None:
    before = (folder.path / name).read_bytes()
    (folder.path / name).unlink()
    read_run(folder.path)
    assert (folder.path / name).read_bytes() == before


def test_a_run_is_never_created_over_another(folder: RunFolder) -> None:
    with pytest.raises(RecordsError, match="exists already"):
        RunFolder.create(folder.path, synthetic.manifest())


@pytest.mark.parametrize("lost", ["run", "backend", "experiment"])
def test_a_manifest_that_does_not_name_the_run_is_refused(tmp_path: Path, lost: str) -> None:
    with pytest.raises(RecordsError, match=r"manifest.json lacks"):
        RunFolder.create(tmp_path / "run", synthetic.manifest(**{lost: None}))


def test_a_folder_that_is_no_run_says_what_to_give(tmp_path: Path) -> None:
    with pytest.raises(RecordsError, match=r"manifest.json is missing; give the folder of one run"):
        read_run(tmp_path)


def test_the_seal_finds_a_file_that_was_changed_afterwards(folder: RunFolder) -> None:
    sealed = folder.seal()
    assert sealed.changed_files() == {}
    with (folder.path / "samples.csv").open("a") as file:
        file.write("\n")
    (folder.path / "events.jsonl").unlink()
    assert sealed.changed_files() == {"samples.csv": "changed", "events.jsonl": "missing"}


def damage(path: Path, old: str, new: str) -> None:
    text = path.read_text()
    assert old in text
    path.write_text(text.replace(old, new, 1))


@pytest.mark.parametrize(
    ("name", "old", "new", "message"),
    [
        ("trials.csv", "swapped_in_kib", "swapped", r"trials.csv: column 'swapped_in_kib' is missing"),
        ("samples.csv", ",state", "", r"samples.csv: column 'state' is missing"),
        ("samples.csv", "256000", "many", r"samples.csv: line 2, column 'current_kib': 'many' is no float"),
        ("trials.csv", ",12.5,\n", ",12.5\n", r"trials.csv: line 2 has 25 fields, the header 26"),
        ("trials.csv", ",12.5,\n", ",12.5,,7\n", r"trials.csv: line 2 has 27 fields"),
        ("events.jsonl", "}", "", r"events.jsonl: line 1 is not JSON"),
        ("events.jsonl", '"block":1', '"block":"x"', r"events.jsonl: block, order or mono_s is no number"),
    ],
)
def test_a_damaged_file_is_named_with_the_place_and_the_remedy(
    folder: RunFolder, name: str, old: str, new: str, message: str
) -> None:
    damage(folder.path / name, old, new)
    with pytest.raises(RecordsError, match=f"{message}.*restore it from a copy"):
        read_run(folder.path)


@pytest.mark.parametrize(
    "wrong",
    [
        {"status": "fine"},
        {"status": "failed"},
        {"status": "ok", "metric": "m", "better": "higher"},
        {"status": "ok", "metric": "m", "better": "higher", "value": float("nan")},
        {"status": "ok", "metric": "m", "value": 1.0},
        {"status": "ok", "metric": "m", "better": "more", "value": 1.0},
    ],
)
def test_a_row_that_could_be_misread_is_refused(wrong: dict[str, Any]) -> None:
    with pytest.raises(RecordsError):
        TrialRow(guest="g1", workload="mono", started=Stamp.now(), duration_s=1.0, **wrong)


def test_a_trial_cannot_end_without_rows(tmp_path: Path) -> None:
    folder = RunFolder.create(tmp_path / "run", synthetic.manifest())
    with TrialWriter(folder, key(1, 1)) as writer, pytest.raises(RecordsError, match="without rows"):
        writer.finish([])
    assert folder.finished() == frozenset()
