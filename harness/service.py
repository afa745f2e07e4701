"""The arbiter alone on a live host: as a service without trials, with policies that may watch and not act."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from datetime import UTC, datetime
from typing import Any

import numpy as np

from harness.balancer import SystemClock, Tick, balance
from harness.experiment.config import Experiment
from harness.experiment.signals import aging_s, swap_trace, window_s
from harness.experiment.site import Site
from harness.governor import Governor, Limits, Plan
from harness.policies import Policy
from harness.ports import Host, Outcome, Source
from harness.records import Stamp, TrialKey, decision_record, tick_record
from harness.xen.client import Events, GuestClient
from harness.xen.host import XenHost
from harness.xen.source import Terms, XenSource

KIB_PER_MIB = 1024
FIRST_SAMPLE_S = 30.0
"""A guest that has said nothing by then is balanced from when it does."""
SETTLE_S = 60.0
"""For the guests to reach the initial split."""
NAP_S = 0.2
"""How long a request to stop may go unnoticed."""
NOT_SENT = "dry run: not sent"


def initial_kib(experiment: Experiment) -> dict[str, int]:
    """The initial split: the safe targets of every guest."""
    return {guest.name: guest.initial_mib * KIB_PER_MIB for guest in experiment.guests}


@contextmanager
def connected(experiment: Experiment, site: Site, events: Events) -> Iterator[tuple[XenHost, XenSource]]:
    """Connect to dom0 and the guests. Left, by whatever way, dom0 sets the initial split if other targets were set.

    Raises:
        ConnectionFailed: dom0 cannot be reached, or another controller is at work there.
        HostError: dom0 does not answer.

    """
    terms = {
        guest.name: Terms(
            min_kib=guest.min_mib * KIB_PER_MIB, max_kib=guest.max_mib * KIB_PER_MIB, shares=float(guest.shares)
        )
        for guest in experiment.guests
    }
    with ExitStack() as stack:
        signals = experiment.signals
        clients = [
            GuestClient(machine, period_s=experiment.period_s / 2, aging_s=aging_s(signals), events=events)
            for machine in site.guests
        ]
        for client in clients:
            stack.enter_context(client)
        # Entered last, left first: the safe targets are set without waiting for a guest that does not answer.
        host = stack.enter_context(XenHost(site.dom0, site.guests, safe_kib=initial_kib(experiment), events=events))
        deadline_s = time.monotonic() + FIRST_SAMPLE_S
        for client in clients:
            if not client.wait_for_sample(max(0.0, deadline_s - time.monotonic())):
                events("no_sample", client.name, f"none within {FIRST_SAMPLE_S:.0f} s; it is left out until it speaks")
        source = XenSource(
            host,
            clients,
            terms,
            reserve_kib=experiment.reserve_mib * KIB_PER_MIB,
            pool_kib=experiment.pool_mib * KIB_PER_MIB,
            trace=swap_trace(signals, host, events),
            window_s=window_s(signals),
        )
        yield host, source


class DryHost:
    """A host on which nothing is done."""

    def apply(self, plan: Plan) -> Outcome:
        """Set no target; that each has failed keeps the governor from waiting for it."""
        return Outcome(applied_kib={}, failed={step.guest: NOT_SENT for step in plan.steps})

    def renew_lease(self) -> None:
        """There is nothing to undo."""

    def restore(self, targets_kib: Mapping[str, int]) -> None:
        """There is nothing to restore."""


class StoppableClock(SystemClock):
    """Real time, in which sleep ends when `stopped()`."""

    def __init__(self, stopped: Callable[[], bool]) -> None:
        self._stopped = stopped

    def sleep_until(self, t_s: float) -> None:
        """Return at `t_s`, when it has passed, or soon after a stop."""
        while not self._stopped() and (left_s := t_s - self.now_s()) > 0:
            time.sleep(min(NAP_S, left_s))


Record = Callable[[Mapping[str, Any], Tick], None]


def serve(
    source: Source,
    host: Host,
    policy: Policy,
    *,
    shadows: Sequence[Policy] = (),
    limits: Limits,
    record: Record,
    stopped: Callable[[], bool],
) -> None:
    """Balance until `stopped()`. Every tick is recorded as in decisions.jsonl, with what the shadows want."""
    for shadow in shadows:
        shadow.reset()
    began = Stamp.now()
    key = TrialKey(
        run=f"balance-{datetime.now(UTC):%Y%m%dT%H%M%SZ}", block=1, order=1, policy=policy.name, label=policy.name
    )
    ticks = 0

    def note(tick: Tick) -> None:
        nonlocal ticks
        ticks += 1
        now = Stamp.now()
        when = {"tick": ticks, "utc": now.utc, "mono_s": now.mono_s, "trial_s": round(now.mono_s - began.mono_s, 3)}
        decision = decision_record(policy, tick.names, tick.allocation)
        line = tick_record(tick.view, decision, tick.plan, tick.outcome, tick.timing)
        record(key.columns() | when | line | {"shadow": shadow_decisions(shadows, tick)}, tick)

    balance(
        source, host, policy, Governor(limits), clock=StoppableClock(stopped), period_s=limits.period_s,
        record=note, go_on=lambda: not stopped(),
    )  # fmt: skip


def shadow_decisions(shadows: Sequence[Policy], tick: Tick) -> dict[str, Any]:
    """What the shadows want, from the view that the acting policy had; before any governor."""
    view = tick.view.select(np.isin(tick.view.names, tick.names))
    return {shadow.name: decision_record(shadow, view.names, shadow.decide(view)) for shadow in shadows}


def restore(experiment: Experiment, site: Site, events: Events) -> dict[str, float]:
    """Set the initial split and wait for it; returns what the guests have (MiB) that did not reach theirs in time.

    Raises:
        ConnectionFailed: dom0 cannot be reached, or another controller is at work there.
        HostError: a target could not be set.

    """
    wanted = initial_kib(experiment)
    xen_names = {machine.name: machine.xen_name for machine in site.guests}
    with XenHost(site.dom0, site.guests, safe_kib=wanted, events=events) as host:
        host.restore(wanted)
        deadline_s = time.monotonic() + SETTLE_S
        while True:
            domains = host.state().domains
            has = {name: domains[xen_names[name]].current_kib for name in wanted if xen_names[name] in domains}
            far = {name: kib / KIB_PER_MIB for name, kib in has.items() if abs(kib - wanted[name]) > KIB_PER_MIB}
            if not far or time.monotonic() > deadline_s:
                return far
            time.sleep(0.5)
