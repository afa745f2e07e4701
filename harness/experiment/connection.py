"""From an experiment to its machines: dom0 and every guest connected, heard, and put together as the two ports."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass

from harness.experiment.config import Experiment
from harness.experiment.signals import aging_s, traces_swap, window_s
from harness.experiment.site import Site
from harness.xen.client import Events, GuestClient
from harness.xen.host import XenHost
from harness.xen.source import Terms, XenSource
from harness.xen.swap_trace import SwapTrace

KIB_PER_MIB = 1024


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
def connected(experiment: Experiment, site: Site, events: Events, first_sample_s: float) -> Iterator[Connection]:
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
    signals = experiment.signals
    clients = tuple(
        GuestClient(machine, period_s=experiment.period_s / 2, aging_s=aging_s(signals), events=events)
        for machine in site.guests
    )
    with ExitStack() as stack:
        for client in clients:
            stack.enter_context(client)
        # Entered last, left first: the safe targets are set without waiting for a guest that does not answer.
        host = stack.enter_context(XenHost(site.dom0, site.guests, safe_kib=initial_kib(experiment), events=events))
        deadline_s = time.monotonic() + first_sample_s
        silent = [
            client.name for client in clients if not client.wait_for_sample(max(0.0, deadline_s - time.monotonic()))
        ]
        source = XenSource(
            host,
            clients,
            terms,
            reserve_kib=experiment.reserve_mib * KIB_PER_MIB,
            pool_kib=experiment.pool_mib * KIB_PER_MIB,
            trace=SwapTrace(host, events) if traces_swap(signals) else None,
            window_s=window_s(signals),
        )
        yield Connection(host=host, source=source, clients=clients, silent=tuple(silent))
