"""Small simulated hosts for tests, and the loop that runs on them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from harness import policies
from harness.balancer import Tick, balance
from harness.experiment.config import Experiment
from harness.experiment.workloads import load_workloads
from harness.governor import Governor, Limits
from harness.policies.oracle import Oracle
from harness.simulator.foresight import Foresight
from harness.simulator.host import SimulatedHost
from harness.simulator.machine import Machine
from harness.simulator.trial import host_of

MACHINE = Machine.model_validate({
    "fault_s": 0.002, "scan_fault_s": 0.0005, "file_fault_s": 0.002, "swap_write_mib_s": 40, "disk_mib_s": 100,
    "balloon_mib_s": 90, "kernel_mib": 46, "kernel_share": 0.016, "own_mib": 30, "cold_mib": 14, "least_free_mib":
    4, "files_mib": 34, "least_files_mib": 8, "order": 0.8, "scan": 4, "rewrites": 0.9, "jitter": 0.03,
})  # fmt: skip
"""One that does not change when the lab is measured again."""
WORKLOADS = load_workloads(names=["mono", "random", "idle"])


def guest(name: str, workload: str = "idle", **more: object) -> dict[str, Any]:
    """One guest of an experiment, in MiB: 160 at least, 350 at first, 800 at most."""
    return {"name": name, "workload": workload, "min_mib": 160, "initial_mib": 350, "max_mib": 800, **more}


def experiment(guests: Sequence[dict[str, Any]], **more: object) -> Experiment:
    """An experiment of these guests for 120 s."""
    fields = {"name": "x", "pool_mib": 1200, "guests": guests, "policies": ["static"], "duration_s": 120}
    return Experiment.model_validate({**fields, **more})


def host(wanted: Experiment, seed: int = 1) -> SimulatedHost:
    """Its simulated host."""
    return host_of(wanted.at(), WORKLOADS, MACHINE, seed)


def live(
    simulated: SimulatedHost,
    policy: str,
    *,
    seconds: float = 120,
    each: Callable[[Tick], None] = lambda _: None,
    **params: object,
) -> list[Tick]:
    """Let a policy balance a host for a time; returns the ticks."""
    ticks: list[Tick] = []
    chosen = policies.make(policy, params)
    if isinstance(chosen, Oracle):
        chosen.knowledge = Foresight(simulated.members, seconds)

    def record(tick: Tick) -> None:
        ticks.append(tick)
        each(tick)

    until_s = simulated.time_s + seconds
    balance(
        simulated, simulated, chosen, Governor(Limits(allow_swap=True)), clock=simulated, period_s=2.0, record=record,
        go_on=lambda: simulated.time_s < until_s - 1e-9,
    )  # fmt: skip
    return ticks
