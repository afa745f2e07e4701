"""Where theory predicts, a report says what it predicts beside what was measured, and whether the two agree."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from matplotlib.figure import Figure

from harness.experiment.files import load_experiment
from harness.experiment.sweep import Behaviour
from harness.governor import Limits
from harness.policies import make
from harness.simulator import runner
from harness.simulator.machine import load_machine
from reports import answers, language, words
from reports.document import Picture, Table
from reports.findings import Findings
from reports.special import KINDS, approach, lie, swap_loop, swap_weight, tax_memory
from reports.special.theory import Fate
from reports.special.verdict import Claim, Special
from reports.study import studies
from tests.unit.views import make_view


def simulated(name: str, out: Path, labels: Sequence[str], **changes: object) -> Findings:
    """An experiment of the project with some of its policies, once."""
    experiment = load_experiment(name)
    chosen = tuple(choice for choice in experiment.policies if choice.label in labels)
    one = experiment.model_copy(update={"policies": chosen, "repetitions": 1, **changes})
    folder = runner.simulate(one, out, load_machine(), runner.one_by_one, lambda *_: None).folder
    return Findings.of(studies([folder])[0])


def drawn(special: Special, name: str = "") -> Figure:
    """The first figure of a kind whose name begins so."""
    picture = next(block for block in special.blocks if isinstance(block, Picture) and block.name.startswith(name))
    figure = Figure()
    picture.draw(figure)
    return figure


def dashed(figure: Figure) -> int:
    """How many lines of theory a figure has."""
    return sum(line.get_linestyle() == "--" for axes in figure.axes for line in axes.get_lines())


LOOPS = ("weight 0.6 smoothing 0 s", "weight 10 smoothing 0 s", "weight 10 smoothing 60 s", "weight 10 smoothing 180 s",
         "weight 10 fixed point")  # fmt: skip


@pytest.fixture(name="loop", scope="module")
def _loop(tmp_path_factory: pytest.TempPathFactory) -> Findings:
    return simulated("e06-swap-weight", tmp_path_factory.mktemp("loop"), LOOPS)


def test_the_loop_from_recorded_views_settles_and_swings_as_it_does(loop: Findings) -> None:
    table = KINDS["swap-weight"](loop).frames["swap-weight"].set_index("label")
    told = {label: str(row["theory"]) for label, row in table.iterrows()}
    assert told == dict(zip(LOOPS, ("holds", "swings", "swings", "holds", "holds"), strict=True))
    assert table.loc[LOOPS[0], "theory_settled"] == pytest.approx(0.6578, abs=1e-4)
    assert table.loc[LOOPS[0], "theory_m"] == pytest.approx(0.171, abs=0.001)
    assert table.loc[LOOPS[2], "theory_a"] == pytest.approx(1 - np.exp(-1))
    settled = table[table["theory"] == Fate.HOLDS]
    np.testing.assert_allclose(settled["settled"], settled["theory_settled"], atol=0.01)


def test_what_swings_has_nowhere_that_it_settles(loop: Findings) -> None:
    special = KINDS["swap-weight"](loop)
    rows = next(block for block in special.blocks if isinstance(block, Table)).rows
    assert {row[0] for row in rows if row[7] == words.DASH} == {LOOPS[1], LOOPS[2]}
    swung = special.frames["swap-weight"].set_index("label").loc[LOOPS[1]].to_dict()
    assert swap_weight.reached(swung) == f"{swung['settled_low']:.4f} to {swung['settled_high']:.4f}"
    assert swap_weight.reached(swung | {"swing_pc": 0.5}) == f"{swung['settled']:.4f}"


def test_a_verdict_counts_where_theory_and_measurement_agree_and_names_where_not(loop: Findings) -> None:
    said = KINDS["swap-weight"](loop).reason
    assert "is under 5 of 5 policies as theory predicts it" in said
    assert "Not so under" not in said
    rows = swap_loop.recorded(loop)
    rows.loc[rows["label"] == LOOPS[0], "tax"] = 0.9  # the views say another loop than the one that ran
    table = swap_loop.overshoots(loop, rows)
    assert [row["label"] for row in table.to_dict("records") if not swap_loop.agrees(row)] == [LOOPS[0]]


def test_a_label_agrees_where_it_swings_as_it_should_or_settles_where_it_should() -> None:
    row = {"theory": "holds", "theory_settled": 0.65, "settled": 0.655, "swing_pc": 0.5}
    assert swap_loop.agrees(row)
    assert not swap_loop.agrees(row | {"settled": 0.67})
    assert not swap_loop.agrees(row | {"swing_pc": 2.0})
    assert not swap_loop.agrees(row | {"theory": "swings"})
    assert swap_loop.agrees(row | {"theory": "swings", "swing_pc": 2.0, "settled": 0.67})


def test_the_map_of_theory_is_drawn_for_what_is_not_smoothed_and_what_swings_is_framed(loop: Findings) -> None:
    figure = drawn(KINDS["swap-weight"](loop))
    assert dashed(figure) == 2
    assert sum(len(axes.patches) for axes in figure.axes) == 2


def test_where_views_lack_what_a_loop_is_made_of_nothing_is_predicted(loop: Findings) -> None:
    rows = swap_loop.recorded(loop).assign(active=np.nan)
    table = swap_loop.overshoots(loop, rows)
    assert set(table["theory"]) == {""}
    assert table["theory_settled"].isna().all()


def test_every_fate_has_a_word_in_every_language() -> None:
    assert set(Fate) <= set(language.catalogue("zh"))


TAXES = ("tax 0", "tax 0.5", "tax 1", "unconstrained")


@pytest.fixture(name="taxed", scope="module")
def _taxed(tmp_path_factory: pytest.TempPathFactory) -> Findings:
    return simulated("e05-tax", tmp_path_factory.mktemp("taxed"), TAXES)


def test_what_the_busy_guest_has_lies_on_the_line_of_theory(taxed: Findings) -> None:
    special = KINDS["knee"](taxed)
    memory = special.frames["tax-memory"]
    assert set(memory["guest"]) == {"busy"}
    assert list(memory["tax"]) == [0, 0.5, 1] * 3
    np.testing.assert_allclose(memory["median"], memory["theory"], rtol=0.03)
    np.testing.assert_allclose(memory[memory["tax"] == 0]["theory"], 1200 / 4)
    assert "What busy has lies within" in special.reason


def test_the_knee_of_theory_is_the_smallest_tax_whose_line_reaches_what_is_used_unconstrained(taxed: Findings) -> None:
    special = KINDS["knee"](taxed)
    assert special.frames["knee"]["theory_knee"].fillna(-1).tolist() == [0.5, 1, -1]
    assert "reaches all that it uses unconstrained: 0.5 at 300, 1 at 450 and none at 600." in special.reason
    memory = pd.DataFrame({"level": np.nan, "tax": [0, 0.5, 1], "theory": [1.0, 2, 3], "wanted": 1.5})
    assert tax_memory.knee_at(memory, np.nan) == 0.5
    assert np.isnan(tax_memory.knee_at(memory.assign(wanted=np.nan), np.nan))


def test_without_unconstrained_trials_the_line_is_drawn_and_no_knee_predicted(tmp_path: Path) -> None:
    special = KINDS["knee"](simulated("e05-tax", tmp_path, TAXES[:2]))
    assert special.frames["tax-memory"]["wanted"].isna().all()
    assert special.frames["knee"]["theory_knee"].isna().all()
    assert "unconstrained:" not in special.reason
    assert dashed(drawn(special, "knee-memory")) == 3


def test_who_has_most_to_gain_is_who_uses_most_beyond_its_part_by_shares() -> None:
    trials = pd.DataFrame({
        "place": "r/1", "label": "x", "guest": ["a", "b"], "used_kib": [500.0, 400.0], "shares": [3000.0, 1000.0],
    })  # fmt: skip
    assert tax_memory.most_to_gain(trials) == "b"
    assert tax_memory.most_to_gain(trials[:0]) is None


@pytest.fixture(name="lying", scope="module")
def _lying(tmp_path_factory: pytest.TempPathFactory) -> Findings:
    return simulated("e05-lie", tmp_path_factory.mktemp("lying"), ("tax 0", "tax 0.75"), repetitions=6)


def test_a_lie_pays_the_tax_less_the_liars_own_part_and_no_more_than_bounds_allow(lying: Findings) -> None:
    special = KINDS["lie"](lying)
    table = special.frames["lie"].set_index(["tax", "level"])
    assert set(table["guest"]) == {"liar"}
    np.testing.assert_allclose(table["theory"], table.index.get_level_values("tax") * table["claimed"] / 2)
    np.testing.assert_allclose(table["median"], table["within_bounds"], atol=1)
    assert table.loc[(0.75, 2), "median"] == pytest.approx(table.loc[(0.75, 2), "theory"], abs=1)
    assert table.loc[(0.75, 3), "theory"] - table.loc[(0.75, 3), "median"] > 5, "its maximum is 272 MiB"
    assert special.claim is Claim.SUPPORTED
    assert "0.375 MiB at a tax of 0.75 (theory: 0.375)" in special.reason
    assert "Bounds cut off what theory gives for a lie of 98 MiB at a tax of 0.75 (from 36.6 to 31.0 MiB)." in (
        special.reason
    )
    assert dashed(drawn(special)) == 2 + 1, "a line a tax, and that of the legend"


def test_gains_are_judged_by_whole_intervals_of_enough_blocks(lying: Findings) -> None:
    table = KINDS["lie"](lying).frames["lie"]
    assert lie.holds(table) is True
    assert lie.holds(table.assign(low=table["low"] + 20, high=table["high"] + 20)) is False
    assert lie.holds(table.assign(high=table["high"] + 20)) is None
    assert lie.holds(table.assign(n=2)) is None


def test_a_lie_whose_factor_is_not_said_is_twice_the_truth_as_the_experiment_has_it(lying: Findings) -> None:
    """What is the default is not in the manifest."""
    assert Behaviour(kind="lying").factor == lie.USUAL
    assert lie.liar_of(lying.study) == ("liar", {1: 1, 1.5: 1.5, 2: 2, 3: 3})


def test_room_for_what_a_guest_grows_by_in_a_period_is_all_that_adjustment_lacks(tmp_path: Path) -> None:
    repaired, *enough = "two-state repaired", "two-state with headroom", "self-balloon with headroom"
    found = simulated("e03-headroom", tmp_path, ("static", repaired, *enough))
    reached = found.guests.query("guest == 'grows' and headline").set_index("label")["speedup"]
    assert reached[repaired] < 0.96
    assert all(reached[label] > 0.995 for label in enough)


@pytest.fixture(name="giving", scope="module")
def _giving(tmp_path_factory: pytest.TempPathFactory) -> Findings:
    labels = ("static", "self-balloon repaired", "two-state repaired")
    return simulated("e03-ample", tmp_path_factory.mktemp("giving"), labels)


def test_a_giver_goes_a_tenth_of_what_is_left_until_that_is_less_than_the_smallest_step(giving: Findings) -> None:
    special = KINDS["approach"](giving)
    table = special.frames["approach"]
    assert table["label"].unique().tolist() == ["self-balloon repaired", "two-state repaired"]
    assert set(table["guest"]) == {"steady", "claims"}, "the goal of the third moves"
    assert (table["ticks"] == 29).all()
    assert (table["far"] <= table["near"]).all()
    ways = approach.ways_of(giving.study)
    early = ways[ways["tick"] == 10].set_index(["label", "guest"])
    way = table.set_index(["label", "guest"])
    left = (early["has"] - early["goal"]) / way["way"]
    np.testing.assert_allclose(left, 0.9**10, atol=0.01)
    assert dashed(drawn(special)) == 2
    assert special.claim is Claim.OPEN, "one block is no result"


def test_where_a_claim_says_by_what_it_is_judged_the_figure_is_drawn_and_gives_no_verdict(giving: Findings) -> None:
    special = KINDS["approach"](giving)
    told = list(answers.verdicts(giving, [special]))
    assert special.verdict not in told
    assert len(told) == 1


def test_a_way_is_as_long_as_its_goal_stands_and_memory_is_ample() -> None:
    down = [(400 * 0.9**k + 100, 100.0) for k in range(8)]
    (whole,) = approach._stretches(down)
    assert whole == down
    assert list(approach._stretches([*down[:4], (300.0, 150.0)])) == [], "too short to tell"
    moved = [*down, (200.0, 150.0)] + [(190.0, 150.0)] * 5
    assert [len(stretch) for stretch in approach._stretches(moved)] == [8, 6]
    scarce = [*down[:6], (200.0, np.nan), *down[6:]]
    assert [len(stretch) for stretch in approach._stretches(scarce)] == [6]


def test_the_goal_is_read_from_the_decision_as_the_policy_says_it() -> None:
    view = make_view([400], hi=2048, committed_kib=np.array([250.0 * 1024]))
    (reason,) = make("self-balloon").decide(view).reasons
    said = approach.GOAL.search(str(reason))
    assert said is not None
    assert float(said[1]) == 360


def test_the_smallest_step_is_the_governors() -> None:
    assert Limits().dead_band_share == approach.STEP_SHARE
    assert Limits().dead_band_kib == approach.STEP_MIB * 1024
