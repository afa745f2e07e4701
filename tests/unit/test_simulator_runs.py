"""Simulated experiments: the files of a real run, the same again by the same seed, resumable, below the oracle."""

from __future__ import annotations

import csv
import gc
import json
import shutil
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from harness.cli import app
from harness.experiment.document import ConfigError
from harness.experiment.files import load_experiment
from harness.experiment.plan import Trial
from harness.experiment.workloads import WORKLOADS, load_workloads
from harness.records import read_run
from harness.simulator import runner
from harness.simulator.loads import load_of
from harness.simulator.machine import load_machine

EXPERIMENT = """\
name: small
pool_mib: 900
reserve_mib: 16
guests:
  - {name: a, workload: mono, with: {high_mib: 430}, min_mib: 160, initial_mib: 300, max_mib: 800}
  - {name: b, workload: random, min_mib: 160, initial_mib: 300, max_mib: 800}
  - {name: c, workload: idle, with: {committed_mib: 300}, min_mib: 160, initial_mib: 300, max_mib: 800}
policies: [static, price, two-state, pressure, unconstrained, oracle]
repetitions: 2
duration_s: 90
sweep:
  name: pool
  unit: MiB
  levels: [{at: 900}, {at: 1000, pool_mib: 1000}]
"""


def write(folder: Path, text: str = EXPERIMENT) -> Path:
    path = folder / "small.yml"
    path.write_text(text)
    return path


def run(folder: Path, out: Path, spread: runner.Spread = runner.one_by_one) -> Path:
    experiment = load_experiment(write(folder))
    return runner.simulate(experiment, out, load_machine(), spread, lambda *_: None).folder


def without_clock(path: Path) -> list[Any]:
    """A run's files without what the controller's own clock says."""
    manifest = json.loads((path / "manifest.json").read_text())
    found: list[Any] = [manifest["experiment"], manifest["seeds"], manifest["xen"]]
    for name in ("trials.csv", "samples.csv"):
        with (path / name).open() as file:
            found.append([{**row, "run": ""} for row in csv.DictReader(file)])
    for name in ("decisions.jsonl", "events.jsonl"):
        lines = [json.loads(line) for line in (path / name).read_text().splitlines()]
        found.append([{**line, "run": "", "timing": None} for line in lines])
    return found


def test_the_same_seed_gives_the_same_files_whatever_the_number_of_processes(tmp_path: Path) -> None:
    one = run(tmp_path, tmp_path / "one")
    two = run(tmp_path, tmp_path / "two", runner.in_processes(2))
    assert without_clock(one) == without_clock(two)


def test_a_simulated_run_is_read_and_reported_like_a_real_one(tmp_path: Path) -> None:
    found = read_run(run(tmp_path, tmp_path))
    assert found.manifest["backend"] == "simulator"
    assert set(found.trials["level"]) == {900.0, 1000.0}
    assert set(found.trials["status"]) == {"ok"}
    assert len(found.samples) == 24 * 45 * 3
    assert found.changed_files == {}


def test_trials_leave_nothing_to_collect_since_nothing_is_collected_meanwhile(tmp_path: Path) -> None:
    def cycles(duration_s: int) -> int:
        folder = tmp_path / str(duration_s)
        folder.mkdir()
        text = EXPERIMENT.split("sweep:")[0].replace("duration_s: 90", f"duration_s: {duration_s}")
        experiment = load_experiment(write(folder, text.replace("repetitions: 2", "repetitions: 1")))
        left = []

        def one_by_one(work: Callable[[runner.Task], Trial], tasks: Sequence[runner.Task]) -> Iterator[Trial]:
            for task in tasks:
                gc.collect()
                yield work(task)
                left.append(gc.collect())

        runner.simulate(experiment, folder, load_machine(), one_by_one, lambda *_: None)
        return sum(left)

    cycles(20)  # what is made once and kept
    assert cycles(400) - cycles(40) < 180, "less than one object a tick, of 180 ticks more of six policies"
    assert gc.isenabled()


def test_what_was_stopped_goes_on_where_it_was(tmp_path: Path) -> None:
    seen: list[int] = []

    def stopping(work: Any, tasks: Sequence[runner.Task]) -> Any:  # noqa: ANN401
        for number, task in enumerate(tasks):
            if number == 5:
                raise KeyboardInterrupt
            yield work(task)

    with pytest.raises(KeyboardInterrupt):
        run(tmp_path, tmp_path, stopping)
    experiment = load_experiment(write(tmp_path))
    done = runner.simulate(
        experiment, tmp_path, load_machine(), runner.one_by_one, lambda ended, total: seen.append(ended)
    )
    assert (done.trials, seen[0], seen[-1]) == (19, 5, 24)
    assert len(list((tmp_path / "small").iterdir())) == 1
    assert len(read_run(done.folder).trials.groupby(["block", "order"])) == 24


