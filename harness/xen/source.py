"""XenSource: the port through which the arbiter sees the real host."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from harness.view import Curve, FloatArray, HostView
from harness.xen.client import GuestClient
from harness.xen.domains import Domain
from harness.xen.facts import UNKNOWN, Rates, Sample, rates
from harness.xen.host import HostError, XenHost
from harness.xen.page_ages import WINDOW_S, histogram, touched_kib
from harness.xen.swap_trace import SwapTrace, swap_disk


@dataclass(frozen=True, slots=True, kw_only=True)
class Terms:
    """What a guest was promised."""

    min_kib: int
    max_kib: int
    shares: float = 1000.0


@dataclass(slots=True)
class _Heard:
    """What the last view was made from, so that the next one covers all that happened since."""

    sample: Sample | None = None
    rates: Rates | None = None
    disk: _Disk | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class _Disk:
    """What dom0 has seen of a guest's swap disk until a moment."""

    domid: int
    at_s: float
    read_kib: int
    written_kib: int

    def rates(self, before: _Disk | None) -> dict[str, float]:
        """KiB read and written per second since the look before."""
        if before is None or before.domid != self.domid or before.at_s >= self.at_s:
            return {}
        passed_s = self.at_s - before.at_s
        return {
            "swap_in_kib_s": (self.read_kib - before.read_kib) / passed_s,
            "swap_out_kib_s": (self.written_kib - before.written_kib) / passed_s,
        }


_FROM_SAMPLE = (
    "mem_total_kib",
    "mem_free_kib",
    "mem_available_kib",
    "buffers_kib",
    "cached_kib",
    "shmem_kib",
    "committed_kib",
    "swap_total_kib",
    "swap_free_kib",
    "reclaimable_slab_kib",
    "huge_pages_kib",
    "arc_kib",
    "arc_min_kib",
    "zram_kib",
    "zram_swapped_kib",
)
_FROM_RATES = tuple(Rates.__slots__)


