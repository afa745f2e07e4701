"""The arbiter alone on a live host: as a service without trials, with policies that may watch and not act."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from datetime import UTC, datetime
from types import MappingProxyType
from typing import Any

from harness.balancer import Tick, balance
from harness.clocks import SystemClock, wait_for
from harness.experiment import connection
from harness.experiment.config import Experiment
from harness.experiment.connection import KIB_PER_MIB, initial_kib
from harness.experiment.settling import Settling, guests_of
from harness.experiment.site import Site
from harness.governor import Governor, Limits, Plan, Trust
from harness.policies import Policy
from harness.ports import Clock, Host, Outcome, Source
from harness.records import Stamp, TrialKey, decision_record, tick_record
from harness.service.fallback import Hold, Steadfast
from harness.service.safe import safe_kib
from harness.service.shadows import Shadows
from harness.xen.events import Events, no_events
from harness.xen.host import XenHost
from harness.xen.source import XenSource

FIRST_SAMPLE_S = 30.0
"""A guest that has said nothing by then is balanced from when it does."""
SETTLE_S = 60.0
"""For the guests to reach the initial split."""
TAKE_MIB_S = 16.0
"""The most that is taken from a guest in a second, unless said otherwise. In the two periods until it is seen how a
guest fares that is then no more than its margin, from 1.3 GiB on; and should all of it have to be written to swap, a
sixth of what an ordinary disk can (`disk_mib_s` of the simulator). A GiB in a minute is fast enough to follow a day."""
MARGIN_PERCENT = 5.0
"""Of what a guest has, available in it: what the lab's guests of 350 MiB keep with their 16 MiB."""
MARGIN_MIB = Limits().margin_kib / KIB_PER_MIB
NAP_S = 0.2
"""How long a request to stop may go unnoticed."""
NOT_SENT = "dry run: not sent"


@contextmanager
def connected(experiment: Experiment, site: Site, events: Events, clock: Clock) -> Iterator[tuple[XenHost, XenSource]]:
    """The two ports of a live host, as for a trial; but a guest that says nothing holds nobody up."""
    with connection.connected(experiment, site, events, FIRST_SAMPLE_S, clock) as made:
        for guest in made.silent:
            events("no_sample", guest, f"none within {FIRST_SAMPLE_S:.0f} s; it is left out until it speaks")
        yield made.host, made.source


class DryHost:
    """A host on which nothing is done."""

    def apply(self, plan: Plan) -> Outcome:
        """Set no target and no cap; that each has failed keeps the governor from waiting for it."""
        return Outcome(
            applied_kib={}, failed=dict.fromkeys([*(step.guest for step in plan.steps), *plan.caps_kib], NOT_SENT)
        )

    def renew_lease(self, safe_kib: Mapping[str, int] | None = None) -> None:
        """There is nothing to undo."""

    def restore(self, targets_kib: Mapping[str, int]) -> None:
        """There is nothing to restore."""


def nothing() -> None:
    """For those who have nothing to do between two ticks."""


class StoppableClock:
    """The time of another clock, in which sleep ends when `stopped()`, and meanwhile there is an eye on something."""

    def __init__(self, clock: Clock, stopped: Callable[[], bool], attend: Callable[[], None] = nothing) -> None:
        self._clock, self._stopped, self._attend = clock, stopped, attend

    def now_s(self) -> float:
        """As the other clock has it."""
        return self._clock.now_s()

    def sleep_until(self, t_s: float) -> None:
        """Return at `t_s`, when it has passed, or soon after a stop."""
        self._attend()
        while not self._stopped() and (now_s := self.now_s()) < t_s:
            self._clock.sleep_until(min(t_s, now_s + NAP_S))
            self._attend()


Record = Callable[[Mapping[str, Any], Tick], None]
Seen = Callable[[Tick, Policy, Governor], None]
"""Takes every tick, who decided, and the governor."""
Keep = Callable[[Mapping[str, Trust], bool], None]
"""Takes what is known of how guests follow, after every tick; true at the end."""


def serve(
    source: Source,
    host: Host,
    policy: Policy,
    *,
    shadows: Mapping[str, Policy] = MappingProxyType({}),
    limits: Limits,
    clock: Clock,
    record: Record,
    stopped: Callable[[], bool],
    events: Events = no_events,
    trust: Mapping[str, Trust] | None = None,
    keep: Keep = lambda *_: None,
    fallback: Policy | None = None,
    initial_kib: Mapping[str, int] = MappingProxyType({}),
    attend: Callable[[], None] = nothing,
    seen: Seen = lambda *_: None,
) -> None:
    """Balance until `stopped()`. Every tick is recorded as in decisions.jsonl, with what the shadows want.

    `trust` is what was known before of how guests follow, `keep` is told what is known now. `fallback` decides while
    the policy cannot; None: everybody keeps what he has then. Whatever ends this, the guests keep what they have, or
    get what they use (`safe_kib`); one that is away then is to have what `initial_kib` says.
    `attend` is called several times a second between two ticks.
    """
    governor, deciding = Governor(limits, trust), Steadfast(policy, fallback or Hold(), events)
    watching = Shadows(shadows, events)
    began = Stamp.at(clock.now_s())
    key = TrialKey(
        run=f"balance-{datetime.now(UTC):%Y%m%dT%H%M%SZ}", block=1, order=1, policy=policy.name, label=policy.name
    )
    ticks = 0

    def note(tick: Tick) -> None:
        nonlocal ticks
        ticks += 1
        now = Stamp.at(clock.now_s())
        when = {"tick": ticks, "utc": now.utc, "mono_s": now.mono_s, "trial_s": round(now.mono_s - began.mono_s, 3)}
        decision = decision_record(deciding.decided, tick.names, tick.allocation)
        line = tick_record(tick.view, decision, tick.plan, tick.outcome, tick.timing)
        record(key.columns() | when | line | {"shadow": watching.decisions(tick)}, tick)
        keep(governor.trust(), False)
        seen(tick, deciding.decided, governor)

    try:
        balance(
            source, host, deciding, governor, clock=StoppableClock(clock, stopped, attend), period_s=limits.period_s,
            record=note, go_on=lambda: not stopped(), safe=lambda view: safe_kib(view, limits, initial_kib),
        )  # fmt: skip
    finally:
        keep(governor.trust(), True)


def restore(experiment: Experiment, site: Site, events: Events) -> dict[str, float]:
    """Set the initial split and wait for it; returns what the guests have (MiB) that did not reach theirs in time.

    Raises:
        ConnectionFailed: dom0 cannot be reached, or another controller is at work there.
        HostError: a target could not be set.

    """
    wanted = initial_kib(experiment)
    with XenHost(site.dom0, site.guests, safe_kib=wanted, events=events) as host:
        host.restore(wanted)
        settling = Settling(wanted)

        def far() -> dict[str, float]:
            return settling.far(SystemClock().now_s(), guests_of(host, site))

        there = wait_for(SystemClock(), lambda: not far(), SETTLE_S)
        return {} if there else {name: kib / KIB_PER_MIB for name, kib in far().items()}
