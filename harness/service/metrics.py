"""What the running service is, for Prometheus: the newest tick, and what has happened since it began.

Names and units are as Prometheus wants them: base units (bytes, seconds), ratios from 0 to 1, counters that end in
`_total`. A figure that is not known is left out; a guest that is gone is gone at the next scrape.
"""

from __future__ import annotations

import math
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager

from prometheus_client import CollectorRegistry, start_http_server
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily
from prometheus_client.metrics_core import Metric
from prometheus_client.registry import Collector

from harness.balancer import Tick

KIB = 1024
GUEST_SIZES: Mapping[str, tuple[str, str]] = {
    "current_kib": ("current", "What Xen gives the guest"),
    "min_kib": ("minimum", "The least that it may be given"),
    "max_kib": ("maximum", "The most that it may be given"),
    "mem_available_kib": ("available", "What the guest could use without swapping, as its kernel says"),
    "committed_kib": ("committed", "What its processes have been promised (Committed_AS)"),
    "plain_used_kib": ("used", "MemTotal - MemFree - Buffers - Cached"),
    "used_kib": ("held", "That without reclaimable slab and what the cache of ZFS has above its least"),
    "reclaimable_slab_kib": ("reclaimable_slab", "What its kernel keeps of files' names and the like (SReclaimable)"),
    "huge_pages_kib": ("huge_pages", "What is set aside for huge pages"),
    "arc_kib": ("arc", "The cache of ZFS"),
    "zram_kib": ("zram", "What zram takes for what was swapped to it"),
    "swap_used_kib": ("swap_used", "What it has in swap"),
}
"""Column of the view → the middle of the metric's name, and what it is."""
GUEST_RATES: Mapping[str, tuple[str, str]] = {
    "swap_in_kib_s": ("swap_in", "What it reads from swap in a second"),
    "swap_out_kib_s": ("swap_out", "What it writes to swap in a second"),
}
HOST_SIZES: Mapping[str, str] = {
    "free_kib": "What Xen has free",
    "reserve_kib": "What Xen keeps free",
    "promised_kib": "What is promised to domains that are not balanced, and kept for newcomers",
    "pool_kib": "What the balanced guests share",
}


class Metrics(Collector):
    """Take `note` for every tick and `event` for every event; any thread may collect."""

    def __init__(self, policy: str) -> None:
        self._policy = policy
        self._tick: Tick | None = None
        self._at_s = math.nan
        self._count: Counter[str] = Counter()
        self._events: Counter[str] = Counter()
        self._busy_s: defaultdict[str, float] = defaultdict(float)

    def note(self, tick: Tick, at_s: float) -> None:
        """A tick has ended, at this moment of Unix time."""
        self._count["ticks"] += 1
        self._count["targets"] += len(tick.outcome.applied_kib)
        self._count["failures"] += len(tick.outcome.failed)
        for phase, seconds in tick.timing.items():
            self._busy_s[phase.removesuffix("_s")] += seconds
        self._tick, self._at_s = tick, at_s

    def event(self, name: str, guest: str, detail: str) -> None:
        """Something happened; of what a guest is called or says, nothing becomes a label."""
        self._events[name] += 1

    def collect(self) -> Iterator[Metric]:
        """All metrics, now."""
        yield from self._counters()
        if (tick := self._tick) is None:
            return
        yield _gauge("ballast_last_tick_timestamp_seconds", "When the newest tick ended", (), [((), self._at_s)])
        acting = [((self._policy, tick.allocation.state or ""), 1.0)]
        yield _gauge("ballast_policy_info", "Who decides, and its state", ("policy", "state"), acting)
        for field, text in HOST_SIZES.items():
            name = f"ballast_host_{field.removesuffix('_kib')}_bytes"
            yield _gauge(name, text, (), [((), getattr(tick.view, field) * KIB)])
        yield from _guests(tick)

    def _counters(self) -> Iterator[Metric]:
        for key, text in (
            ("ticks", "Ticks since the service began"),
            ("targets", "Targets that were set"),
            ("failures", "Targets and caps that could not be set"),
        ):
            yield _counter(f"ballast_{key}", text, (), [((), self._count[key])])
        busy = [((phase,), seconds) for phase, seconds in self._busy_s.items()]
        yield _counter("ballast_busy_seconds", "What the arbiter itself took, by phase of the tick", ("phase",), busy)
        events = [((name,), number) for name, number in self._events.items()]
        yield _counter("ballast_events", "Events, by kind", ("event",), events)


def _guests(tick: Tick) -> Iterator[Metric]:
    view = tick.view

    def column(name: str, text: str, figures: Iterable[float], scale: float = 1.0) -> Metric:
        rows = [((guest,), figure * scale) for guest, figure in zip(view.names, figures, strict=True)]
        return _gauge(f"ballast_guest_{name}", text, ("guest",), rows)

    for field, (name, text) in GUEST_SIZES.items():
        yield column(f"{name}_bytes", text, getattr(view, field).tolist(), KIB)
    for field, (name, text) in GUEST_RATES.items():
        yield column(f"{name}_bytes_per_second", text, getattr(view, field).tolist(), KIB)
    yield column("stall_ratio", "Share of the time that some task waited for memory", view.stall_some.tolist())
    yield column("sample_age_seconds", "How long ago it said what is shown here", view.age_s.tolist())
    yield column("balanced", "1: it takes part; 0: it is left out", [float(name in tick.names) for name in view.names])
    sent = {step.guest: float(step.target_kib) for step in tick.plan.steps}
    targets = [sent.get(name, math.nan) for name in view.names]
    yield column("sent_target_bytes", "The target that this tick sent, if it sent one", targets, KIB)


Rows = Iterable[tuple[tuple[str, ...], float]]


def _gauge(name: str, text: str, labels: tuple[str, ...], rows: Rows) -> Metric:
    family = GaugeMetricFamily(name, text, labels=labels)
    for values, figure in rows:
        if not math.isnan(figure):
            family.add_metric(values, figure)
    return family


def _counter(name: str, text: str, labels: tuple[str, ...], rows: Rows) -> Metric:
    family = CounterMetricFamily(name, text, labels=labels)
    for values, figure in rows:
        family.add_metric(values, figure)
    return family


@contextmanager
def served(metrics: Metrics, address: str, port: int) -> Iterator[int]:
    """Serve them at http://ADDRESS:PORT/metrics; gives the port, which is another where 0 was asked for.

    Raises:
        OSError: that address or port cannot be had.

    """
    registry = CollectorRegistry()
    registry.register(metrics)
    server, thread = start_http_server(port, addr=address, registry=registry)
    try:
        yield server.server_port
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
