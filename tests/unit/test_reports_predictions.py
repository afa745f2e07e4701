"""Where theory predicts, a report says what it predicts beside what was measured, and whether the two agree."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
from matplotlib.figure import Figure

from harness.experiment.files import load_experiment
from harness.simulator import runner
from harness.simulator.machine import load_machine
from reports import language
from reports.document import Picture
from reports.findings import Findings
from reports.special import KINDS, swap_loop
from reports.special.theory import Fate
from reports.special.verdict import Special
from reports.study import studies


def simulated(name: str, out: Path, labels: Sequence[str], **changes: object) -> Findings:
    """An experiment of the project with some of its policies, once."""
    experiment = load_experiment(name)
    chosen = tuple(choice for choice in experiment.policies if choice.label in labels)
    one = experiment.model_copy(update={"policies": chosen, "repetitions": 1, **changes})
    folder = runner.simulate(one, out, load_machine(), runner.one_by_one, lambda *_: None).folder
    return Findings.of(studies([folder])[0])


def drawn(special: Special) -> Figure:
    """The first figure of a kind."""
    picture = next(block for block in special.blocks if isinstance(block, Picture))
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
