"""A replay runs the very arbiter on recorded views: the same policy decides the same again, another one beside it."""

from __future__ import annotations

import csv
import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from harness.cli import main
from harness.governor import Limits, Plan, Step
from harness.policies import make, names
from harness.records import REPLAY_COLUMNS, RecordsError, read_first_block, read_run
from harness.replay import NOT_SENT, Recording, Tally, recordings, replay_run
from reports import replayed
from tests.unit import synthetic_run as synthetic
from tests.unit.recorded_run import MIB, record_run

PROJECT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two blocks of two policies that move memory and one that does not."""
    return record_run(tmp_path_factory.mktemp("results") / "run", ["pressure", "static"], blocks=2, ticks=30)


def rows_of(folder: Path) -> list[dict[str, str]]:
    with (folder / "replay.csv").open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def lines_of(run: Path) -> list[dict[str, Any]]:
    return list(read_run(run).decisions())


@pytest.mark.parametrize("name", names())
def test_a_policy_decides_on_its_own_recording_what_it_decided_then(name: str, tmp_path: Path) -> None:
    recorded = record_run(tmp_path / "run", [name], ticks=70)
    differences = replay_run(recorded, make(name), name, tmp_path / "out")
    rows = rows_of(tmp_path / "out")
    assert len(rows) == 70 * 4
    assert any(row["recorded_asked_kib"] for row in rows)
    for what in ("asked_kib", "target_kib", "state", "reason"):
        assert [row[f"replayed_{what}"] for row in rows] == [row[f"recorded_{what}"] for row in rows], what
    assert {(one.largest_kib, one.opposite) for one in differences} == {(0, 0)}


def test_the_world_of_these_tests_tries_the_governor(run: Path) -> None:
    told = " ".join(
        text for line in lines_of(run) for part in ("held", "reasons") for text in line["plan"][part].values()
    )
    for what in ("does not follow", "fell silent", "no sample for", "what it has is not known", "must wait"):
        assert what in told


def test_every_trial_is_replayed_from_its_beginning(run: Path, tmp_path: Path) -> None:
    replay_run(run, make("static"), "static", tmp_path)
    for block in ("1", "2"):
        for order in ("1", "2"):
            rows = [
                row for row in rows_of(tmp_path) if (row["block"], row["order"], row["guest"]) == (block, order, "g1")
            ]
            assert {row["replayed_asked_kib"] for row in rows} == {rows[0]["current_kib"]}
    assert len({row["replayed_asked_kib"] for row in rows_of(tmp_path) if row["guest"] == "g1"}) == 2


def test_another_policy_is_put_beside_the_recorded_one_with_both_reasons(run: Path, tmp_path: Path) -> None:
    differences = replay_run(run, make("equal"), "equal", tmp_path)
    row = next(row for row in rows_of(tmp_path) if row["label"] == "static" and row["guest"] == "g2")
    assert list(row) == list(REPLAY_COLUMNS)
    assert (row["policy"], row["replayed"], row["tick"]) == ("static", "equal", "1")
    assert int(row["difference_kib"]) == int(row["replayed_asked_kib"]) - int(row["recorded_asked_kib"])
    assert row["replayed_reason"] != row["recorded_reason"] != ""
    assert [(one.block, one.order, one.guest) for one in differences] == [
        (block, order, guest) for block in (1, 2) for order in (1, 2) for guest in ("g1", "g2", "g3", "g4")
    ]


def test_no_guest_is_blamed_for_standing_still_when_nothing_was_sent_to_it(run: Path, tmp_path: Path) -> None:
    replay_run(run, make("equal"), "equal", tmp_path)
    rows = [row for row in rows_of(tmp_path) if row["label"] == "static" and row["guest"] in ("g1", "g2", "g3")]
    assert all(row["replayed_asked_kib"] for row in rows)
    assert not any("follow" in row["replayed_reason"] for row in rows)


def line(targets: dict[str, int], failed: dict[str, str]) -> dict[str, Any]:
    return {"block": 1, "order": 1, "tick": 1, "view": {"time_s": 4.0}, "decision": {},
            "plan": {"targets_kib": targets}, "outcome": {"failed": failed}}  # fmt: skip


def test_what_was_sent_then_too_has_its_recorded_outcome_and_nothing_else_was_sent() -> None:
    recording = Recording([line({"a": 1000, "b": 2000, "c": 3000}, {"b": "xl: timed out"})])
    targets = {"a": 1001, "b": 2000, "c": 9999, "d": 4000}
    plan = Plan(
        steps=tuple(Step(guest=g, from_kib=0, target_kib=t, asked_kib=t, reason="") for g, t in targets.items()),
        held={},
    )
    outcome = recording.apply(plan)
    assert outcome.applied_kib == {"a": 1001}
    assert outcome.failed == {"b": "xl: timed out", "c": NOT_SENT, "d": NOT_SENT}
    assert recording.now_s() == 4.0


def test_no_more_of_a_run_is_read_than_the_trial_that_is_replayed(run: Path) -> None:
    read = 0

    def counted() -> Iterator[dict[str, Any]]:
        nonlocal read
        for one in lines_of(run):
            read += 1
            yield one

    trials = recordings(counted())
    first = next(trials)
    assert read == 1
    while first.goes_on():
        first.sleep_until(0)
    assert read == 31
    assert next(trials).goes_on()


def row(current: int | None, recorded: int | None, new: int | None) -> dict[str, Any]:
    apart = None if recorded is None or new is None else new - recorded
    return {"block": 1, "order": 2, "label": "l", "guest": "g", "current_kib": current, "recorded_asked_kib": recorded,
            "replayed_asked_kib": new, "difference_kib": apart}  # fmt: skip


def test_a_tick_counts_as_opposite_when_both_would_move_the_guest_by_more_than_the_dead_band() -> None:
    tally = Tally(Limits())
    band = 1024  # the larger of 1 MiB and 0.5 % of 100 MiB
    has = 100 * MIB
    for recorded, new in (
        (has + band, has - band),
        (has + band, has - band + 1),
        (has + band, has + 9 * band),
        (None, has),
    ):
        tally.add(row(has, recorded, new))
    (found,) = tally.differences()
    assert (found.ticks, found.opposite) == (3, 1)
    assert (found.median_kib, found.largest_kib) == (-2 * band + 1, 8 * band)


def test_a_guest_for_which_one_of_them_never_had_a_target_has_no_difference() -> None:
    tally = Tally(Limits())
    tally.add(row(None, None, None))
    (found,) = tally.differences()
    assert (found.ticks, found.median_kib, found.largest_kib) == (0, None, None)


def test_the_figure_is_drawn_from_the_rows_of_the_first_block_and_says_what_it_cannot_tell(
    run: Path, tmp_path: Path
) -> None:
    replay_run(run, make("mom"), "mom x", tmp_path)
    rows = read_first_block(tmp_path)
    assert set(rows["block"]) == {1}
    assert len(rows) == 2 * 30 * 4
    ((path, caption),) = replayed.draw(tmp_path).items()
    assert path.read_bytes().startswith(b"%PDF")
    assert path.with_suffix(".png").read_bytes().startswith(b"\x89PNG")
    assert "mom x would have wanted" in caption
    assert "An open loop" in caption


def test_a_replay_needs_neither_xen_nor_a_simulator() -> None:
    code = "import sys, harness.replay; print(*sys.modules)"
    modules = subprocess.run(
        [sys.executable, "-c", code], cwd=PROJECT, capture_output=True, text=True, check=True
    ).stdout
    assert "harness.balancer" in modules
    assert "harness.xen" not in modules
    assert "harness.simulator" not in modules
    assert "paramiko" not in modules


def ballast(*words: str, monkeypatch: pytest.MonkeyPatch) -> int:
    monkeypatch.setattr(sys, "argv", ["ballast", *words])
    try:
        return main()
    except SystemExit as end:
        return int(end.code or 0)


def test_the_command_prints_a_line_a_trial_and_guest_and_names_its_files(
    run: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ("replay", str(run), "--policy", "price", "--set", "tax=0.5")
    assert ballast(*words, monkeypatch=monkeypatch) == 0
    said = capsys.readouterr().out
    assert "price tax=0.5 on the views of run" in said
    assert said.count("pressure") == 2 * 4
    assert "open loop" in " ".join(said.split())
    folder = run / "replay" / "price-tax=0.5"
    assert {path.name for path in folder.iterdir()} == {"replay.csv", "replay.pdf", "replay.png"}
    assert {row["replayed"] for row in rows_of(folder)} == {"price tax=0.5"}
    assert read_run(run).changed_files == {}


def test_for_programs_it_is_one_object(
    run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ("replay", str(run), "--policy", "price", "--out", str(tmp_path / "deep" / "out"), "--format", "json")
    assert ballast(*words, monkeypatch=monkeypatch) == 0
    answer = json.loads(capsys.readouterr().out)
    assert answer["params"]["tax"] == make("price").params.model_dump()["tax"]
    assert "cannot tell" in answer["note"]
    assert Path(answer["rows"]).parent == tmp_path / "deep" / "out"
    assert list(answer["differences"][0]) == [
        "block", "order", "label", "guest", "ticks", "median_kib", "largest_kib", "opposite",
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("{run}", "--policy", "presure"), "There is no policy 'presure'"),
        (("{run}", "--policy", "price", "--set", "tex=1"), "has no parameter 'tex'"),
        (("{tmp}/none", "--policy", "price"), "manifest.json is missing; give the folder of one run"),
        (("{tmp}/empty", "--policy", "price"), "decisions.jsonl has no tick; give a run in which a trial has ended"),
        (
            ("{tmp}/odd", "--policy", "price"),
            "tick 2: the view cannot be read: guests[1].mem_free_kib: expected a number",
        ),
        (("{tmp}/torn", "--policy", "price"), "decisions.jsonl: line 3 has no plan; restore it from a copy"),
        (("{run}", "--policy", "price", "--out", "/dev/null/out"), "/dev/null/out: Not a directory; name a folder"),
    ],
)
def test_what_cannot_be_replayed_is_said_in_a_line(
    run: Path, tmp_path: Path, words: tuple[str, ...], said: str, monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    synthetic.write_run(tmp_path / "empty", blocks=0)
    damaged(tmp_path / "odd", lambda lines: lines[1]["view"]["guests"][1].update(mem_free_kib="much"))
    damaged(tmp_path / "torn", lambda lines: lines[2].pop("plan"))
    code = ballast("replay", *(word.format(run=run, tmp=tmp_path) for word in words), monkeypatch=monkeypatch)
    out, err = capsys.readouterr()
    assert (code, out) == (2, "")
    assert said in " ".join(err.split())


def damaged(path: Path, damage: Any) -> None:  # noqa: ANN401 - any change to the lines of a run
    synthetic.write_run(path, blocks=1)
    lines = lines_of(path)
    damage(lines)
    (path / "decisions.jsonl").write_text("".join(json.dumps(one) + "\n" for one in lines))


def test_a_replay_that_cannot_be_finished_leaves_no_half_file(tmp_path: Path) -> None:
    damaged(tmp_path / "run", lambda lines: lines[7].pop("outcome"))
    with pytest.raises(RecordsError, match="line 8 has no outcome"):
        replay_run(tmp_path / "run", make("equal"), "equal", tmp_path / "out")
    assert not (tmp_path / "out" / "replay.csv").exists()
