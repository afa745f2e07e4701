"""The order of the trials."""

from __future__ import annotations

from collections import Counter

from hypothesis import given
from hypothesis import strategies as st

from harness.experiment.config import Experiment
from harness.experiment.plan import plan

GUEST = {"name": "a", "workload": "idle", "min_mib": 160, "initial_mib": 200, "max_mib": 800}


def experiment(*, labels: int = 4, repetitions: int = 5, seed: int = 1) -> Experiment:
    policies = [{"name": "static", "label": f"p{number}"} for number in range(labels)]
    fields = {"name": "x", "pool_mib": 900, "guests": [GUEST], "duration_s": 30, "policies": policies}
    return Experiment.model_validate({**fields, "repetitions": repetitions, "seed": seed})


@given(st.integers(1, 6), st.integers(1, 6), st.integers(0, 10**9))
def test_every_block_holds_every_policy_once(labels: int, repetitions: int, seed: int) -> None:
    trials = plan(experiment(labels=labels, repetitions=repetitions, seed=seed))
    for block in range(1, repetitions + 1):
        members = [trial for trial in trials if trial.block == block]
        assert sorted(trial.policy.label for trial in members) == [f"p{number}" for number in range(labels)]
        assert [trial.order for trial in members] == list(range(1, labels + 1))


def test_the_same_seed_gives_the_same_order_everywhere() -> None:
    order = [trial.policy.label for trial in plan(experiment(repetitions=2, seed=7))]
    assert order == ["p0", "p2", "p3", "p1", "p2", "p1", "p3", "p0"], "recorded once; results depend on it"


def test_more_repetitions_leave_the_earlier_blocks_as_they_were() -> None:
    assert plan(experiment(repetitions=9))[:20] == plan(experiment(repetitions=5))


def test_trials_of_a_block_share_a_seed_that_no_other_block_has() -> None:
    seeds = {(trial.block, trial.seed) for trial in plan(experiment())}
    assert len(seeds) == len({seed for _, seed in seeds}) == 5


def test_over_many_blocks_every_policy_comes_first_about_equally_often() -> None:
    first = Counter(trial.policy.label for trial in plan(experiment(repetitions=2000)) if trial.order == 1)
    assert all(abs(count - 500) < 100 for count in first.values())  # five standard deviations


def test_a_block_is_one_level_in_one_repetition_and_levels_share_the_seed_of_their_repetition() -> None:
    sweep = {"name": "pool", "unit": "MiB", "levels": [{"at": 700, "pool_mib": 700}, {"at": 900}]}
    fields = experiment(repetitions=2).model_dump(by_alias=True)
    trials = plan(Experiment.model_validate(fields | {"sweep": sweep}))
    assert sorted({(trial.block, trial.level) for trial in trials}) == [(1, 0), (2, 1), (3, 0), (4, 1)]
    assert sorted({(trial.block, trial.seed) for trial in trials}) == [(1, 10001), (2, 10001), (3, 10002), (4, 10002)]
