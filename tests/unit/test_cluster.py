"""Work on a cluster: every result comes back, every error too, and nothing goes on that nobody waits for."""

from __future__ import annotations

import os
import signal
import sys
import time
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import pytest
from distributed import Client, LocalCluster
from typer.testing import CliRunner

from harness.cli import USER_ERRORS, app
from harness.experiment.files import load_experiment
from harness.experiment.plan import plan
from harness.records import read_run
from harness.simulator import cluster, runner
from harness.simulator.cluster import ClusterError, map_on_cluster
from harness.simulator.machine import load_machine
from tests.unit.test_simulator_runs import EXPERIMENT, without_clock, write


def local(*, n_workers: int = 1, processes: bool = False) -> LocalCluster:
    """A scheduler in this process; each of its workers, here or in a process, does one thing at a time."""
    return LocalCluster(
        n_workers=n_workers, processes=processes, threads_per_worker=1, protocol="tcp", host="127.0.0.1",
        dashboard_address="127.0.0.1:0",
    )  # fmt: skip


@pytest.fixture(scope="module")
def address() -> Iterator[str]:
    with local() as made:
        yield made.scheduler_address


def squared(number: int) -> int:
    if number == 13:
        raise ArithmeticError("13 brings bad luck")
    return number**2


def test_every_item_has_its_result_whatever_their_order_and_equal_items_are_done_each(address: str) -> None:
    assert sorted(map_on_cluster(address, squared, [3, 1, 2, 2])) == [1, 4, 4, 9]
    assert list(map_on_cluster(address, squared, [])) == []


def test_what_the_work_raises_reaches_the_caller(address: str) -> None:
    with pytest.raises(ArithmeticError, match="13 brings bad luck"):
        list(map_on_cluster(address, squared, [1, 13, 2]))
    assert list(map_on_cluster(address, squared, [5])) == [25], "the cluster is still of use"


def begins(folder: Path, number: int) -> int:
    """Leave a trace; the second item sends Ctrl-C to this process and waits to be let on."""
    (folder / str(number)).touch()
    if number == 1:
        os.kill(os.getpid(), signal.SIGINT)
        while not (folder / "go on").exists():
            time.sleep(0.01)
    return number


def test_ctrl_c_cancels_what_has_not_begun(address: str, tmp_path: Path) -> None:
    with pytest.raises(KeyboardInterrupt):
        list(map_on_cluster(address, partial(begins, tmp_path), range(20)))
    (tmp_path / "go on").touch()
    with Client(address, set_as_default=False) as client:  # its worker comes to this when all before it is done
        assert client.submit(squared, 7).result() == 49
    begun = {path.name for path in tmp_path.iterdir()} - {"go on"}
    assert {"0", "1"} <= begun <= set("0123"), "a worker may hold one or two that it is about to begin"


def test_a_worker_at_another_commit_is_refused(address: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(cluster, "source", lambda: {"commit": "aaa", "dirty": True})
    with pytest.raises(ClusterError, match="and here is commit aaa with changes; bring both to the same commit"):
        list(map_on_cluster(address, partial(begins, tmp_path), [0]))
    assert not list(tmp_path.iterdir())


def test_a_worker_with_other_changes_on_the_same_commit_is_refused(
    address: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(cluster, "sources_sha256", lambda: "others")
    with pytest.raises(ClusterError, match="with other files in harness/ or workloads/; bring both"):
        list(map_on_cluster(address, partial(begins, tmp_path), [0]))
    assert not list(tmp_path.iterdir())


def test_a_worker_without_our_source_is_refused_and_does_not_break_over_it(
    address: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as without:
        without.setitem(sys.modules, "harness.experiment.manifest", None)
        with pytest.raises(ClusterError, match="has no checkout of this project"):
            list(map_on_cluster(address, squared, [1]))
    assert list(map_on_cluster(address, squared, [5])) == [25]


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        ("127.0.0.1:1", "no Dask scheduler at '127.0.0.1:1'"),
        ("nonsense", "missing port number"),
        ("foo://127.0.0.1:1", "unknown address scheme"),
    ],
)
def test_a_scheduler_that_cannot_be_reached_is_said_with_the_remedy(
    wrong: str, said: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(cluster, "CONNECT_S", 0.5)
    with pytest.raises(ClusterError, match=rf"{said}.*\.venv/bin/dask scheduler"):
        list(map_on_cluster(wrong, squared, [1]))
    assert ClusterError in USER_ERRORS


def test_a_scheduler_without_a_worker_is_not_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cluster, "FIRST_WORKER_S", 0.3)
    with local(n_workers=0) as empty, pytest.raises(ClusterError, match="has no worker; start some"):
        list(map_on_cluster(empty.scheduler_address, squared, [1]))


def test_without_the_extra_it_is_said_how_to_install_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "distributed", None)
    with pytest.raises(ClusterError, match=r"distributed is not installed.*-r requirements-cluster\.txt"):
        list(map_on_cluster("127.0.0.1:1", squared, [1]))


def test_a_simulated_experiment_leaves_the_same_files_from_another_process_of_a_cluster(tmp_path: Path) -> None:
    text = EXPERIMENT.replace(", pressure, unconstrained, oracle", "").replace("duration_s: 90", "duration_s: 20")
    path = write(tmp_path, text)
    experiment = load_experiment(path)
    assert (len(plan(experiment)), experiment.duration_s) == (12, 20)
    alone = runner.simulate(experiment, tmp_path / "alone", load_machine(), runner.one_by_one, lambda *_: None).folder
    with local(processes=True) as made:
        words = ["simulate", str(path), "--out", str(tmp_path / "out"), "--scheduler", made.scheduler_address]
        done = CliRunner().invoke(app, words)
    assert done.exit_code == 0, done.output
    spread = Path(done.stdout.strip().splitlines()[-1])
    assert read_run(spread).changed_files == {}
    assert without_clock(spread) == without_clock(alone)
