"""What a bound does at least as well: the best of an experiment's policies in a trial, found by trying them all.

The oracle's own plans know the future; those of `informed` do not, and neither do the policies that it may follow. Only
which of them is followed is known from the whole trial.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence

from harness.balancer import Tick, balance
from harness.experiment.config import Experiment
from harness.experiment.limits import limits_of
from harness.governor import Governor
from harness.policies import Policy, make
from harness.policies.guarded import PolicyFailedError, guarded
from harness.policies.informed import Informed
from harness.policies.oracle import LONGEST_S, Oracle
from harness.simulator.foresight import Foresight
from harness.simulator.host import SimulatedHost

HORIZONS = (1, 4, 16)
"""Of the oracle's own plans, over its `horizon_s`: near ones follow demand, far ones do not move what comes back."""
PRESENT_HORIZONS = (0.5, 1, 2)
"""Of those of `informed`: how far the present may be drawn on."""
BOUNDS = ("oracle", "informed", "unconstrained")
LEAST = 1e-3
"""A guest that got nothing done counts as this much: a product must not forget all others."""
Bound = Oracle | Informed

Build = Callable[[Experiment], SimulatedHost]
"""Makes the host of a trial."""


def live(host: SimulatedHost, experiment: Experiment, policy: Policy, record: Callable[[Tick], None]) -> None:
    """Let a host live for a trial's time under a policy, with the loop of a real one.

    Raises:
        PolicyFailedError: the policy did.

    """
    for one in (policy, policy.follows if isinstance(policy, Bound) else None):
        if isinstance(one, Bound):
            one.knowledge = Foresight(host.members, experiment.duration_s, host.now_s)
    balance(
        host, host, guarded(policy), Governor(limits_of(experiment)), clock=host,
        period_s=experiment.period_s, record=record, go_on=lambda: host.time_s < experiment.duration_s - 1e-9,
    )  # fmt: skip


def best(bound: Bound, experiment: Experiment, build: Build) -> tuple[str, Policy]:
    """Return the policy that gets most done in this trial, fresh, and what it is called.

    Most done is, over the guests, of what each did over what it would have done unconstrained, the mean for the oracle
    and the geometric mean for `informed`: each by what it maximises.
    """
    done = {label: _done(experiment, build, policy) for label, policy in _candidates(bound, experiment)}
    free = _done(experiment.at(policy="unconstrained"), build, make("unconstrained"))
    counts = (lambda share: share) if isinstance(bound, Oracle) else (lambda share: math.log(max(share, LEAST)))
    worth = {label: sum(map(counts, map(_share, each, free))) for label, each in done.items()}
    winner = max(worth, key=lambda label: worth[label])
    return winner, dict(_candidates(bound, experiment))[winner]


def _candidates(bound: Bound, experiment: Experiment) -> Iterator[tuple[str, Policy]]:
    """The bound's own plans, and every policy of the experiment that is no bound itself."""
    for times in HORIZONS if isinstance(bound, Oracle) else PRESENT_HORIZONS:
        horizon_s = min(bound.params.horizon_s * times, LONGEST_S)
        yield f"own plan, {horizon_s:g} s ahead", make(bound.name, {"horizon_s": horizon_s})
    for choice in experiment.policies:
        if choice.name not in BOUNDS:
            yield f"as {choice.label}", choice.make()


def _done(experiment: Experiment, build: Build, policy: Policy) -> Sequence[float]:
    """Operations of each guest; none by one whose work was killed, and none at all under a policy that fails."""
    host = build(experiment)
    try:
        live(host, experiment, policy, lambda _: None)
    except PolicyFailedError:  # its own trial says so
        return [0.0] * len(host.members)
    return [0.0 if member.guest.oom_kills else member.guest.ops for member in host.members]


def _share(done: float, free: float) -> float:
    return done / free if free > 0 else 0.0
