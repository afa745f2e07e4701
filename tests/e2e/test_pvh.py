"""A PVH guest beside a paravirtual one, balanced together on real Xen; its virtualisation is emulated."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from harness.records import read_run
from tests.e2e.conftest import PROJECT, own_cache, playbook

pytestmark = pytest.mark.lab

PVH = PROJECT / "tests" / "e2e" / "pvh.yml"
FIRST_KIB = 288 * 1024
MOVED_KIB = 20 * 1024


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """The run of an experiment with both types, in a lab of its own beside the one that is up.

    The emulated virtualisation may end a PVH guest (decision 13): that is a row that says so, and it runs once more.
    """
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("BALLAST_CACHE", str(own_cache("pvh")))
        done, folder = ran(tmp_path_factory.mktemp("results"))
        if done.returncode != 0 and folder is not None:
            rows = read_run(folder).trials
            ended = rows[rows.status != "ok"]
            assert set(ended.guest) == {"g1"}, ended.to_string()
            assert ended.reason.str.contains("gone from Xen").all(), ended.to_string()
            done, folder = ran(tmp_path_factory.mktemp("again"))
        assert done.returncode == 0, done.stdout[-6000:] + done.stderr[-2000:]
        assert folder is not None
        yield folder


def ran(results: Path) -> tuple[subprocess.CompletedProcess[str], Path | None]:
    """Run the experiment; what the playbook said, and the run if there is one."""
    done = playbook("run-experiment.yml", "-e", f"experiment={PVH}", "-e", f"results={results}")
    return done, next((results / "pvh").glob("*/"), None)


def test_every_trial_of_both_types_ends_with_a_number(run: Path) -> None:
    trials = read_run(run).trials
    assert set(trials.status) == {"ok"}, trials[["label", "guest", "status", "reason"]].to_string()
    assert (trials[trials.metric == "touched_mib_per_s"].value > 0).all()


def test_the_manifest_says_of_each_guest_which_type_it_was(run: Path) -> None:
    guests = json.loads((run / "manifest.json").read_text())["experiment"]["guests"]
    assert {guest["name"]: guest["type"] for guest in guests} == {"g1": "pvh", "g2": "pv"}


def test_both_guests_follow_their_targets(run: Path) -> None:
    samples = read_run(run).samples
    sizes = samples[samples.label == "two-state"].pivot(index="tick", columns="guest", values="current_kib")
    assert sizes.g1.max() > FIRST_KIB + MOVED_KIB
    assert sizes.g2.min() < FIRST_KIB - MOVED_KIB


def test_nobody_is_taken_for_one_that_does_not_follow(run: Path) -> None:
    plans = [json.loads(line)["plan"] for line in (run / "decisions.jsonl").read_text().splitlines()]
    assert plans
    assert not any(plan["caps_kib"] for plan in plans)
    assert "follow" not in json.dumps(plans)
