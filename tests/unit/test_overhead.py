"""What a guest needs beside its committed memory, measured in place of guessed: our repair of the proposal's policy."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from harness.experiment.files import load_experiment
from harness.experiment.workloads import load_workloads
from harness.policies import make
from harness.simulator import hindsight
from harness.simulator.curves import PAGE_KIB
from harness.simulator.machine import load_machine
from harness.simulator.trial import host_of
from harness.view import HostView
from tests.unit.views import MIB, in_mib, make_view

ROOT = Path(__file__).parents[2]
MEASURED = {"overhead": "measured"}


def view(
    committed: float, available: float, *, current: float = 400, total: float = 340, time_s: float = 0
) -> HostView:
    """One guest in a pool with room for it, in MiB."""
    columns: dict[str, Any] = {
        name: np.array([size * MIB])
        for name, size in (("committed_kib", committed), ("mem_available_kib", available), ("mem_total_kib", total))
    }
    return make_view([current], pool=2000, lo=100, hi=1000, time_s=time_s, **columns)


def goal(policy: str = "self-balloon", *views: HostView, **parameters: Any) -> float:  # noqa: ANN401 - a policy's own
    """The target after these views, of a guest that grows at once to its goal."""
    made = make(policy, {**MEASURED, **parameters})
    return [in_mib(made.decide(each).targets_kib)[0] for each in views][-1]


def test_a_guest_that_has_used_up_its_memory_is_not_shrunk_however_little_is_committed() -> None:
    starved = view(committed=200, available=0)
    assert in_mib(make("self-balloon").decide(starved).targets_kib)[0] < 400, "the proposal's letter"
    assert goal("self-balloon", starved) == 400


def test_what_lies_outside_memtotal_and_beside_committed_memory_is_added() -> None:
    assert goal("self-balloon", view(committed=450, available=0)) == 450 + 60
    seen = view(committed=250, available=40), view(committed=350, available=40, time_s=2)
    assert goal("self-balloon", *seen) == 350 + 60 + 50 + 2 * 100, "50 in use beside 250, as it was shown before"


def test_a_claim_that_was_never_touched_hides_nothing_that_was_seen_before() -> None:
    shown, claimed = view(committed=200, available=60), view(committed=600, available=60, time_s=2)
    later = view(committed=600, available=60, time_s=4)
    assert goal("self-balloon", shown, claimed, later) == 600 + 60 + 80


def test_growth_is_expected_to_go_on_until_the_balloon_has_moved_and_is_counted_once_a_view() -> None:
    policy = make("two-state", MEASURED)
    policy.decide(two(committed=300))
    said = policy.decide(two(committed=320, time_s=2))
    assert said.state == "ample"
    assert in_mib(said.targets_kib)[0] == 320 + 60 + 40, "and not twice, for ample and for its goal"


def two(*, committed: float, time_s: float = 0) -> HostView:
    columns = {
        name: np.full(1, size * MIB)
        for name, size in (
            ("committed_kib", committed), ("mem_available_kib", 200), ("mem_total_kib", 340), ("mem_free_kib", 200),
            ("buffers_kib", 0), ("cached_kib", 0), ("swap_total_kib", 500), ("swap_free_kib", 500),
        )
    }  # fmt: skip
    return make_view([400], pool=2000, lo=100, hi=1000, time_s=time_s, **columns)


def test_what_is_not_told_holds_the_guest() -> None:
    silent = make_view([400], pool=2000, lo=100, hi=1000, committed_kib=np.array([200.0 * MIB]))
    allocation = make("self-balloon", MEASURED).decide(silent)
    assert in_mib(allocation.targets_kib) == [400]
    assert "mem_available_kib" in allocation.reasons[0] or "mem_total_kib" in allocation.reasons[0]


def test_a_new_trial_knows_nothing_of_the_last() -> None:
    policy = make("self-balloon", MEASURED)
    policy.decide(view(committed=100, available=0))
    policy.reset()
    assert in_mib(policy.decide(view(committed=450, available=40)).targets_kib) == [450 + 60]


@pytest.mark.parametrize("policy", ["two-state", "self-balloon"])
def test_a_guest_beside_free_memory_is_not_starved_any_more(policy: str, touched: Any) -> None:  # noqa: ANN401
    split = touched("static", {})
    assert touched(policy, {}) < split / 2, "the proposal's letter, at its defaults"
    assert touched(policy, MEASURED) > 2 * split


def test_the_page_has_what_was_simulated(touched: Any) -> None:  # noqa: ANN401
    letter, split, guessed, measured = (
        f"{touched(name, parameters):.0f}"
        for name, parameters in (
            ("two-state", {}), ("static", {}), ("two-state", {"reserve_mib": 128}), ("two-state", MEASURED),
        )
    )  # fmt: skip
    page = " ".join((ROOT / "docs" / "policies.md").read_text(encoding="utf-8").split())
    said = f"touches {letter} MiB/s, under the static split {split}, with a reserve of 128 MiB guessed {guessed}."
    assert said in page
    assert f"the balloon has moved: {measured}." in page


@pytest.fixture(name="touched")
def _touched(tmp_path: Any) -> Any:  # noqa: ANN401 - a function of a policy
    """MiB/s that a guest touches that grows to 260 MiB beside an idle one, with 300 MiB each of 700, simulated."""
    path = tmp_path / "beside.yml"
    path.write_text(
        """name: beside
claim: nobody starves beside free memory
pool_mib: 700
reserve_mib: 64
guests:
  - {name: busy, workload: mono, with: {low_mib: 60, high_mib: 260, rate_mib_s: 15, hold_s: 8, passes_per_s: 1},
     min_mib: 140, initial_mib: 300, max_mib: 600}
  - {name: idle, workload: idle, min_mib: 140, initial_mib: 300, max_mib: 600}
policies: [static]
repetitions: 1
duration_s: 120
period_s: 2
"""
    )
    experiment = load_experiment(path)

    def run(policy: str, parameters: dict[str, Any]) -> float:
        host = host_of(experiment, load_workloads(names=["mono", "idle"]), load_machine(), 1)
        hindsight.live(host, experiment, make(policy, parameters), lambda _: None)
        return host.members[0].guest.ops * PAGE_KIB / MIB / experiment.duration_s

    return run
