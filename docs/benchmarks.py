"""How long decisions take, per policy and number of guests, and a whole tick, decided or simulated; prints tables.

    .venv/bin/python docs/benchmarks.py

Every figure is the least of several runs inside one process, since other work on a machine only ever adds. Growth is
measured side by side: the same policy at ten times the guests, over ten times the time.
"""

from __future__ import annotations

import sys
import tempfile
import time
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).parents[1]))

from docs.commands import command_line
from harness import policies
from harness.experiment.files import load_experiment
from harness.governor import Governor, Limits
from harness.simulator import runner
from harness.simulator.machine import load_machine
from harness.view import FloatArray, HostView

SIZES = (10, 100, 1_000, 10_000, 100_000)
RUNS = 7
POLICIES = ("price", "two-state", "idle-tax", "dynamic-baseline", "squeezed")
MIB = 1024.0
SIMULATED = """\
name: benchmark
pool_mib: {pool_mib}
guests:
  - {{name: mono, count: {each}, workload: mono, min_mib: 160, initial_mib: 275, max_mib: 800}}
  - {{name: random, count: {each}, workload: random, min_mib: 160, initial_mib: 275, max_mib: 800}}
  - {{name: idle, count: {twice}, workload: idle, min_mib: 160, initial_mib: 275, max_mib: 800}}
policies: [price]
duration_s: {duration_s}
period_s: 2
"""


def view(guests: int, time_s: float = 0.0) -> HostView:
    """A host that is short of memory, with guests of all kinds, some of which swap."""
    chance = np.random.default_rng(guests)

    def sizes(low_mib: float, high_mib: float) -> FloatArray:
        return np.round(chance.uniform(low_mib, high_mib, guests) * MIB)

    current = sizes(200, 500)
    total = current - 60 * MIB
    used = np.round(total * chance.uniform(0.2, 0.95, guests))
    swapped = np.where(chance.random(guests) < 0.3, sizes(0, 200), 0.0)
    return HostView(
        time_s=time_s, total_kib=float(current.sum()) * 1.02, free_kib=float(current.sum()) * 0.015, reserve_kib=0.0,
        names=tuple(f"g{number}" for number in range(guests)), current_kib=current,
        min_kib=np.full(guests, 160 * MIB), max_kib=np.full(guests, 800 * MIB),
        shares=chance.choice([500.0, 1000.0, 2000.0], guests), mem_total_kib=total, mem_free_kib=total - used,
        mem_available_kib=total - used, buffers_kib=np.zeros(guests), cached_kib=np.zeros(guests),
        committed_kib=used * 4, swap_total_kib=np.full(guests, 800 * MIB), swap_free_kib=800 * MIB - swapped,
        swap_in_kib_s=swapped / 50, swap_out_kib_s=np.zeros(guests), refault_kib_s=swapped / 50,
        major_faults_s=swapped / 200, stall_some=np.minimum(1, swapped / 1e5), stall_full=np.minimum(1, swapped / 1e5),
        age_s=np.full(guests, 0.3),
    )  # fmt: skip


def least_s(act: Callable[[], object], runs: int = RUNS) -> float:
    """The shortest of several runs."""
    found = []
    for _ in range(runs):
        began = time.perf_counter()
        act()
        found.append(time.perf_counter() - began)
    return min(found)


def decision_s(name: str, seen: HostView) -> float:
    """One decision by a policy that has seen nothing before."""
    policy = policies.make(name)

    def decide() -> None:
        policy.reset()
        policy.decide(seen)

    return least_s(decide)


def tick_s(seen: HostView, *, words: bool) -> float:
    """Decision and plan by `price`, without or with all reasons put into words."""
    policy, governor = policies.make("price"), Governor(Limits(allow_swap=True))

    def tick() -> None:
        fresh = governor.fresh(seen)
        allocation = policy.decide(fresh)
        plan = governor.plan(seen, allocation)
        if words:
            list(allocation.reasons), [step.reason for step in plan.steps]

    return least_s(lambda: [tick() for _ in range(50)]) / 50


def simulated_s(guests: int, duration_s: int) -> float:
    """One trial under `price`, with everything that is written of it."""
    text = SIMULATED.format(pool_mib=275 * guests, each=guests // 4, twice=guests // 2, duration_s=duration_s)
    with tempfile.TemporaryDirectory() as folder:
        (Path(folder) / "benchmark.yml").write_text(text)
        experiment = load_experiment(Path(folder) / "benchmark.yml")
        began = time.perf_counter()
        runner.simulate(experiment, Path(folder), load_machine(), runner.one_by_one, lambda *_: None)
        return time.perf_counter() - began


def main() -> None:
    """Print the tables."""
    views = {size: view(size) for size in SIZES}
    print("decision, ms" + " " * 10 + "".join(f"{size:>11,}" for size in SIZES) + "   growth per tenfold")
    for name in POLICIES:
        took = [1000 * decision_s(name, views[size]) for size in SIZES]
        growth = " ".join(f"{late / early:5.1f}" for early, late in pairwise(took))
        print(f"{name:<22}" + "".join(f"{ms:11.3f}" for ms in took) + f"   {growth}")
    for guests, duration_s in ((4, 7200), (1000, 120)):
        took_s = simulated_s(guests, duration_s)
        tick_us = 2e6 * took_s / duration_s
        print(f"simulated, {guests:,} guests: {duration_s / took_s:,.0f} times real time, {tick_us:,.0f} us a tick")
    for words in (False, True):
        said = "with" if words else "without"
        print(f"price and governor, 4 guests, {said} reasons in words: {1e6 * tick_s(view(4), words=words):.0f} us")


if __name__ == "__main__":
    command_line(__doc__).parse_args()
    main()
