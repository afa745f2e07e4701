"""One trial on real machines: connect, get all work ready, let it go together, balance until it ends, collect."""

from __future__ import annotations

import math
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, suppress
from dataclasses import dataclass, field
from functools import partial

from harness.balancer import Tick, balance
from harness.clocks import wait_for
from harness.experiment.away import HostAwayError
from harness.experiment.config import Experiment
from harness.experiment.connection import KIB_PER_MIB, Connection, connected, initial_kib, stepping
from harness.experiment.faults import Faults, standing_by
from harness.experiment.limits import limits_of
from harness.experiment.plan import Trial
from harness.experiment.settling import Settling, guests_of
from harness.experiment.site import Site
from harness.experiment.together import Begin, Watch, at_once
from harness.experiment.work import Work, row_of
from harness.experiment.workloads import WORKLOAD_DIR, Workload
from harness.governor import Governor
from harness.lab.image import LabError
from harness.policies import Policy
from harness.policies.guarded import PolicyFailedError, blamed, guarded
from harness.ports import Clock
from harness.records import RecordsError, Stamp, TickWriter, TrialRow
from harness.service.shadows import Shadows
from harness.xen.domains import Domain
from harness.xen.host import HostError, HostRefusedError, XenHost
from harness.xen.source import XenSource
from harness.xen.ssh import ConnectionFailed

FIRST_SAMPLE_S = 120.0
"""A guest that has said nothing by then takes part in no trial."""
SETTLE_S = 60.0
"""For the guests to reach the initial split before the work begins."""
READY_S = 300.0
"""For the workloads to get ready for the word; a guest that has not by then takes no further part."""
LEAD_PERIODS = 0.25
"""Of a period, by which the guests' samples come before the arbiter's ticks: none is on its way when they are read."""
GRACE_S = 60.0
"""After the trial's time: a guest that thrashes needs it to say how it fared."""
LAST_SAMPLE_S = 10.0


class TrialError(RuntimeError):
    """The trial could not begin or go on; the message is its reason."""


