"""A workload that fails is a row with its reason: out of memory, given what it refuses. Killed: test_control.py."""

from __future__ import annotations

import subprocess
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest
import yaml

from harness.experiment import runner
from harness.experiment.config import load_experiment
from harness.progress import Progress
from harness.records import read_run
from tests.e2e.conftest import SMOKE, Lived

pytestmark = pytest.mark.lab


@contextmanager
def without_swap(lived: Lived, guest: str) -> Iterator[None]:
    """Take the guest's swap away as soon as its work has begun: to fill all of it takes the lab minutes."""
    over = threading.Event()

    def take() -> None:
        while not over.wait(1):  # until the lab is back at its snapshot, and the work has begun
            with suppress(subprocess.SubprocessError):
                lived.ask(guest, "pgrep -f '[/]mono.py' && swapoff -a")  # a pattern that does not find its own shell
                return

    taker = threading.Thread(target=take)
    taker.start()
    try:
        yield
    finally:
        over.set()
        taker.join(180)


def test_too_little_memory_is_an_oom_and_a_refused_parameter_a_failure(lived: Lived, tmp_path: Path) -> None:
    said = yaml.safe_load(SMOKE.read_text())
    said |= {"name": "failures", "duration_s": 120, "policies": ["static"]}
    hungry, wrong = said["guests"]
    hungry |= {"workload": "mono", "with": {"low_mib": 1500, "high_mib": 1500}}
    wrong |= {"workload": "mono", "with": {"low_mib": 90, "high_mib": 30}}
    (tmp_path / "failures.yml").write_text(yaml.safe_dump(said))
    with without_swap(lived, "g1"):
        done = runner.run(load_experiment(tmp_path / "failures.yml"), lived.site, tmp_path, Progress())
    assert done.failed == 1
    found = read_run(done.folder).trials.drop_duplicates("guest").set_index("guest")
    assert found.status.to_dict() == {"g1": "oom", "g2": "failed"}
    assert "killed for want of memory" in found.reason.g1
    assert found.oom_kills.g1 >= 1
    assert "exit 2: " in found.reason.g2
    assert "needs 0 < low-mib <= high-mib" in found.reason.g2
    assert found.value.isna().all()
