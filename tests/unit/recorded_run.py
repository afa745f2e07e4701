"""A run that really was balanced: a small world of guests that follow their targets, recorded tick by tick."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from harness.balancer import Tick, balance
from harness.governor import Governor, Limits, Plan
from harness.policies import Policy, make
from harness.ports import Outcome
from harness.records import RunFolder, TrialKey, TrialWriter
from harness.view import HostView
from tests.unit import synthetic_run as synthetic
from tests.unit.synthetic_run import VirtualTime

MIB = 1024
NAMES = ("g1", "g2", "g3", "g4")
PERIOD_S = 2.0
BALLOON_KIB_S = 40 * MIB


class World:
    """Guests whose demand rises and falls. The third never follows a target, the fourth falls silent and goes away."""

    def __init__(self, seed: int, clock: VirtualTime) -> None:
        self._random, self._clock = np.random.default_rng(seed), clock
        self._size = np.array([300 + 20 * seed, 300 - 20 * seed, 250, 250]) * MIB
        self._target = self._size.copy()
        self._seen_s = clock.now_s
        self.views = 0

    def view(self) -> HostView:
        """See the guests now: whole KiB, as Linux and Xen tell them, at times that are never quite on time."""
        self.views += 1
        step = int(BALLOON_KIB_S * (self._clock.now_s - self._seen_s))
        self._seen_s = self._clock.now_s
        self._size[:2] += np.clip(self._target - self._size, -step, step)[:2]
        size, wave = self._size, np.sin(np.arange(4) + self._clock.now_s / 9) ** 2
        used = np.minimum((60 * MIB + 380 * MIB * wave).astype(int), size - 30 * MIB)
        short = np.maximum((60 * MIB + 380 * MIB * wave).astype(int) - used, 0)
        current = size.astype(float)
        age = np.full(4, 0.4)
        if 12 <= self.views % 30 < 20:
            age[3] = 2.0 * (self.views % 30 - 10)
        if 20 <= self.views % 30 < 24:
            current[3] = np.nan
        total = size - 20 * MIB
        return HostView(
            time_s=self._clock.now_s, total_kib=4096.0 * MIB, free_kib=max(0.0, 1164.0 * MIB - size.sum()),
            reserve_kib=64.0 * MIB, names=NAMES, current_kib=current, min_kib=np.full(4, 100.0 * MIB),
            max_kib=np.full(4, 700.0 * MIB), shares=np.array([1000, 2000, 1000, 1000]), mem_total_kib=total,
            mem_free_kib=total - used - 4 * MIB, mem_available_kib=total - used, buffers_kib=np.full(4, MIB),
            cached_kib=np.full(4, 3 * MIB), committed_kib=used + short + 20 * MIB, swap_total_kib=np.full(4, 512 * MIB),
            swap_free_kib=512 * MIB - short, swap_in_kib_s=short * self._random.random(4),
            swap_out_kib_s=short * self._random.random(4), refault_kib_s=short * self._random.random(4),
            major_faults_s=short / 4 * self._random.random(4), stall_some=(short > 0) * self._random.random(4) / 2,
            stall_full=(short > 0) * self._random.random(4) / 4, age_s=age, active_kib=used * 0.8,
            page_ages=((( 1.0, float(used[0])), (30.0, 78000.0)), None, None, None),
            ghost_returns=(((4096.0, float(short[0]) / 9),), ((8192.0, 12.5),), (), None),
        )  # fmt: skip

    def apply(self, plan: Plan) -> Outcome:
        """Set the targets; now and then one cannot be set."""
        targets = {step.guest: step.target_kib for step in plan.steps}
        failed = {"g2": "xl: timed out"} if self.views % 17 == 5 and "g2" in targets else {}
        for guest, kib in targets.items():
            if guest not in failed:
                self._target[NAMES.index(guest)] = kib
        return Outcome(applied_kib={guest: kib for guest, kib in targets.items() if guest not in failed}, failed=failed)

    def renew_lease(self, safe_kib: Mapping[str, int] | None = None) -> None:
        """Nobody watches."""

    def restore(self, targets_kib: Mapping[str, int]) -> None:
        """Nothing ends here."""

    def now_s(self) -> float:
        """The time."""
        return self._clock.now_s

    def sleep_until(self, t_s: float) -> None:
        """Wake up a little late."""
        self._clock.now_s = round(t_s + 0.3 * self._random.random(), 3)


def record_trial(folder: RunFolder, key: TrialKey, policy: Policy, clock: VirtualTime, *, ticks: int) -> None:
    """Balance a world for some ticks, as a trial of a run."""
    world = World(key.block, clock)
    limits = Limits(period_s=PERIOD_S, allow_swap=True)
    with TrialWriter(folder, key, stamp=clock) as writer:

        def record(tick: Tick) -> None:
            writer.tick(tick.view, tick.allocation, policy, tick.plan, tick.outcome, tick.timing, names=tick.names)

        balance(
            world, world, policy, Governor(limits), clock=world, period_s=PERIOD_S,
            record=record, go_on=lambda: world.views < ticks,
        )  # fmt: skip
        writer.finish(synthetic.rows(writer, {"g1": 5.0, "g2": 7.0}), commit=False)


def record_run(path: Path, policies: Sequence[str], *, blocks: int = 1, ticks: int = 40) -> Path:
    """Record a run of these policies."""
    folder = RunFolder.create(path, synthetic.manifest(experiment={"name": "small", "period_s": PERIOD_S}))
    clock = VirtualTime()
    for block in range(1, blocks + 1):
        for order, name in enumerate(policies, start=1):
            key = TrialKey(run=folder.run, block=block, order=order, policy=name, label=name)
            record_trial(folder, key, make(name), clock, ticks=ticks)
    return folder.seal().path
