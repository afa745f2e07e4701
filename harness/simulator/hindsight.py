"""What the oracle does at least as well: the best of an experiment's policies in a trial, found by trying them all."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

from harness.balancer import Tick, balance
from harness.experiment.config import Experiment
from harness.experiment.limits import limits_of
from harness.governor import Governor
from harness.policies import Policy, make
from harness.policies.guarded import PolicyFailedError, guarded
from harness.policies.oracle import LONGEST_S, Oracle
from harness.simulator.foresight import Foresight
from harness.simulator.host import SimulatedHost

HORIZONS = (1, 4, 16)
"""Of the oracle's own plans, over its `horizon_s`: near ones follow demand, far ones do not move what comes back."""
BOUNDS = ("oracle", "unconstrained")

Build = Callable[[Experiment], SimulatedHost]
"""Makes the host of a trial."""


def live(host: SimulatedHost, experiment: Experiment, policy: Policy, record: Callable[[Tick], None]) -> None:
    """Let a host live for a trial's time under a policy, with the loop of a real one.

    Raises:
        PolicyFailedError: the policy did.

    """
    for one in (policy, policy.follows if isinstance(policy, Oracle) else None):
        if isinstance(one, Oracle):
            one.knowledge = Foresight(host.members, experiment.duration_s)
    balance(
        host, host, guarded(policy), Governor(limits_of(experiment)), clock=host,
        period_s=experiment.period_s, record=record, go_on=lambda: host.time_s < experiment.duration_s - 1e-9,
    )  # fmt: skip


def best(oracle: Oracle, experiment: Experiment, build: Build) -> tuple[str, Policy]:
    """Return the policy that gets most done in this trial, fresh, and what it is called.

    Most done is the mean over guests of what each did over what it would have done unconstrained, as in reports.
    """
    done = {label: _done(experiment, build, policy) for label, policy in _candidates(oracle, experiment)}
    free = _done(experiment.at(policy="unconstrained"), build, make("unconstrained"))
    worth = {label: sum(map(_share, each, free)) for label, each in done.items()}
    winner = max(worth, key=lambda label: worth[label])
    return winner, dict(_candidates(oracle, experiment))[winner]


def _candidates(oracle: Oracle, experiment: Experiment) -> Iterator[tuple[str, Policy]]:
    """The oracle's own plans, and every policy of the experiment that is no bound itself."""
    for horizon_s in (min(oracle.params.horizon_s * times, LONGEST_S) for times in HORIZONS):
        yield f"own plan, {horizon_s:g} s ahead", make("oracle", {"horizon_s": horizon_s})
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
