"""One simulated trial: a host made for it, the same loop as on a real one, and its rows."""

from __future__ import annotations

import random
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import Any

from harness.balancer import Tick
from harness.experiment.config import Experiment
from harness.experiment.metrics import Metric
from harness.experiment.plan import Trial
from harness.experiment.sweep import Guest as GuestConfig
from harness.experiment.workloads import Workload
from harness.policies.guarded import PolicyFailedError, blamed
from harness.records import Stamp, TickWriter, TrialRow
from harness.service.shadows import Shadows
from harness.simulator import hindsight
from harness.simulator.foresight import Foresight
from harness.simulator.guest import Guest
from harness.simulator.host import Member, SimulatedHost
from harness.simulator.loads import load_of
from harness.simulator.machine import Machine
from harness.simulator.memory import MIB

EPOCH = datetime(2000, 1, 1, tzinfo=UTC)
"""When every simulated trial begins: the time of day in its rows is virtual too."""


@dataclass(slots=True)
class VirtualStamp:
    """The records' clock: the host's time, once there is a host."""

    host: SimulatedHost | None = None

    def __call__(self) -> Stamp:
        """The present moment of virtual time."""
        now_s = self.host.time_s if self.host else 0.0
        utc = (EPOCH + timedelta(seconds=now_s)).isoformat(timespec="milliseconds")
        return Stamp(utc=utc, mono_s=round(now_s, 3))


def host_of(experiment: Experiment, workloads: Mapping[str, Workload], machine: Machine, seed: int) -> SimulatedHost:
    """Build the host of an experiment at one level. The seed decides all that chance decides, guest by guest."""
    members = []
    for config in experiment.guests:
        build = partial(_guest, config, workloads[config.workload], machine, seed)
        guest = build()
        guest.get_ready()
        members.append(
            Member(
                guest=guest, reboot=build, min_kib=config.min_mib * MIB, shares=float(config.shares),
                behaviour=config.behaviour,
            )
        )  # fmt: skip
    return SimulatedHost(experiment, members)


def _guest(config: GuestConfig, workload: Workload, machine: Machine, seed: int) -> Guest:
    chance = random.Random(f"{seed}/{config.name}")
    slow, busy = (max(0.5, chance.gauss(1.0, machine.jitter)) for _ in range(2))
    load = load_of(workload.modelled(config.parameters), f"{seed}/{config.name}/load")
    most_kib = config.max_mib * MIB
    return Guest(
        name=config.name, machine=machine, load=load.scaled(machine.cpu * busy), current_kib=config.initial_mib * MIB,
        max_kib=most_kib, swap_kib=most_kib, slowness=slow,
    )  # fmt: skip


@dataclass(frozen=True, slots=True, kw_only=True)
class SimulatedTrial:
    """A trial of an experiment at one level. `run` returns its rows."""

    experiment: Experiment
    trial: Trial
    workloads: Mapping[str, Workload]
    machine: Machine
    writer: TickWriter
    stamp: VirtualStamp

    def run(self) -> list[TrialRow]:
        """Let the host live for the trial's time under the policy; one that raises an exception has failed."""
        try:
            return self._lived()
        except PolicyFailedError as error:
            self.writer.event("trial_failed", detail=str(error))
            failed: dict[str, Any] = {"status": "failed", "reason": str(error), "started": self.writer.started}
            return [
                TrialRow(guest=guest.name, workload=guest.workload, duration_s=0.0, **failed)
                for guest in self.experiment.guests
            ]

    def _lived(self) -> list[TrialRow]:
        experiment = self.experiment
        host = self._host(experiment)
        self.stamp.host = host
        with blamed(self.trial.policy.name):
            policy = self.trial.policy.make()
        if isinstance(policy, hindsight.Bound):
            policy.called, policy.follows = hindsight.best(policy, experiment, self._host)
        watching = {choice.label: choice.make() for choice in experiment.shadows}
        for one in watching.values():
            if isinstance(one, hindsight.Bound):
                one.knowledge = Foresight(host.members, experiment.duration_s, host.now_s)
        shadows = Shadows(
            watching, lambda event, guest, detail: self.writer.event(event, guest=guest or None, detail=detail)
        )

        def record(tick: Tick) -> None:
            self.writer.tick(
                tick.view, tick.allocation, policy, tick.plan, tick.outcome, tick.timing,
                names=tick.names, shadow=shadows.decisions(tick),
            )  # fmt: skip

        self.writer.begin()
        hindsight.live(host, experiment, policy, record)
        return [
            row
            for config, member in zip(experiment.guests, host.members, strict=True)
            for row in self._rows(config, member)
        ]

    def _host(self, experiment: Experiment) -> SimulatedHost:
        return host_of(experiment, self.workloads, self.machine, self.trial.seed)

    def _rows(self, config: GuestConfig, member: Member) -> Iterator[TrialRow]:
        """One row a metric that the model can tell; a guest whose work was killed has a reason in its place."""
        guest = member.guest
        killed = guest.oom_kills > 0
        row: dict[str, Any] = {
            "guest": config.name, "workload": config.workload, "started": self.writer.started,
            "duration_s": self.experiment.duration_s, "status": "oom" if killed else "ok",
            "reason": "the guest's kernel killed it: memory and swap were full" if killed else "",
            "major_faults": guest.major_faults, "swapped_in_kib": guest.swapped_in_kib,
            "swapped_out_kib": guest.swapped_out_kib, "stall_some_s": guest.stalled_s, "stall_full_s": guest.stalled_s,
            "oom_kills": float(guest.oom_kills), "balloon_moved_mib": guest.moved_kib / MIB,
        }  # fmt: skip
        metrics = self.workloads[config.workload].metrics
        told = [
            (metric, value(metric, guest, self.experiment.duration_s, first=metric is metrics[0])) for metric in metrics
        ]
        if not any(number is not None for _, number in told):
            yield TrialRow(**row)
        for metric, number in told:
            if number is not None:
                said = None if killed else number
                yield TrialRow(**row, metric=metric.name, unit=metric.unit, better=metric.better, value=said)


def value(metric: Metric, guest: Guest, elapsed_s: float, *, first: bool) -> float | None:
    """What the workload would have printed; None for a number that the model does not know."""
    match metric.name:
        case "touched_mib_per_s":
            return guest.ops * 4 / MIB / elapsed_s
        case "passes_per_s":
            return guest.passes / elapsed_s
        case "touches_per_s":
            return guest.ops / elapsed_s
        case "leaked_mib":
            return guest.leaked_kib / MIB
        case "lost_s":
            return guest.lost_s
    if not first:
        return None
    done = guest.ops / guest.wanted_ops if guest.wanted_ops > 0 else 0.0
    full = guest.load.unhindered if guest.load.unhindered is not None else guest.wanted_ops / elapsed_s
    return full * done if metric.better == "higher" else full / max(done, 1e-9)
