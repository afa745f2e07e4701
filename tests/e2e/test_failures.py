"""A workload that fails is a row with its reason: killed, out of memory, given what it refuses."""

from __future__ import annotations

import subprocess
import threading
from contextlib import suppress
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
import yaml

from harness.experiment import runner
from harness.experiment.config import load_experiment
from harness.progress import Progress
from harness.records import read_run
from tests.e2e.conftest import SMOKE, Lived

pytestmark = pytest.mark.lab


def rows(lived: Lived, folder: Path, duration_s: float, **works: dict[str, Any]) -> pd.DataFrame:
    """Run one trial under `static` on the lab's guests with other work; returns a row a guest."""
    said = yaml.safe_load(SMOKE.read_text())
    said |= {"name": "failures", "duration_s": duration_s, "policies": ["static"]}
    for guest in said["guests"]:
        guest |= {"with": {}, **works[guest["name"]]}
    (folder / "failures.yml").write_text(yaml.safe_dump(said))
    done = runner.run(load_experiment(folder / "failures.yml"), lived.site, folder, Progress())
    assert done.failed == 1
    return read_run(done.folder).trials.drop_duplicates("guest").set_index("guest")


def test_too_much_for_memory_and_swap_is_an_oom_and_a_refused_parameter_a_failure(lived: Lived, tmp_path: Path) -> None:
    hungry = {"workload": "mono", "with": {"low_mib": 1500, "high_mib": 1500}}
    wrong = {"workload": "mono", "with": {"low_mib": 90, "high_mib": 30}}
    found = rows(lived, tmp_path, 60, g1=hungry, g2=wrong)
    assert found.status.to_dict() == {"g1": "oom", "g2": "failed"}
    assert "killed for want of memory" in found.reason.g1
    assert found.oom_kills.g1 >= 1
    assert "exit 2: " in found.reason.g2
    assert "needs 0 < low-mib <= high-mib" in found.reason.g2
    assert found.value.isna().all()


def test_a_workload_that_somebody_kills_is_a_failure_that_says_so(lived: Lived, tmp_path: Path) -> None:
    over = threading.Event()

    def kill() -> None:
        while not over.wait(2):  # until the lab is back at its snapshot, and g1's work has begun
            with suppress(subprocess.SubprocessError):
                lived.ask("g1", "pkill", "-KILL", "-f", "[m]ono.py")
                return

    killer = threading.Thread(target=kill)
    killer.start()
    try:
        found = rows(lived, tmp_path, 60, g1={"workload": "mono"}, g2={"workload": "random"})
    finally:
        over.set()
        killer.join(180)
    assert found.status.to_dict() == {"g1": "failed", "g2": "ok"}
    assert found.reason.g1.startswith("it was killed, and not for want of memory")
    assert found.value.notna().to_dict() == {"g1": False, "g2": True}
