"""What is damaged in a run is said, counts as not run, and is never sealed; runs of old are read as ever."""

from __future__ import annotations

import errno
import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import IO, Any

import pytest

from harness.records import RecordsError, RunFolder, Stamp, TrialWriter, read_decisions, read_run
from harness.records.whole import DONE, FORMAT
from tests.unit import synthetic_run as synthetic
from tests.unit.test_records import RUN_FILES, key, one_trial

Harm = Callable[[Path], object]


def cut_at_a_line(path: Path) -> None:
    path.write_text("".join(path.read_text().splitlines(keepends=True)[:-1]))


HARMS: dict[str, Harm] = {
    "emptied": lambda path: path.write_bytes(b""),
    "zeroed": lambda path: path.write_bytes(b"\0" * path.stat().st_size),
    "cut at a line": cut_at_a_line,
    "gone": Path.unlink,
}


@pytest.fixture
def run(tmp_path: Path) -> RunFolder:
    """Three trials that have ended, and no end of the run."""
    folder = RunFolder.create(tmp_path / "run", synthetic.manifest(format=FORMAT))
    for order in (1, 2, 3):
        one_trial(folder, key(1, order), commit=False)
    folder.commit()
    return folder


@pytest.mark.parametrize("name", [*RUN_FILES, DONE])
@pytest.mark.parametrize("harm", HARMS)
def test_a_trial_of_which_one_file_is_damaged_is_said_and_runs_again_and_the_others_are_kept(
    run: RunFolder, name: str, harm: str
) -> None:
    HARMS[harm](run.trial("001-02") / name)
    found = RunFolder.open(run.path, to_resume=True)
    assert list(found.damage) == ["trials/001-02"]
    assert name in found.damage["trials/001-02"]
    assert found.finished() == {(1, 1), (1, 3)}
    one_trial(found, key(1, 2))
    sealed = found.seal([(1, 1), (1, 2), (1, 3)])
    again = read_run(sealed.path)
    assert (again.damage, again.changed_files) == ({}, {})
    assert len(again.samples) == 3 * 2 * 3
    told = again.events.loc[again.events["order"] == 2, "event"].tolist()
    assert told == (["attempt_discarded", "note"] if (name, harm) == (DONE, "gone") else ["trial_damaged", "note"])


def test_what_was_damaged_is_kept_for_whoever_wants_to_look(run: RunFolder) -> None:
    samples = run.trial("001-02") / "samples.csv"
    cut_at_a_line(samples)
    left = samples.read_bytes()
    one_trial(RunFolder.open(run.path), key(1, 2))
    (kept,) = (run.path / "damaged").iterdir()
    assert (kept / "samples.csv").read_bytes() == left


@pytest.mark.parametrize("stray", ["notes", "001-02 copy", "001-02.bak"])
def test_a_stray_folder_among_the_trials_is_said_and_disturbs_nothing(run: RunFolder, stray: str) -> None:
    shutil.copytree(run.trial("001-02"), run.path / "trials" / stray)
    found = RunFolder.open(run.path, to_resume=True)
    assert list(found.damage) == [f"trials/{stray}"]
    assert "move it out" in found.damage[f"trials/{stray}"]
    assert found.finished() == {(1, 1), (1, 2), (1, 3)}
    found.seal(found.finished())


def test_a_trial_that_was_copied_over_from_another_place_is_not_taken_for_that_one(run: RunFolder) -> None:
    shutil.copytree(run.trial("001-02"), run.trial("001-04"))
    found = RunFolder.open(run.path)
    assert "that of another trial" in found.damage["trials/001-04"]
    assert (1, 4) not in found.finished()


def test_a_run_in_which_a_trial_is_missing_or_damaged_is_not_sealed(run: RunFolder) -> None:
    with pytest.raises(RecordsError, match=r"not sealed.*001-04.*start the same command again"):
        run.seal([(1, 1), (1, 2), (1, 3), (1, 4)])
    HARMS["emptied"](run.trial("001-03") / "samples.csv")
    with pytest.raises(RecordsError, match=r"not sealed.*001-03"):
        run.seal([(1, 1), (1, 2), (1, 3)])
    assert not RunFolder.open(run.path).sealed


def test_a_sealed_run_is_not_rewritten_over_a_damaged_trial_and_the_damage_is_said(run: RunFolder) -> None:
    sealed = run.seal()
    before = {name: (run.path / name).read_bytes() for name in RUN_FILES}
    HARMS["emptied"](run.trial("001-02") / "samples.csv")
    found = read_run(sealed.path)
    assert list(found.damage) == ["trials/001-02"]
    assert found.changed_files == {"trials/001-02/samples.csv": "changed"}
    assert {name: (run.path / name).read_bytes() for name in RUN_FILES} == before


def test_a_file_of_the_run_that_lost_a_line_is_said_while_the_run_goes_on(run: RunFolder) -> None:
    cut_at_a_line(run.path / "samples.csv")
    assert list(read_run(run.path).damage) == ["samples.csv"]
    assert RunFolder.open(run.path, to_resume=True).damage == {}
    assert read_run(run.path).damage == {}


@pytest.fixture
def of_old(tmp_path: Path) -> RunFolder:
    """A run of before `done` had digests, and before the manifest said so."""
    folder = RunFolder.create(tmp_path / "old", synthetic.manifest())
    for order in (1, 2, 3):
        one_trial(folder, key(1, order), commit=False)
        done = folder.trial(f"001-{order:02d}") / DONE
        said = json.loads(done.read_text())
        done.write_text("" if order == 3 else json.dumps({k: v for k, v in said.items() if k not in ("rows", "files")}))
    folder.commit()
    return folder