class XenSource:
    """Puts together what Xen says and what the guests say; one guest per client, in their order.

    With `pool_kib` the guests share that and no more, however much Xen has: the view's host is fenced.
    With `trace` the view has ghost returns; where the guests tell the ages of their pages, those, and what was touched
    within `window_s`.
    """

    def __init__(
        self,
        host: XenHost,
        clients: Sequence[GuestClient],
        terms: Mapping[str, Terms],
        *,
        reserve_kib: float,
        pool_kib: float | None = None,
        trace: SwapTrace | None = None,
        window_s: float | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """Take a first look at the host.

        Raises:
            HostError: dom0 cannot be asked.

        """
        self._host, self._clients, self._terms = host, tuple(clients), terms
        self._reserve_kib = reserve_kib
        self._trace, self._window_s = trace, window_s or WINDOW_S
        self._fence_kib = math.inf if pool_kib is None else pool_kib + reserve_kib
        self._clock = clock
        self._state, self._state_at_s = host.state(), clock()
        self._heard = {client.name: _Heard() for client in clients}

    @property
    def domains(self) -> tuple[str, ...]:
        """Whom Xen had when it was last asked, but for dom0 and those about to go."""
        there = self._state.domains.items()
        return tuple(name for name, domain in there if domain.domid and not domain.dying)

    def balance(self, clients: Sequence[GuestClient], terms: Mapping[str, Terms]) -> None:
        """From now on the view has these guests; what was heard of those that stay is not forgotten."""
        self._clients, self._terms = tuple(clients), terms
        self._heard = {client.name: self._heard.get(client.name) or _Heard() for client in clients}

    def view(self) -> HostView:
        """The newest view. Rates cover the time since the view before.

        When dom0 does not answer, what it said last counts, and the view is as old as that: all guests are then soon
        stale, and nothing is sent.
        """
        returns: Mapping[str, Curve] = {}
        with suppress(HostError):
            self._state, self._state_at_s = self._host.state(), self._clock()
            returns = self._returns()
        now_s = self._clock()
        domains = [self._domain(client) for client in self._clients]
        said = [self._columns(client, domain) for client, domain in zip(self._clients, domains, strict=True)]
        columns: dict[str, Any] = {name: _column(of[name] for of in said) for name in (*_FROM_SAMPLE, *_FROM_RATES)}
        old = [client.newest.sample.page_ages if client.newest else None for client in self._clients]
        terms = [self._terms[client.name] for client in self._clients]
        current = _column(UNKNOWN if domain is None else domain.current_kib for domain in domains)
        ages = _column(client.age_s(now_s) for client in self._clients)
        free, promised = self._free_kib(float(np.nansum(current)))
        return HostView(
            time_s=now_s,
            total_kib=min(self._state.total_kib, self._fence_kib),
            free_kib=free,
            reserve_kib=self._reserve_kib,
            promised_kib=promised,
            xen_age_s=now_s - self._state_at_s,
            names=tuple(client.name for client in self._clients),
            current_kib=current,
            target_kib=_column(UNKNOWN if domain is None else _known(domain.target_kib) for domain in domains),
            limit_kib=_column(UNKNOWN if domain is None else _known(domain.max_kib) for domain in domains),
            min_kib=_column(term.min_kib for term in terms),
            max_kib=_column(_most(term, domain) for term, domain in zip(terms, domains, strict=True)),
            shares=_column(term.shares for term in terms),
            age_s=np.maximum(ages, now_s - self._state_at_s),
            paused=_column(UNKNOWN if domain is None else domain.paused for domain in domains),
            active_kib=_column(touched_kib(generations, self._window_s) for generations in old),
            page_ages=tuple(None if generations is None else histogram(generations) for generations in old),
            ghost_returns=tuple(returns.get(client.machine.xen_name) for client in self._clients),
            **columns,
        )

    def _domain(self, client: GuestClient) -> Domain | None:
        """What Xen says about a guest; None when it is not there, or about to go."""
        domain = self._state.domains.get(client.machine.xen_name)
        return None if domain is None or domain.dying else domain

    def _columns(self, client: GuestClient, domain: Domain | None) -> dict[str, float]:
        """What a guest says: its newest sizes, and its rates since the sample that the view before was made from.

        Where it has said nothing since, its swap traffic is what dom0 sees of its swap disk.
        """
        newest, heard = client.newest, self._heard[client.name]
        if newest is None:
            return dict.fromkeys((*_FROM_SAMPLE, *_FROM_RATES), UNKNOWN)
        disk, before_disk = self._swap_disk(newest.sample, domain), heard.disk
        heard.disk = disk
        seen = {} if disk is None or newest.sample is not heard.sample else disk.rates(before_disk)
        if newest.sample is not heard.sample:
            before = heard.sample or (client.previous.sample if client.previous else None)
            heard.rates = rates(before, newest.sample) if before else None
            heard.sample = newest.sample
        sizes = {name: getattr(newest.sample, name) for name in _FROM_SAMPLE}
        return sizes | (asdict(heard.rates) if heard.rates else dict.fromkeys(_FROM_RATES, UNKNOWN)) | seen

    def _swap_disk(self, sample: Sample, domain: Domain | None) -> _Disk | None:
        number = None if domain is None else swap_disk(sample, domain)
        if domain is None or number is None:
            return None
        read_kib, written_kib = domain.disks_kib[str(number)]
        return _Disk(domid=domain.domid, at_s=self._state_at_s, read_kib=read_kib, written_kib=written_kib)

    def _returns(self) -> Mapping[str, Curve]:
        """What came back to each traced guest since the view before, by its name in Xen."""
        if self._trace is None:
            return {}
        known = {
            client.machine.xen_name: (client.newest.sample, domain)
            for client in self._clients
            if client.newest and (domain := self._domain(client))
        }
        return self._trace.returns(known, self._state_at_s)

    def _free_kib(self, current_kib: float) -> tuple[float, float]:
        """What is free for the guests, and how much of that is promised to domains that are not in the view.

        What is promised to the guests of the view is not counted: their targets are being decided anew, and the
        governor, which sees the old ones, counts what of them is still under way.
        """
        xen_free = float(self._state.free_kib)
        free = min(xen_free, max(0.0, self._fence_kib - current_kib))
        balanced = {client.machine.xen_name for client in self._clients}
        others = [domain for name, domain in self._state.domains.items() if name not in balanced]
        living = [domain for domain in (*others, *self._state.others) if not domain.dying]
        promised = sum(max(0, (domain.target_kib or 0) - domain.current_kib) for domain in living)
        return free, max(0.0, promised - (xen_free - free))


def _most(terms: Terms, domain: Domain | None) -> float:
    """What was promised, but never more than the domain was created for."""
    created = domain.static_max_kib if domain else None
    return terms.max_kib if created is None else min(terms.max_kib, created)


def _known(figure: int | None) -> float:
    return UNKNOWN if figure is None else figure


def _column(values: Iterable[float]) -> FloatArray:
    return np.array([float(value) for value in values])
