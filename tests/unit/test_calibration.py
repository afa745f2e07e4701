"""Costs read from a run: of a simulated machine they must be those that it was simulated with."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
from typer.testing import CliRunner

from harness.cli import app
from harness.experiment.files import load_experiment
from harness.records import RecordsError, read_run
from harness.simulator import runner
from harness.simulator.calibration import calibrate, calibrated
from harness.simulator.machine import Machine, load_machine

OTHER = {
    "fault_s": 0.004, "scan_fault_s": 0.0008, "swap_write_mib_s": 15, "balloon_mib_s": 60, "kernel_mib": 40,
    "kernel_share": 0.02, "own_mib": 36, "files_mib": 28, "least_free_mib": 6, "least_files_mib": 11, "order": 0.6,
    "scan": 3, "fill_s": 0.0002, "cpu": 3, "reclaim_mib_s": 3,
}  # fmt: skip
"""A machine that is other than the lab in all that a run shows."""


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Machine]:
    machine = Machine.model_validate(load_machine().model_dump() | OTHER | {"jitter": 0.0, "disk_mib_s": 1e6})
    done = runner.simulate(
        load_experiment("calibration"),
        tmp_path_factory.mktemp("calibration"),
        machine,
        runner.one_by_one,
        lambda *_: None,
    )
    return done.folder, machine


@pytest.mark.parametrize("name", sorted(OTHER))
def test_a_cost_is_found_again(name: str, run: tuple[Path, Machine]) -> None:
    folder, machine = run
    found = {one.name: one for one in calibrate(read_run(folder), load_machine())}
    assert found[name].value == pytest.approx(getattr(machine, name), rel=0.12)
    assert found[name].samples >= 2


def test_what_a_run_does_not_show_is_kept(run: tuple[Path, Machine]) -> None:
    measured = calibrated(load_machine(), calibrate(read_run(run[0]), load_machine()))
    assert measured.cold_mib == load_machine().cold_mib


def test_the_command_writes_a_machine_that_can_be_simulated_with(run: tuple[Path, Machine], tmp_path: Path) -> None:
    done = CliRunner().invoke(app, ["calibrate", str(run[0]), "--out", str(tmp_path / "machine.yml")])
    assert done.exit_code == 0, done.output
    assert "kept as they were: cold_mib" in done.stdout
    assert load_machine(tmp_path / "machine.yml").scan == pytest.approx(3, rel=0.12)


def test_a_run_of_another_experiment_shows_no_costs(tmp_path: Path) -> None:
    quick = runner.simulate(
        load_experiment("quick"), tmp_path, load_machine(), runner.one_by_one, lambda *_: None
    ).folder
    done = CliRunner().invoke(app, ["calibrate", str(quick)])
    assert done.exit_code != 0
    assert "no run of calibration" in str(done.exception)


def test_a_run_in_which_nothing_was_done_is_said_to_show_no_costs(run: tuple[Path, Machine]) -> None:
    shown = read_run(run[0])
    idle = replace(shown, trials=shown.trials.assign(value=0.0))
    with pytest.raises(RecordsError, match="guest scan shows no costs: its work got nowhere"):
        calibrate(idle, load_machine())
