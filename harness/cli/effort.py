"""What an experiment takes in the lab, on hosts of one's own and in the simulator, and where it cannot run at all."""

from __future__ import annotations

from harness.experiment.config import Experiment
from harness.experiment.document import ConfigError
from harness.experiment.faults import FAULTS
from harness.experiment.needs import library_of
from harness.experiment.plan import plan
from harness.experiment.runner import OVERHEAD_S
from harness.lab.shape import MOST_GUESTS
from harness.policies import SIMULATED
from harness.simulator.runner import check_models

WALL_S_PER_LAB_S = 7.0
"""The most that was measured on two cores without KVM (docs/experiments.md, "Where and when": 1.0 to 7.0)."""
BUILD_S = 480.0
"""Image, boot and provisioning, the first time (README: three and a half to six minutes), and what comes afterwards."""
TICK_S = 0.0005
"""Of a processor, for one guest in one tick of the simulator. Measured, `e09-cache` and `e09-ten`: 0.14 to 0.49 ms."""
TRIED_TICK_S = 0.007
"""Likewise under a policy that tries what it decides before it decides it (decision 10): 4.2 to 6.9 ms."""
TRYING = frozenset({"oracle", "informed"})


def lab_most_s(experiment: Experiment) -> float:
    """How long it takes in the lab at most, by the clock on the wall, with the lab built first."""
    each_s = experiment.duration_s * WALL_S_PER_LAB_S + OVERHEAD_S
    return BUILD_S + _trials_in_lab(experiment) * each_s


def hosts_most_s(experiment: Experiment) -> float:
    """How long its trials take at most on a host whose time is ours."""
    return len(plan(experiment)) * (experiment.duration_s + OVERHEAD_S)


def simulator_s(experiment: Experiment) -> float:
    """About how long one processor simulates it."""
    ticks = experiment.duration_s / experiment.period_s
    guests = [len(level.guests) for level in experiment.levels()]
    repetitions = len(plan(experiment)) / len(experiment.policies) / len(guests)
    each_s = sum(TRIED_TICK_S if choice.name in TRYING else TICK_S for choice in experiment.policies)
    return repetitions * ticks * sum(guests) * each_s


def not_in_lab(experiment: Experiment) -> str:
    """Why no lab can run it; empty where one can."""
    if all(choice.name in SIMULATED for choice in experiment.policies):
        return "only the simulator has its policies"
    if kinds := sorted(_behaviours(experiment).difference(FAULTS)):
        return f"the lab cannot make guests {', '.join(kinds)}"
    counts = [len(part.envelope().guests) for part in experiment.parts().values()]
    if (count := max(counts)) > MOST_GUESTS:
        return f"it has {count} guests, and the lab has room for {MOST_GUESTS}"
    return ""


def not_on_hosts(experiment: Experiment) -> str:
    """Why hosts of one's own cannot run it; empty where they can, with guests of these names."""
    if all(choice.name in SIMULATED for choice in experiment.policies):
        return "only the simulator has its policies"
    return "nothing is done to the guests of hosts of one's own" if _behaviours(experiment) else ""


def not_simulated(experiment: Experiment) -> str:
    """Why the simulator cannot run it; empty where it can."""
    library = library_of(experiment)
    try:
        for level in experiment.levels():
            check_models(level, library)
    except ConfigError as error:
        return str(error)
    return ""


def length(seconds: float) -> str:
    """A time for people."""
    if seconds < 90:
        return f"{max(1, round(seconds))} s"
    return f"{seconds / 60:.0f} min" if seconds < 5400 else f"{seconds / 3600:.1f} h"


def _behaviours(experiment: Experiment) -> set[str]:
    guests = (guest for level in experiment.levels() for guest in level.guests)
    return {guest.behaviour.kind for guest in guests if guest.behaviour is not None}


def _trials_in_lab(experiment: Experiment) -> int:
    trials = plan(experiment, repeat_baseline=experiment.repeat_baseline)
    return sum(trial.policy.name not in SIMULATED for trial in trials)
