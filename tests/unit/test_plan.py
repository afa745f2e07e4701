"""The order of the trials."""

from __future__ import annotations

from collections import Counter

from hypothesis import given
from hypothesis import strategies as st

from harness.experiment.config import Experiment
from harness.experiment.plan import plan, seeds

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


def with_static(**changes: object) -> Experiment:
    policies = [{"name": name, "label": name} for name in ("equal", "static", "two-state")]
    return Experiment.model_validate(
        experiment(repetitions=40).model_dump(by_alias=True) | {"policies": policies} | changes
    )


def test_a_repeated_baseline_runs_twice_in_every_block_with_the_same_seed() -> None:
    trials = plan(with_static(), repeat_baseline=True)
    for block in range(1, 41):
        members = {trial.policy.label: trial for trial in trials if trial.block == block}
        assert sorted(members) == ["equal", "static", "static (again)", "two-state"]
        assert sorted(trial.order for trial in members.values()) == [1, 2, 3, 4]
        one, two = members["static"], members["static (again)"]
        assert (one.policy.name, one.policy.params, one.seed) == (two.policy.name, two.policy.params, two.seed)


def test_chance_decides_where_the_second_trial_of_the_baseline_runs() -> None:
    trials = plan(with_static(repetitions=2000), repeat_baseline=True)
    places = Counter(trial.order for trial in trials if trial.policy.label == "static (again)")
    assert set(places) == {1, 2, 3, 4}
    assert all(abs(count - 500) < 100 for count in places.values())


def test_without_repeating_the_plan_is_as_it_was() -> None:
    assert plan(with_static(repeat_baseline=False)) == plan(with_static(repeat_baseline=True)) == plan(with_static())


def test_the_baseline_is_the_one_that_the_experiment_names_else_static_else_nothing_is_repeated() -> None:
    again = [trial.policy.label for trial in plan(with_static(baseline="equal"), True) if "again" in trial.policy.label]
    assert set(again) == {"equal (again)"}
    none = experiment(labels=2)
    assert none.compared_with() is None, "two policies are static, and neither is the baseline"
    assert plan(none, repeat_baseline=True) == plan(none)
    labelled = experiment(labels=1).compared_with()
    assert labelled is not None
    assert labelled.label == "p0", "the only one whose policy is static"


def test_a_repeated_baseline_runs_at_every_level() -> None:
    sweep = {"name": "pool", "levels": [{"at": 700, "pool_mib": 700}, {"at": 900}]}
    trials = plan(with_static(sweep=sweep, repetitions=1), repeat_baseline=True)
    assert [trial.level for trial in trials if trial.policy.label == "static (again)"] == [0, 1]


def test_a_run_is_known_by_the_labels_places_and_seeds_of_its_trials() -> None:
    trials = plan(with_static(repetitions=1), repeat_baseline=True)
    assert len(seeds(trials)) == 4
    assert set(seeds(trials).values()) == {10001}
    assert next(iter(seeds(trials))).startswith("1-1 ")
