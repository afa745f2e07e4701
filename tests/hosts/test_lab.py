"""The lab whose machines run Debian 13 (`scripts/test --hosts trixie`); that of Debian 12 all end-to-end tests use."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml

from harness.records import read_run
from tests.e2e.conftest import SMOKE, own_cache, playbook
from tests.hosts.test_hosts import KIND


@pytest.mark.skipif(KIND.suite != "trixie", reason="end-to-end tests have a lab of Debian 12")
def test_every_trial_in_a_lab_of_debian_13_ends_with_a_number(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("BALLAST_CACHE", str(own_cache("trixie")))
    experiment = tmp_path / "smoke13.yml"
    experiment.write_text(
        yaml.safe_dump(yaml.safe_load(SMOKE.read_text()) | {"name": "smoke13", "lab": {"debian": "trixie"}})
    )
    done = playbook("run-experiment.yml", "-e", f"experiment={experiment}", "-e", f"results={tmp_path}")
    assert done.returncode == 0, done.stdout[-6000:] + done.stderr[-2000:]
    (folder,) = (tmp_path / "smoke13").iterdir()
    run = read_run(folder)
    assert set(run.trials.status) == {"ok"}
    assert run.manifest["xen"]["version"].startswith(KIND.xen)
    assert (run.trials[run.trials.metric == "touched_mib_per_s"].value > 0).all()
