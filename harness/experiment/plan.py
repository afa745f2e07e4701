"""The order of the trials: randomised complete blocks.

Each block holds every policy once, so that whatever drifts over the hours of an experiment (a warming host, a filling
disk) hits all policies alike, and results are compared within a block. Within a block chance decides the order, so that
no policy always follows the same one (R. A. Fisher, The Design of Experiments, 1935).

Where the baseline is repeated, each block holds it twice, with the same seed and at a place that chance decides: the
A/A test, which shows how much a policy differs from itself, and so what is no difference between policies.
"""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass

from harness.experiment.config import Experiment, PolicyChoice
from harness.records import again


@dataclass(frozen=True, slots=True, kw_only=True)
class Trial:
    """One policy in one block; `block` and `order` count from 1."""

    block: int
    order: int
    policy: PolicyChoice
    seed: int
    """For the workloads: the same for all trials of a repetition, so that they do the same work."""
    level: int | None = None
    """Which level of the sweep, from 0; None where nothing is varied."""


def plan(experiment: Experiment, repeat_baseline: bool = False) -> tuple[Trial, ...]:
    """Return all trials of an experiment in the order in which they run; a block is one level in one repetition.

    Where it repeats until intervals are narrow enough, these are all that there can be.
    With `repeat_baseline` the baseline, where the experiment has one, runs a second time in every block.
    """
    members = (*experiment.policies, *(_repeated(experiment) if repeat_baseline else ()))
    levels = (None,) if experiment.sweep is None else range(len(experiment.sweep.levels))
    blocks = ((repetition, level) for repetition in range(1, experiment.most_repetitions + 1) for level in levels)
    return tuple(
        Trial(block=block, order=order, policy=policy, seed=experiment.seed * 10_000 + repetition, level=level)
        for block, (repetition, level) in enumerate(blocks, start=1)
        for order, policy in enumerate(shuffled(members, experiment.seed, block), start=1)
    )


def seeds(trials: Sequence[Trial]) -> dict[str, int]:
    """Return trial → seed, as the manifest has it; a run is gone on with only by the plan that it was begun with."""
    return {f"{trial.block}-{trial.order} {trial.policy.label}": trial.seed for trial in trials}


def _repeated(experiment: Experiment) -> tuple[PolicyChoice, ...]:
    chosen = experiment.compared_with()
    return () if chosen is None else (chosen.model_copy(update={"label": again(chosen.label)}),)


def shuffled(policies: Sequence[PolicyChoice], seed: int, block: int) -> list[PolicyChoice]:
    """Return a block's order. Seed and block alone decide it, so more repetitions leave earlier blocks as they are."""
    # A text as the seed is hashed with SHA-512, which is the same on every machine and version of Python.
    return random.Random(f"{seed}/{block}").sample(policies, len(policies))