@dataclass(slots=True)
class LiveTrial:
    """A trial on a site that has been reset. `run` returns its rows; leaving it sets the safe targets."""

    experiment: Experiment
    trial: Trial
    workloads: Mapping[str, Workload]
    site: Site
    writer: TickWriter
    watch: Watch
    clock: Clock
    begin: Begin = at_once
    """Waits for the other hosts of the trial, where it has several."""
    _works: list[Work] = field(default_factory=list)
    _host_lost: str = ""
    """Why dom0 was lost when it last was; empty: it never was."""

    def run(self) -> list[TrialRow]:
        """Run the trial; whatever goes wrong in it becomes rows with a reason.

        Raises:
            HostAwayError: it came to nothing because dom0 could not be reached, or another controller is at work there.

        """
        began = self._now()
        try:
            with ExitStack() as stack:
                connection = self._connect(stack)
                self._settle(connection.host)
                stack.callback(self._stop_work)
                self._begin(stack, connection.host)
                with blamed(self.trial.policy.name):
                    policy = self.trial.policy.make()
                self._balance(connection.source, connection.host, policy)
                self._hear_out()
                rows = [row for work in self._works for row in work.rows(self._now())]
        except PolicyFailedError as error:
            return self._without_end(began, "failed", error)
        except (TrialError, HostRefusedError) as error:
            self._blame_host(str(error))
            return self._without_end(began, "lost", error)
        except (HostError, ConnectionFailed, LabError) as error:
            raise HostAwayError(str(error)) from error
        if lost := [row.reason for row in rows if row.status == "lost"]:
            self._blame_host(lost[0])
        return rows

    def _without_end(self, began: Stamp, status: str, error: Exception) -> list[TrialRow]:
        self.writer.event("trial_failed", detail=str(error))
        return [row_of(guest, began, status=status, reason=str(error)) for guest in self.experiment.guests]

    def _blame_host(self, what: str) -> None:
        """Where guests were lost while dom0 was lost too, that says nothing of them: raise HostAwayError."""
        if self._host_lost:
            raise HostAwayError(f"{what}, when dom0 was lost too: {self._host_lost}")

    def _connect(self, stack: ExitStack) -> Connection:
        self.watch("connecting to dom0 and the guests")
        connection = stack.enter_context(connected(self.experiment, self.site, self._tell, FIRST_SAMPLE_S, self.clock))
        if connection.silent:
            connection.host.state()  # where dom0 does not answer either, it is not the guests
            raise TrialError(f"no sample from {', '.join(connection.silent)} within {FIRST_SAMPLE_S:.0f} s")
        self._works = [
            Work(guest=guest, workload=self.workloads[guest.workload], client=client)
            for guest, client in zip(self.experiment.guests, connection.clients, strict=True)
        ]
        return connection

    def _settle(self, host: XenHost) -> None:
        """Bring every guest to its initial memory; a host that has not enough for that is said so now."""
        initial = initial_kib(self.experiment)
        names = {machine.name: machine.xen_name for machine in self.site.guests}
        state = host.state()
        if missing := [xen_name for xen_name in names.values() if xen_name not in state.domains]:
            raise TrialError(
                f"Xen has no domain {missing[0]}; it has {', '.join(state.domains)}. Start it, or set xen_domain"
            )
        check_types(self.experiment, {name: state.domains[xen_name] for name, xen_name in names.items()})
        room_kib = state.free_kib + sum(state.domains[xen_name].current_kib for xen_name in names.values())
        needed_kib = (self.experiment.pool_mib + self.experiment.reserve_mib) * KIB_PER_MIB
        if needed_kib > room_kib:
            raise TrialError(
                f"pool_mib + reserve_mib is {needed_kib // KIB_PER_MIB}, and the host has "
                f"{room_kib // KIB_PER_MIB} MiB for these guests; lower pool_mib"
            )
        host.restore(initial)
        settling = Settling(initial)

        def far() -> dict[str, float]:
            host.renew_lease()
            there = guests_of(host, self.site)
            if gone := [names[name] for name in initial if name not in there]:
                raise TrialError(f"Xen has no domain {gone[0]} any more: it ended while the guests settled; start it")
            return settling.far(self.clock.now_s(), there)

        if not wait_for(self.clock, lambda: not far(), SETTLE_S):
            raise TrialError(f"{', '.join(far())} did not reach the initial memory within {SETTLE_S:.0f} s")

    def _begin(self, stack: ExitStack, host: XenHost) -> None:
        """Start all work, wait until it is ready, and let it go together: that is the trial's t = 0."""
        self._start_work()
        faults = stack.enter_context(standing_by(self.site, self._works, self.clock))
        with stepping(self.site, host):
            self._wait_ready(host)
            self.begin(_nothing if self.site.virtual else host.renew_lease)  # a lab stands still meanwhile
        self._leave_late()
        stack.enter_context(stepping(self.site, host))
        self._go(faults)

    def _start_work(self) -> None:
        """Start all work; it gets ready and waits for the word."""

        def start(work: Work) -> None:
            argv = work.workload.command(
                work.guest.parameters,
                duration_s=self.experiment.duration_s,
                seed=self.trial.seed,
                directory=WORKLOAD_DIR,
            )
            work.first = work.client.newest.sample if work.client.newest else None
            work.started = self._now()
            try:
                work.process = work.client.run(argv)
            except ConnectionFailed as error:
                work.fault = str(error)

        self.watch("starting the work in all guests")
        with ThreadPoolExecutor(len(self._works)) as pool:
            list(pool.map(start, self._works))

    def _wait_ready(self, host: XenHost) -> None:
        """Wait until all work is ready, or has ended, or the time for that is up."""

        def all_ready() -> bool:
            host.renew_lease()
            waited_for = [work.guest.name for work in self._works if work.getting_ready]
            self.watch(f"{', '.join(waited_for)}: getting ready" if waited_for else "ready")
            return not waited_for

        wait_for(self.clock, all_ready, READY_S)

    def _leave_late(self) -> None:
        """Who is not ready by now takes no further part."""
        late = [work for work in self._works if work.getting_ready]
        for work in late:
            work.fault = f"not ready within {READY_S:.0f} s: {work.last_lines(1)}"
            work.kill()

    def _go(self, faults: Faults) -> None:
        """Give the word to all who are ready, together: that is the trial's t = 0.

        All guests take their samples at the same moments, and what they count, they count from then on.
        """
        for work in self._works:
            work.client.phase()
        self.clock.sleep_until(self.clock.now_s() + LEAD_PERIODS * self.experiment.period_s)
        ready = [work for work in self._works if work.running and not work.fault]
        self.writer.begin()
        faults.go()
        for work in ready:
            work.go()
        for work in ready:
            work.started = self.writer.started
            self.writer.event("work_started", guest=work.guest.name, detail=work.workload.name)

    def _balance(self, source: XenSource, host: XenHost, policy: Policy) -> None:
        shadows = Shadows({choice.label: choice.make() for choice in self.experiment.shadows}, self._tell)
        began_s = self.clock.now_s()

        def record(tick: Tick) -> None:
            self.writer.tick(
                tick.view, tick.allocation, policy, tick.plan, tick.outcome, tick.timing,
                names=tick.names, shadow=shadows.decisions(tick),
            )  # fmt: skip
            for work in self._works:
                work.note(tick.view)
                if work.vanished(tick.view):
                    self.writer.event("gone", guest=work.guest.name, detail=work.gone)
            self.watch(self._seen(self.clock.now_s() - began_s, tick))

        balance(
            source, host, guarded(policy), Governor(limits_of(self.experiment)), clock=self.clock,
            period_s=self.experiment.period_s, record=record, go_on=self._working,
        )  # fmt: skip
        for work in self._works:
            if work.running and work.went() is not None:
                work.fault = f"it had not ended after {self._limit_s(work):.0f} s"

    def _hear_out(self) -> None:
        """Where work has failed, wait for what its guest says of the time after: it tells whether memory was short."""
        for work in self._works:
            process = work.process
            if process is not None and process.ended_s is not None and process.exit_status != 0:
                taken_s = process.ended_s + work.client.period_s  # what arrives sooner can have been taken before
                wait_for(self.clock, partial(work.client.heard_after, taken_s), LAST_SAMPLE_S)

    def _stop_work(self) -> None:
        """Whatever ends the trial, no workload of it goes on in a guest."""
        for work in self._works:
            if work.running:
                work.kill()

    def _now(self) -> Stamp:
        return Stamp.at(self.clock.now_s())

    def _tell(self, event: str, guest: str, detail: str) -> None:
        if event == "host_lost":
            self._host_lost = detail
        with suppress(RecordsError):  # the threads of the connections, which this comes from, go on; `finish` says it
            self.writer.event(event, guest=guest or None, detail=detail)

    def _working(self) -> bool:
        now_s = self.clock.now_s()
        went = [(work, work.went()) for work in self._works if work.running]
        return any(went_s is not None and now_s < went_s + self._limit_s(work) for work, went_s in went)

    def _limit_s(self, work: Work) -> float:
        return min(self.experiment.duration_s + GRACE_S, work.workload.time_limit_s or math.inf)

    def _seen(self, elapsed_s: float, tick: Tick) -> str:
        sizes = ", ".join(
            f"{name} {kib / KIB_PER_MIB:.0f}" for name, kib in zip(tick.view.names, tick.view.current_kib, strict=True)
        )
        whose = " of the lab's time" if self.site.virtual else ""
        state = f", {tick.allocation.state}" if tick.allocation.state else ""
        return f"{elapsed_s:.0f} of {self.experiment.duration_s:.0f} s{whose}{state}; MiB: {sizes}"


def _nothing() -> None:
    pass


def check_types(experiment: Experiment, domains: Mapping[str, Domain]) -> None:
    """Refuse a guest that Xen runs in another way than the experiment says, where both say it.

    Raises:
        TrialError: there is one.

    """
    for guest in experiment.guests:
        hvm = domains[guest.name].hvm
        if guest.type is not None and hvm is not None and hvm != (guest.type == "pvh"):
            is_type = "PVH or HVM" if hvm else "PV"
            raise TrialError(f"{guest.name} is to be {guest.type}, and Xen runs it as {is_type}; correct its `type`")
