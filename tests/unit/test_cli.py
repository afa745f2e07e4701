"""The command line: what it answers, and how it speaks to someone who made a mistake."""

from __future__ import annotations

import errno
import io
import json
import os
import re
import signal
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest

from harness import policies
from harness.cli import ending, lab, main, simulate
from harness.cli.ending import Exit
from harness.lab.lab import Lab
from tests.unit import synthetic_run as synthetic
from tests.unit.test_view import GUEST, view_json

PROJECT = Path(__file__).parents[2]


@dataclass(frozen=True)
class Said:
    """What a command left behind."""

    code: int
    out: str
    err: str


Ballast = Callable[..., Said]


@pytest.fixture
def ballast(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Ballast:
    """Run a command in this process."""

    def run(*words: str, stdin: str = "") -> Said:
        monkeypatch.setattr(sys, "argv", ["ballast", *words])
        monkeypatch.setattr(sys, "stdin", io.StringIO(stdin))
        try:
            code = main()
        except SystemExit as end:
            code = int(end.code or 0)
        out, err = capsys.readouterr()
        return Said(code, out, err)

    return run


VIEW = json.dumps(view_json({**GUEST, "name": "g1", "age_s": 0.1}, {**GUEST, "name": "g2", "current_kib": 524288}))


def test_it_says_which_version_and_commit_it_is(ballast: Ballast) -> None:
    said = ballast("--version")
    assert (said.code, said.err) == (0, "")
    assert re.fullmatch(r"ballast \d+\.\d+\.\d+( \([0-9a-f]{12}(, changed since)?\))?\n", said.out)


def test_help_names_every_command_and_none_needs_a_machine_for_it(ballast: Ballast) -> None:
    said = ballast("--help")
    for command in (
        "run",
        "decide",
        "replay",
        "balance",
        "restore",
        "policies",
        "workloads",
        "experiments",
        "doctor",
        "lab",
    ):
        assert said.code == 0
        assert f" {command} " in said.out
        assert ballast(command, "--help").code == 0


def test_a_decision_from_standard_input_is_one_line_of_json(ballast: Ballast) -> None:
    said = ballast("decide", "--policy", "equal", "--raw", "--format", "json", "-", stdin=VIEW)
    assert (said.code, said.err, said.out.count("\n")) == (0, "", 1)
    decision = json.loads(said.out)
    assert list(decision) == ["policy", "params", "state", "targets_kib", "reasons"]
    assert decision["targets_kib"]["g1"] == decision["targets_kib"]["g2"]


def test_json_lines_give_a_decision_a_line_in_their_order(ballast: Ballast, tmp_path: Path) -> None:
    file = tmp_path / "views.jsonl"
    sizes = (300000, 400000, 500000)
    file.write_text("\n".join(json.dumps(view_json({**GUEST, "current_kib": size})) for size in sizes))
    said = ballast("decide", "--policy", "static", "--raw", "--format", "json", str(file))
    assert [json.loads(line)["targets_kib"]["g1"] for line in said.out.splitlines()] == list(sizes)


def test_settings_are_yaml_scalars_that_reach_the_policy(ballast: Ballast) -> None:
    said = ballast(
        "decide", "--policy", "price", "--set", "tax=0.5", "--set", "fixed_point=false", "--set", "active=used",
        "--format", "json", "-", stdin=VIEW,
    )  # fmt: skip
    params = json.loads(said.out)["params"]
    assert (params["tax"], params["fixed_point"], params["active"]) == (0.5, False, "used")


def test_the_table_shows_what_a_guest_has_its_target_the_change_and_why(ballast: Ballast) -> None:
    said = ballast("decide", "--policy", "equal", "--raw", "-", stdin=VIEW)
    assert said.code == 0
    row = next(line for line in said.out.splitlines() if "g2" in line)
    assert "512.0" in row
    assert "-46.0" in row
    assert "-46 MiB" in row


def test_markup_in_a_guests_name_is_shown_and_not_obeyed(ballast: Ballast) -> None:
    said = ballast("decide", "--policy", "equal", "-", stdin=json.dumps(view_json({**GUEST, "name": "[red]x[/nope]"})))
    assert said.code == 0
    assert "[red]x[/nope]" in said.out


def test_swap_pressure_is_decided_only_when_it_is_allowed(ballast: Ballast) -> None:
    busy = {**GUEST, "name": "g1", "mem_total_kib": 390000, "mem_available_kib": 20000}
    view = json.dumps(view_json(busy, {**GUEST, "name": "g2", "current_kib": 200000}))
    words = ("decide", "--policy", "equal", "--format", "json", "-")
    kept, squeezed = (
        json.loads(ballast(*words, *more, stdin=view).out)["targets_kib"]["g1"] for more in ((), ("--allow-swap",))
    )
    assert squeezed < kept


@pytest.mark.parametrize(
    ("words", "named"),
    [
        (("decide", "--policy", "nope", "-"), ["nope", "two-state"]),
        (("decide", "--policy", "price", "--set", "taxx=1", "-"), ["taxx", "swap_weight"]),
        (("decide", "--policy", "price", "--set", "tax=2", "-"), ["tax", "0 to 1"]),
        (("decide", "--policy", "price", "--set", "tax", "-"), ["--set tax", "KEY=VALUE"]),
        (("decide", "--policy", "price", "--set", "tax=[1]", "-"), ["--set tax=[1]", "one number"]),
        (("decide", "--policy", "price", "--set", "tax={", "-"), ["--set tax={", "correct"]),
        (("decide", "--policy", "price", "--set", "tax=", "-"), ["--set tax=", "one number"]),
        (("decide", "--policy", "price", "--set", "tax=0", "--set", "tax=1", "-"), ["tax", "twice"]),
        (("decide", "--policy", "equal", "/no/such/view.json"), ["/no/such/view.json", "No such file"]),
        (("decide", "--policy", "equal", "/"), ["/:", "directory"]),
        (("decide", "--policy", "equal", "-"), ["Not JSON"]),
        (("policies", "nope"), ["no policy nope", "pressure"]),
        (("workloads", "nope"), ["no workload nope", "mono"]),
        (("run", "nope"), ["nope.yml", "quick"]),
        (("run", "-e", "nope"), ["-e nope", "KEY=VALUE"]),
        (("run", "-e", "@/no/such/file"), ["@/no/such/file", "no such file"]),
        (("run", "--inventory", "/no/such"), ["/no/such", "inventory/example.yml"]),
        (("balance", "nope", "--policy", "equal"), ["nope.yml", "quick"]),
        (("balance", "quick", "--policy", "nope"), ["nope", "two-state"]),
        (("balance", "quick", "--policy", "equal", "--shadow", "nope"), ["nope", "two-state"]),
        (("balance", "quick", "--policy", "equal", "--inventory", "/no/such"), ["/no/such"]),
        (("restore", "quick", "--inventory", "/no/such"), ["/no/such"]),
        (("report", "/no/such"), ["/no/such/manifest.json"]),
    ],
)
def test_a_mistake_is_one_message_that_names_what_and_the_remedy(
    ballast: Ballast, words: tuple[str, ...], named: list[str]
) -> None:
    said = ballast(*words)
    assert (said.code, said.out) == (2, "")
    assert said.err.startswith("ballast: ")
    assert "Traceback" not in said.err
    for part in named:
        assert part in said.err


@pytest.mark.parametrize(
    "words", [("nope",), ("decide",), ("decide", "-"), ("balance", "quick"), ("policies", "--nope")]
)
def test_wrong_usage_ends_with_2_too(ballast: Ballast, words: tuple[str, ...]) -> None:
    said = ballast(*words)
    assert said.code == 2
    assert "Usage" in said.err


def test_what_cannot_be_read_is_named_with_its_file_and_line(ballast: Ballast, tmp_path: Path) -> None:
    file = tmp_path / "views.jsonl"
    file.write_text(f"{VIEW}\n{{oops\n")
    assert f"{file}: Line 2: not JSON" in ballast("decide", "--policy", "equal", str(file)).err
    file.write_bytes(b"\xff\xfe{}")
    assert f"{file}: not UTF-8" in ballast("decide", "--policy", "equal", str(file)).err


def test_every_policy_is_listed_with_what_it_does_and_all_of_its_parameters(ballast: Ballast) -> None:
    listed = {entry["name"]: entry for entry in json.loads(ballast("policies", "--format", "json").out)}
    assert tuple(listed) == policies.names()
    for name, entry in listed.items():
        assert len(entry["what"]) > 20
        fields = policies.params_of(name).model_fields
        assert [parameter["name"] for parameter in entry["parameters"]] == list(fields)
        assert all(p["range"] and p["description"] for p in entry["parameters"])
        assert {p["name"]: p["default"] for p in entry["parameters"]} == {k: f.default for k, f in fields.items()}


def test_a_parameter_has_its_unit_and_range_once(ballast: Ballast) -> None:
    (price,) = json.loads(ballast("policies", "price", "--format", "json").out)
    by_name = {parameter["name"]: parameter for parameter in price["parameters"]}
    smoothing, tax = by_name["swap_smoothing_s"], by_name["tax"]
    assert (smoothing["unit"], smoothing["range"], smoothing["min"], smoothing["max"]) == ("s", "0 to 3600", 0, 3600)
    assert smoothing["description"].startswith("exponential average")
    assert tax["description"].startswith("τ: how much dearer")
    assert by_name["active"]["choices"] == ["used", "used-with-shared", "touched", "committed"]


def test_every_policy_workload_and_experiment_can_be_shown_to_a_person(ballast: Ballast) -> None:
    shown = ballast("policies")
    assert shown.code == 0
    assert all(f"\n{name}: " in "\n" + shown.out for name in policies.names())
    assert "footprint_mib" in ballast("workloads", "random").out
    experiments = json.loads(ballast("experiments", "--format", "json").out)
    assert "quick" in [entry["name"] for entry in experiments]
    table = ballast("experiments").out
    assert all(entry["name"] in table for entry in experiments)


@pytest.mark.parametrize("between", [[], ["--"]])
def test_words_after_the_machine_are_the_command_there_options_and_all(
    ballast: Ballast, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, between: list[str]
) -> None:
    monkeypatch.setattr(lab, "running", lambda: (Lab(tmp_path),))
    monkeypatch.setattr(lab.access, "machines", lambda lab: [{"name": "g1"}])
    monkeypatch.setattr(lab.access, "ssh_command", lambda lab, machine: ["echo", machine])
    ran: list[list[str]] = []

    class Ended:
        returncode = 7

    monkeypatch.setattr(lab.subprocess, "run", lambda argv, check: ran.append(argv) or Ended())
    assert ballast("lab", "ssh", "g1", *between, "free", "-m", "--help").code == 7
    assert ran == [["echo", "g1", "free", "-m", "--help"]]


def test_an_error_that_nobody_foresaw_ends_with_70_a_traceback_and_where_to_report_it(
    ballast: Ballast, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(*_: object) -> None:
        raise ZeroDivisionError("nobody foresaw it")

    monkeypatch.setattr(policies, "make", broken)
    said = ballast("decide", "--policy", "equal", "-", stdin=VIEW)
    assert (said.code, said.out) == (70, "")
    assert "Traceback" in said.err
    assert "ZeroDivisionError: nobody foresaw it" in said.err
    assert re.search(r"report it .*CONTRIBUTING\.md", said.err)
    assert "\n## Report a fault\n" in (PROJECT / "CONTRIBUTING.md").read_text()


@pytest.mark.parametrize("page", ["README.md", "CONTRIBUTING.md"])
def test_the_exit_codes_are_explained_where_people_look(page: str) -> None:
    text = (PROJECT / page).read_text()
    assert all(re.search(rf"\b{code.value}\b[ (]", text) for code in Exit if code is not Exit.UNHEARD)


@pytest.mark.parametrize("code", [errno.ENOSPC, errno.EROFS, errno.ENOTDIR])
def test_a_file_that_is_refused_anywhere_is_one_message_and_2(
    ballast: Ballast, monkeypatch: pytest.MonkeyPatch, code: int
) -> None:
    def refuse(*_: object) -> None:
        raise OSError(code, os.strerror(code), "/some/file")

    monkeypatch.setattr(policies, "make", refuse)
    said = ballast("decide", "--policy", "equal", "-", stdin=VIEW)
    assert (said.code, said.out) == (2, "")
    assert said.err.startswith(f"ballast: /some/file: {os.strerror(code)}; ")
    assert said.err.count("\n") == 1


def test_output_that_nobody_reads_any_more_is_no_failed_trial(
    ballast: Ballast, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def unheard(*_: object) -> None:
        raise BrokenPipeError(errno.EPIPE, "Broken pipe")

    monkeypatch.setattr(policies, "make", unheard)
    with capsys.disabled():  # Click puts something in the place of standard output
        assert ballast("decide", "--policy", "equal", "-", stdin=VIEW).code == Exit.UNHEARD


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP])
def test_a_simulation_stops_by_a_signal_as_by_ctrl_c(
    ballast: Ballast, monkeypatch: pytest.MonkeyPatch, number: signal.Signals
) -> None:
    before = signal.getsignal(number)
    monkeypatch.setattr(simulate.runner, "simulate", lambda *_, **__: os.kill(os.getpid(), number))
    said = ballast("simulate", "quick", "--jobs", "1")
    for each in ending.STOPPING:  # they are ignored then, so that what follows is not disturbed
        signal.signal(each, signal.default_int_handler if each is signal.SIGINT else before)
    assert said.code == 130
    assert "the same command goes on" in said.err


def test_a_report_is_written_where_it_is_told_to_be_and_the_run_is_left_as_it_is(
    ballast: Ballast, tmp_path: Path
) -> None:
    run = synthetic.write_run(tmp_path / "run", blocks=2).path
    (run / "trials" / "notes").mkdir()
    before = {path: path.stat().st_mtime_ns for path in run.rglob("*")}
    said = ballast("report", str(run), "--out", str(tmp_path / "elsewhere" / "report"))
    assert said.code == 0, said.err
    assert {path: path.stat().st_mtime_ns for path in run.rglob("*")} == before
    assert (tmp_path / "elsewhere" / "report" / "report.pdf").is_file()
    assert f"{run / 'trials' / 'notes'} is damaged: no trial has this name" in said.err


def test_a_report_that_cannot_be_written_says_where_and_what_to_do(ballast: Ballast, tmp_path: Path) -> None:
    run = synthetic.write_run(tmp_path / "run", blocks=1).path
    (run / "tables").touch()
    said = ballast("report", str(run))
    assert (said.code, said.out) == (2, "")
    assert f"ballast: {run / 'tables'}: File exists; name a folder" in said.err
    assert "Traceback" not in said.err
