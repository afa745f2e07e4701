"""From an experiment to its machines: dom0 and every guest connected, heard, and put together as the two ports."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, closing, contextmanager
from dataclasses import dataclass

from harness.clocks import wait_for
from harness.experiment.config import Experiment
from harness.experiment.signals import aging_s, traces_swap, window_s
from harness.experiment.site import Site
from harness.lab.held import Held
from harness.ports import Clock
from harness.xen.client import GuestClient
from harness.xen.clock import Dom0Clock
from harness.xen.events import Events, Reporter
from harness.xen.host import TIMEOUT_S, XenHost
from harness.xen.source import Terms, XenSource
from harness.xen.swap_trace import SwapTrace

KIB_PER_MIB = 1024
LAB_TIMEOUT_S = 300.0
"""Of the controller's time, for an answer of a dom0 that has time of its own: what it is asked takes some of that, and
a busy controller makes it long. That the lab is gone shows at once, by the end of the connection."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Connection:
    """The two ports, and the ears in the guests in the experiment's order."""

    host: XenHost
    source: XenSource
    clients: tuple[GuestClient, ...]
    silent: tuple[str, ...]
    """Guests that have said nothing within the time that they were given."""


def initial_kib(experiment: Experiment) -> dict[str, int]:
    """The initial split: the safe targets of every guest."""
    return {guest.name: guest.initial_mib * KIB_PER_MIB for guest in experiment.guests}


@contextmanager
def connected(
    experiment: Experiment, site: Site, events: Events, first_sample_s: float, clock: Clock
) -> Iterator[Connection]:
    """Connect to dom0 and the guests.

    Left, by whatever way, dom0 sets the safe targets if others were set: those of the last lease, or the initial split.
    `clock` is the site's; everybody goes by it.

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
    signals, report = experiment.signals, Reporter.around(events)
    clients = tuple(
        GuestClient(
            machine, period_s=experiment.period_s / 2, aging_s=aging_s(signals), events=report, clock=clock.now_s
        )
        for machine in site.guests
    )
    own = clock if isinstance(clock, Dom0Clock) else None
    host = XenHost(
        site.dom0, site.guests, safe_kib=initial_kib(experiment), events=report, clock=own,
        timeout_s=LAB_TIMEOUT_S if own else TIMEOUT_S,
    )  # fmt: skip
    with ExitStack() as stack:
        stack.callback(report.close)
        stack.enter_context(host)  # first, for the clock is its dom0's
        for client in clients:
            stack.enter_context(client)
        # Left first too: the safe targets are set without waiting for a guest that does not answer.
        stack.callback(host.close)
        with stepping(site, host):
            wait_for(clock, lambda: all(client.newest for client in clients), first_sample_s)
        silent = [client.name for client in clients if client.newest is None]
        source = XenSource(
            host,
            clients,
            terms,
            reserve_kib=experiment.reserve_mib * KIB_PER_MIB,
            pool_kib=experiment.pool_mib * KIB_PER_MIB,
            trace=SwapTrace(host, report) if traces_swap(signals) else None,
            window_s=window_s(signals),
            clock=clock.now_s,
        )
        yield Connection(host=host, source=source, clients=clients, silent=tuple(silent))


@contextmanager
def stepping(site: Site, host: XenHost) -> Iterator[None]:
    """Within this, time goes on in a lab with a clock of its own only while it is asked for; elsewhere as ever.

    Raises:
        HostError: the lab cannot be held.
        LabError: somebody else has hold of it.

    """
    if site.lab is None or not site.virtual:
        yield
        return
    with closing(Held(site.lab)) as held, host.stepping(held):
        yield