def test_a_run_of_old_is_read_and_resumed_as_ever(of_old: RunFolder) -> None:
    found = read_run(of_old.path)
    assert (found.damage, len(found.samples)) == ({}, 3 * 2 * 3)
    with TrialWriter(of_old, key(1, 4)) as unfinished:
        (of_old.path / "trials" / "001-04").mkdir()  # as its attempts were
        unfinished.close()
    again = RunFolder.open(of_old.path)
    assert again.damage == {}
    one_trial(again, key(1, 4))
    assert RunFolder.open(of_old.path).finished() == {(1, 1), (1, 2), (1, 3), (1, 4)}


@pytest.mark.parametrize("harm", ["emptied", "zeroed", "gone"])
@pytest.mark.parametrize("name", RUN_FILES[:3])
def test_rough_damage_is_found_in_a_run_of_old_too(of_old: RunFolder, name: str, harm: str) -> None:
    HARMS[harm](of_old.trial("001-02") / name)
    assert list(RunFolder.open(of_old.path).damage) == ["trials/001-02"]


@pytest.mark.parametrize("name", RUN_FILES)
def test_a_byte_that_is_no_utf_8_is_named_with_its_file(run: RunFolder, name: str) -> None:
    path = run.path / name
    path.write_bytes(path.read_bytes().replace(b"static", b"st\xfftic", 1))
    with pytest.raises(RecordsError, match=rf"{name}.*(?i:utf-8).*delete it: opening the run rebuilds it"):
        list(read_run(run.path).decisions())


def test_a_line_that_is_no_record_is_named_whatever_it_is(run: RunFolder) -> None:
    path = run.path / "decisions.jsonl"
    good = path.read_bytes()
    for wrong in (b"\xff{}", b"[" * 100_000, b"\0\0\0", b'"text"', b'{"block": 1'):
        path.write_bytes(good + wrong + b"\n")
        with pytest.raises(RecordsError, match=r"decisions\.jsonl: line 7 "):
            list(read_decisions(run.path))


class Full:
    """A file on a disk that is full."""

    def __init__(self, file: IO[bytes]) -> None:
        self._file = file

    def write(self, data: bytes) -> int:
        raise OSError(errno.ENOSPC, "No space left on device")

    def __getattr__(self, name: str) -> Any:  # noqa: ANN401
        return getattr(self._file, name)


def test_a_disk_that_is_full_ends_a_trial_with_the_file_and_the_remedy_and_it_cannot_be_finished(
    run: RunFolder, monkeypatch: pytest.MonkeyPatch
) -> None:
    with TrialWriter(run, key(1, 4)) as writer:
        monkeypatch.setattr(writer, "_events", Full(writer._events))
        with pytest.raises(RecordsError, match=r"001-04.*No space left on device; make room there"):
            writer.event("note")
        monkeypatch.undo()
        with pytest.raises(RecordsError, match="No space left"):  # an event is missing, though there is room again
            writer.finish(synthetic.rows(writer, {"g1": 5.0, "g2": 7.0}))
    assert RunFolder.open(run.path).finished() == {(1, 1), (1, 2), (1, 3)}


def test_what_one_of_several_hosts_could_not_write_keeps_the_trial_from_its_end(
    run: RunFolder, monkeypatch: pytest.MonkeyPatch
) -> None:
    with TrialWriter(run, key(1, 4)) as writer:
        part = writer.on("xen2", Stamp.now)
        monkeypatch.setattr(part, "_events", Full(part._events))
        with pytest.raises(RecordsError, match=r"001-04.*xen2: No space left on device; make room there"):
            part.event("note")
        monkeypatch.undo()
        with pytest.raises(RecordsError, match="No space left"):
            writer.finish(synthetic.rows(writer, {"g1": 5.0, "g2": 7.0}))
    assert RunFolder.open(run.path).finished() == {(1, 1), (1, 2), (1, 3)}


@pytest.mark.parametrize("code", [errno.ENOSPC, errno.EROFS, errno.ENOTDIR, errno.EDQUOT, errno.EFBIG, errno.EACCES])
def test_a_run_that_cannot_be_made_or_put_together_says_why(
    run: RunFolder, monkeypatch: pytest.MonkeyPatch, code: int, tmp_path: Path
) -> None:
    def refuse(path: Path, *_: object, **__: object) -> None:
        raise OSError(code, "refused", str(path))

    monkeypatch.setattr(Path, "mkdir", refuse)
    with pytest.raises(RecordsError, match=r"other.*: refused; \w+"):
        RunFolder.create(tmp_path / "other", synthetic.manifest())
    monkeypatch.setattr(Path, "open", refuse)
    with pytest.raises(RecordsError, match=r"refused; \w+"):
        run.commit()


@pytest.mark.parametrize("all_of_them", [False, True])
def test_a_sealed_run_that_lost_trials_is_not_rewritten_by_whoever_reads_it(tmp_path: Path, all_of_them: bool) -> None:
    path = synthetic.write_run(tmp_path / "run", blocks=2).path
    before = {name: (path / name).read_bytes() for name in RUN_FILES}
    lost = sorted((path / "trials").iterdir())
    for trial in lost if all_of_them else lost[:1]:
        shutil.rmtree(trial)
    found = read_run(path)
    assert {name: (path / name).read_bytes() for name in RUN_FILES} == before
    assert f"trials/{lost[0].name}" in found.damage
    assert any("it was sealed, and is missing" in said for said in found.doubts())
