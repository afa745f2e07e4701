"""The arbiter: one tick, read top to bottom, and the loop that repeats it.

    samples → HostView → policy.decide → Allocation → governor.plan → Plan → host.apply → Outcome

It does not know whether the host is real, simulated or replayed, nor what a second is: that is the clock's.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from harness.governor import Governor, Plan
from harness.policies import Allocation, Policy
from harness.ports import Clock, Host, Outcome, Source
from harness.view import HostView


@dataclass(frozen=True, slots=True, kw_only=True)
class Tick:
    """One tick with everything that went through it."""

    view: HostView
    names: tuple[str, ...]
    """The guests that took part; the allocation is for them, in this order."""
    allocation: Allocation
    plan: Plan
    outcome: Outcome
    timing: Mapping[str, float]
    """Seconds of the machine that the arbiter runs on: `collect_s`, `decide_s`, `apply_s`."""


Safe = Callable[[HostView], Mapping[str, int]]
"""From a view to the safe targets (guest → KiB) that dom0 is to set if this is the last word of the arbiter."""


def tick(source: Source, host: Host, policy: Policy, governor: Governor, safe: Safe | None = None) -> Tick:
    """See, decide, make safe, carry out. Without `safe` the safe targets stay what they are."""
    started = time.perf_counter()
    view = source.view()
    seen = time.perf_counter()
    fresh = governor.fresh(view)
    allocation = policy.decide(fresh)
    plan = governor.plan(view, allocation)
    decided = time.perf_counter()
    if safe is None:
        host.renew_lease()
    else:
        host.renew_lease(safe(view))
    outcome = host.apply(plan)
    governor.failed(outcome.failed)
    applied = time.perf_counter()
    return Tick(
        view=view,
        names=fresh.names,
        allocation=allocation,
        plan=plan,
        outcome=outcome,
        timing={"collect_s": seen - started, "decide_s": decided - seen, "apply_s": applied - decided},
    )


def balance(
    source: Source,
    host: Host,
    policy: Policy,
    governor: Governor,
    *,
    clock: Clock,
    period_s: float,
    record: Callable[[Tick], None],
    go_on: Callable[[], bool],
    safe: Safe | None = None,
) -> None:
    """Tick every `period_s` while `go_on()`; ticks that were missed are left out, not made up for."""
    policy.reset()
    governor.reset()
    next_s = clock.now_s()
    while go_on():
        record(tick(source, host, policy, governor, safe))
        now_s = clock.now_s()
        next_s += period_s
        if next_s < now_s:
            next_s = now_s
        clock.sleep_until(next_s)
