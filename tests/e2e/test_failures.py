"""What fails is a row with its reason: out of memory, given what it refuses, killed, its guest gone."""

from __future__ import annotations

import json
import re
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

from harness import cli
from harness.experiment import faults, runner
from harness.experiment.faults import Fault
from harness.experiment.files import load_experiment
from harness.progress import Progress
from harness.records import read_run
from tests.e2e.conftest import SMOKE, Lived

pytestmark = pytest.mark.lab


@pytest.fixture
def said() -> dict[str, Any]:
    """What the smoke experiment says, for one trial."""
    return yaml.safe_load(SMOKE.read_text()) | {"policies": ["static"], "shadows": [], "repeat_baseline": False}


def befalls(patch: pytest.MonkeyPatch, guest: dict[str, Any], what: str, at_s: float) -> None:
    """Have a command done in a guest at a moment of its own clock: by that of whoever watches, its work may be over."""
    patch.setitem(faults.FAULTS, "stale", Fault(begins=what, ends=":", inside=True))
    guest["behaviour"] = {"kind": "stale", "at_s": at_s}


def test_want_of_memory_is_an_oom_and_a_refused_parameter_a_failure(
    lived: Lived, said: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its OOM killer is called: left to itself, the lab's kernel reclaims files for minutes before it kills."""
    said["name"] = "failures"
    hungry, wrong = said["guests"]
    hungry |= {"workload": "mono", "with": {"low_mib": 100, "high_mib": 100}}
    wrong |= {"workload": "mono", "with": {"low_mib": 90, "high_mib": 30}}
    befalls(monkeypatch, hungry, "echo f > /proc/sysrq-trigger", at_s=10)
    (tmp_path / "failures.yml").write_text(yaml.safe_dump(said))
    done = runner.run(load_experiment(tmp_path / "failures.yml"), {"": lived.site}, tmp_path, Progress())
    assert done.failed == 1
    found = read_run(done.folder).trials.drop_duplicates("guest").set_index("guest")
    assert found.status.to_dict() == {"g1": "oom", "g2": "failed"}
    assert "killed for want of memory" in found.reason.g1
    assert found.oom_kills.g1 >= 1
    assert "exit 2: " in found.reason.g2
    assert "needs 0 < low-mib <= high-mib" in found.reason.g2
    assert found.value.isna().all()


def test_a_workload_that_dies_is_a_row_with_its_reason(
    lived: Lived, said: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    said |= {"name": "dies", "duration_s": 12}
    befalls(monkeypatch, said["guests"][0], "pkill -KILL -x python3", at_s=5)
    (tmp_path / "dies.yml").write_text(yaml.safe_dump(said))
    argv = ["ballast", "trials", f"{tmp_path}/dies.yml", f"--inventory={lived.lab.inventory}", f"--out={tmp_path}"]
    monkeypatch.setattr(sys, "argv", argv)
    with pytest.raises(SystemExit) as ended:
        cli.main()
    assert ended.value.code == 1
    (folder,) = (tmp_path / "dies").iterdir()
    found = read_run(folder).trials
    assert set(found.query("guest == 'g1'").status) == {"failed"}
    assert found.query("guest == 'g1'").value.isna().all()
    assert found.query("guest == 'g1'").reason.str.contains("exit 137").all()
    assert set(found.query("guest == 'g2'").status) == {"ok"}
    lines = [json.loads(line) for line in (folder / "events.jsonl").read_text().splitlines()]
    assert all(re.fullmatch(r"\d{4}-.*", line["utc"]) for line in lines)


def test_a_guest_that_is_gone_from_xen_is_a_row_that_says_so_while_the_other_one_works_on(
    lived: Lived, said: dict[str, Any], tmp_path: Path
) -> None:
    said |= {"name": "gone", "duration_s": 12}
    said["guests"][1] |= {"behaviour": {"kind": "rebooting", "at_s": 5}}  # and nobody creates it again
    (tmp_path / "gone.yml").write_text(yaml.safe_dump(said))
    done = runner.run(load_experiment(tmp_path / "gone.yml"), {"": lived.site}, tmp_path, Progress())
    run = read_run(done.folder)
    found = run.trials.drop_duplicates("guest").set_index("guest")
    assert found.status.to_dict() == {"g1": "ok", "g2": "lost"}
    assert "gone from Xen" in found.reason.g2
    assert run.samples.trial_s.max() < 20, "nobody waited for it"