def work_done(path: Path) -> dict[str, float]:
    """Per policy, the work done of that asked for: the mean over guests and blocks of value over unconstrained."""
    trials = read_run(path).trials
    heads = trials[trials["metric"].isin(["touched_mib_per_s", "touches_per_s"])]
    full = heads[heads["label"] == "unconstrained"].set_index(["block", "guest"])["value"]
    parts = heads.set_index(["block", "guest"])["value"] / full.reindex(heads.set_index(["block", "guest"]).index)
    return {label: float(parts[(heads["label"] == label).to_numpy()].mean()) for label in heads["label"].unique()}


def test_nobody_does_more_work_than_the_oracle(tmp_path: Path) -> None:
    done = work_done(run(tmp_path, tmp_path))
    best = done.pop("unconstrained")
    assert done["oracle"] <= best
    assert all(share <= done["oracle"] + 0.01 for share in done.values()), done
    assert done["oracle"] > done["static"] + 0.1, "there was something to gain"


def test_the_oracle_follows_what_gets_most_done_and_looks_no_farther_than_it_may(tmp_path: Path) -> None:
    text = EXPERIMENT.replace("pressure, unconstrained, oracle", "{name: oracle, horizon_s: 3600}").split("sweep:")[0]
    experiment = load_experiment(write(tmp_path, text))
    samples = read_run(
        runner.simulate(experiment, tmp_path, load_machine(), runner.one_by_one, lambda *_: None).folder
    ).samples
    followed = set(samples[samples["policy"] == "oracle"]["state"])
    assert len(followed) == 1
    assert followed <= {"own plan, 3600 s ahead", "as static", "as price", "as two-state"}


@pytest.mark.parametrize("name", sorted(load_workloads()))
def test_every_workload_has_a_model(name: str) -> None:
    workload = load_workloads(names=[name])[name]
    assert load_of(workload.modelled({}), "seed").wanted_ops_s(0.0) > 0


def test_a_workload_whose_model_is_not_known_is_answered_before_anything_is_written(tmp_path: Path) -> None:
    shutil.copytree(WORKLOADS, tmp_path / "workloads")
    idle = tmp_path / "workloads" / "idle.yml"
    idle.write_text(idle.read_text().replace("model: idle", "model: nothing"))
    library = load_workloads(tmp_path / "workloads")
    with pytest.raises(ConfigError, match=r"workloads/idle.yml: simulator.model is nothing; known: burst, "):
        runner.check_models(load_experiment(write(tmp_path)).at(), library)


def test_the_command_prints_the_folder_and_ends_with_0(tmp_path: Path) -> None:
    done = CliRunner().invoke(app, ["simulate", str(write(tmp_path)), "--out", str(tmp_path), "--jobs", "1"])
    assert done.exit_code == 0, done.output
    assert (Path(done.stdout.strip().splitlines()[-1]) / "trials.csv").is_file()


def targets_of_the_busy(label: str, out: Path) -> list[float]:
    """What the busy guest of E6 is asked to have, tick by tick, as a share of the pool; repeated targets once."""
    experiment = load_experiment("e06-swap-weight")
    chosen = tuple(choice for choice in experiment.policies if choice.label == label)
    one = experiment.model_copy(update={"policies": chosen, "repetitions": 1})
    folder = runner.simulate(one, out, load_machine(), runner.one_by_one, lambda *_: None).folder
    samples = read_run(folder).samples
    asked = samples[samples["guest"] == "busy"]["asked_kib"] / (1000 * 1024)
    return [round(target, 4) for target in asked[asked.diff().abs() > 0.0001]]


def test_a_simulated_guest_swings_into_its_fixed_point_as_theory_says(tmp_path: Path) -> None:
    """At first nothing is seen to move to or from swap, so it grows to 650; what was asked for at 500 is overtaken."""
    after_500, after_650, next_one = 0.6821, 0.6587, 0.6573  # G of docs/theory.md
    assert targets_of_the_busy("weight 0.6 smoothing 0 s", tmp_path)[:3] == pytest.approx(
        [after_500, after_650, next_one], abs=0.0011
    )


def test_a_simulated_guest_swings_for_ever_where_the_weight_is_large_and_undamped(tmp_path: Path) -> None:
    undamped = targets_of_the_busy("weight 10 smoothing 0 s", tmp_path)[-4:]
    assert max(undamped) - min(undamped) > 0.1
    assert len(targets_of_the_busy("weight 10 fixed point", tmp_path)) == 1
