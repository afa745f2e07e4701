"""What fails is a row with its reason: out of memory, given what it refuses, its guest gone. Killed: test_control."""

from __future__ import annotations

import subprocess
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest
import yaml

from harness.experiment import runner
from harness.experiment.files import load_experiment
from harness.progress import Progress
from harness.records import read_run
from tests.e2e.conftest import SMOKE, Lived

pytestmark = pytest.mark.lab

AT_WORK = "pgrep -f '[/]mono.py'"  # a pattern that does not find its own shell
OOM = "sleep 10; echo f > /proc/sysrq-trigger"
"""Call the kernel's OOM killer. Left to itself, the lab's kernel reclaims files for minutes before it does."""


@contextmanager
def oom_killer(lived: Lived, guest: str) -> Iterator[None]:
    """Have a guest's kernel kill for want of memory, as soon as the guest's work has begun."""
    over = threading.Event()

    def call() -> None:
        end_s = time.monotonic() + 180
        while time.monotonic() < end_s and not over.wait(1):
            with suppress(subprocess.SubprocessError):  # the lab is on its way to its snapshot, or nothing has begun
                lived.ask(guest, f"{AT_WORK} && ({OOM})")
                return

    caller = threading.Thread(target=call)
    caller.start()
    try:
        yield
    finally:
        over.set()
        caller.join(180)


def test_want_of_memory_is_an_oom_and_a_refused_parameter_a_failure(lived: Lived, tmp_path: Path) -> None:
    said = yaml.safe_load(SMOKE.read_text())
    said |= {"name": "failures", "policies": ["static"], "repeat_baseline": False}
    hungry, wrong = said["guests"]
    hungry |= {"workload": "mono", "with": {"low_mib": 100, "high_mib": 100}}
    wrong |= {"workload": "mono", "with": {"low_mib": 90, "high_mib": 30}}
    (tmp_path / "failures.yml").write_text(yaml.safe_dump(said))
    with oom_killer(lived, "g1"):
        done = runner.run(load_experiment(tmp_path / "failures.yml"), {"": lived.site}, tmp_path, Progress())
    assert done.failed == 1
    found = read_run(done.folder).trials.drop_duplicates("guest").set_index("guest")
    assert found.status.to_dict() == {"g1": "oom", "g2": "failed"}
    assert "killed for want of memory" in found.reason.g1
    assert found.oom_kills.g1 >= 1
    assert "exit 2: " in found.reason.g2
    assert "needs 0 < low-mib <= high-mib" in found.reason.g2
    assert found.value.isna().all()


def test_a_guest_that_is_gone_from_xen_is_a_row_that_says_so_while_the_other_one_works_on(
    lived: Lived, tmp_path: Path
) -> None:
    said = yaml.safe_load(SMOKE.read_text())
    said |= {"name": "gone", "policies": ["static"], "repeat_baseline": False, "duration_s": 12}
    said["guests"][1] |= {"behaviour": {"kind": "rebooting", "at_s": 5}}  # and nobody creates it again
    (tmp_path / "gone.yml").write_text(yaml.safe_dump(said))
    done = runner.run(load_experiment(tmp_path / "gone.yml"), {"": lived.site}, tmp_path, Progress())
    run = read_run(done.folder)
    found = run.trials.drop_duplicates("guest").set_index("guest")
    assert found.status.to_dict() == {"g1": "ok", "g2": "lost"}
    assert "gone from Xen" in found.reason.g2
    assert run.samples.trial_s.max() < 20, "nobody waited for it"
