"""Two Xen hosts at once, each with its own guests and its own arbiter: one trial, one run, one report."""

from __future__ import annotations

import re
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from harness.lab.lab import Lab
from harness.records import read_decisions, read_run
from tests.e2e.conftest import BIN, PROJECT, own_cache, playbook

pytestmark = pytest.mark.lab

EXPERIMENT = PROJECT / "tests" / "e2e" / "two-hosts.yml"
GUESTS = {"xen1": {"g1", "g2"}, "xen2": {"g3", "g4"}}
POOL_KIB = {"xen1": 600 * 1024, "xen2": 560 * 1024}


@dataclass(frozen=True, slots=True, kw_only=True)
class Ran:
    """The run, what the playbook said, and what was up while its labs were kept."""

    run: Path
    printed: str
    status: str
    boots: dict[str, str]


@pytest.fixture(scope="module")
def ran(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Ran]:
    """Run it in labs of its own, which are kept up for a look."""
    results = tmp_path_factory.mktemp("results")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("BALLAST_CACHE", str(own_cache("two")))
        try:
            variables = ["-e", f"experiment={EXPERIMENT}", "-e", f"results={results}", "-e", "lab_keep=true"]
            variables += ["-e", "repetitions=1"]
            done = playbook("run-experiment.yml", *variables)
            assert done.returncode == 0, done.stdout[-6000:] + done.stderr[-2000:]
            (run,) = (results / "two-hosts-small").iterdir()
            boots = {host: ballast("lab", "ssh", host, "cat", "/proc/sys/kernel/random/boot_id") for host in GUESTS}
            yield Ran(run=run, printed=done.stdout, status=ballast("lab", "status"), boots=boots)
        finally:
            for lab in Lab.running():
                lab.down()


def ballast(*words: str) -> str:
    """What the command prints, as a person calls it."""
    command = [str(BIN / "ballast"), *words]
    return subprocess.run(command, capture_output=True, text=True, check=True, timeout=120).stdout


def lines(ran: Ran, host: str) -> list[dict[str, Any]]:
    return [line for line in read_decisions(ran.run) if line["host"] == host]


def test_all_guests_of_both_hosts_end_with_a_number_in_one_run(ran: Ran) -> None:
    trials = read_run(ran.run).trials
    assert set(trials.status) == {"ok"}, trials[["label", "guest", "status", "reason"]].to_string()
    assert set(trials.block) == {1}, "so often as was asked for"
    assert set(trials.guest) == GUESTS["xen1"] | GUESTS["xen2"]
    assert (trials[trials.metric == "touched_mib_per_s"].value > 0).all()
    assert (ran.run / "report.pdf").exists()


def test_each_arbiter_has_its_own_host_and_sees_its_own_guests_alone(ran: Ran) -> None:
    for host, guests in GUESTS.items():
        for line in lines(ran, host):
            assert {guest["name"] for guest in line["view"]["guests"]} == guests
            assert set(line["plan"]["targets_kib"]) <= guests
            assert sum(guest["current_kib"] for guest in line["view"]["guests"]) <= 1.02 * POOL_KIB[host]


def test_memory_moves_on_both_hosts_at_the_same_time(ran: Ran) -> None:
    for host, busy in (("xen1", "g1"), ("xen2", "g3")):
        had = [
            {guest["name"]: guest["current_kib"] for guest in line["view"]["guests"]}[busy] for line in lines(ran, host)
        ]
        assert max(had) > had[0] + 20 * 1024, (host, had)
        first = lines(ran, host)[0]
        assert abs(first["trial_s"]) < 2, "both count from the word that was given to all"
    starts = re.findall(r"two-state: xen1: .*; xen2: ", ran.printed)
    assert starts, "the person sees both hosts"


def test_two_labs_are_up_each_a_machine_of_its_own(ran: Ran) -> None:
    assert ran.status.count("provisioned snapshot: yes") == 2
    assert all(f"ballast lab ssh {name}" in ran.status for name in ("xen1", "xen2", "g1", "g2", "g3", "g4"))
    assert len(set(ran.boots.values())) == 2
    facts = read_run(ran.run).manifest["xen"]
    assert facts["lab"] is True
    assert set(facts["hosts"]) == {"xen1", "xen2"}
