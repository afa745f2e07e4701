"""What docs/simulator.md says that `ballast` reaches is what runs reached, and counted right."""

from __future__ import annotations

import math
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pandas as pd
import pytest
import yaml

from docs import drawn, mixes, reached
from harness.experiment.files import load_experiment
from harness.simulator import runner
from harness.simulator.machine import load_machine
from reports.study import ReportError
from tests.unit import synthetic_run

PAGE = "".join(f"<!-- {kind} -->\nold\n<!-- /{kind} -->\n" for kind in ("in-words", "mixes", "held-out"))
MIX = """name: e09-small
claim: somebody gains
pool_mib: 700
reserve_mib: 64
guests:
  - {name: g1, workload: mono, with: {low_mib: 60, high_mib: 260, rate_mib_s: 15},
     min_mib: 140, initial_mib: 300, max_mib: 600}
  - {name: g2, workload: idle, min_mib: 140, initial_mib: 300, max_mib: 600}
policies: [static, pressure, ballast, unconstrained, informed, oracle]
repetitions: 1
duration_s: 40
period_s: 2
"""


def row(mix: str, label: str, mean: float, *, bound: bool = False, least: float = 1.0) -> dict[str, object]:
    return {
        "mix": mix, "held_out": False, "condition": "", "label": label, "bound": bound, "geometric_mean": mean,
        "least_of_static": least, "blocks": 6, "date": "2026-11-27", "commit": "0123456",
    }  # fmt: skip


@pytest.mark.parametrize("name", mixes.PAGES)
def test_a_page_has_what_is_kept(name: Path) -> None:
    page = (mixes.PROJECT / name).read_text(encoding="utf-8")
    kept = reached.read_mixes(mixes.PROJECT / mixes.KEPT)
    assert reached.rewritten(page, kept, tuple(mixes.limits())) == page, (
        "write it anew with: .venv/bin/python docs/mixes.py"
    )


def test_a_number_that_no_run_had_is_missing_and_is_not_taken_for_a_text(tmp_path: Path) -> None:
    lost = row("a", "ballast", 0.9, least=math.nan)
    pd.DataFrame([row("a", "static", 0.4), row("a", "mom", 0.6), row("a", "informed", 0.8, bound=True),
                  row("a", "oracle", 0.95, bound=True), lost]).to_csv(tmp_path / "mixes.csv", index=False)  # fmt: skip
    kept = reached.read_mixes(tmp_path / "mixes.csv")
    assert kept["least_of_static"].isna().tolist() == [False, False, False, False, True]
    assert set(kept["condition"]) == {""}
    page = reached.rewritten(PAGE, kept)
    assert "| 0.900 | 0.800 | – | 0.950 |  | **–** |" in page  # noqa: RUF001 - as the page has it
    assert "no guest below 0.97 of what it has under `static` in 0." in page


def test_losing_is_counted_and_shown_as_openly_as_winning() -> None:
    ahead = [row("a", "static", 0.4), row("a", "mom", 0.6), row("a", "ballast", 0.9, least=0.98),
             row("a", "informed", 0.8, bound=True), row("a", "oracle", 0.95, bound=True)]  # fmt: skip
    behind = [row("b", "static", 0.4), row("b", "mom", 0.6), row("b", "ballast", 0.5, least=0.7),
              row("b", "informed", 0.8, bound=True), row("b", "oracle", 0.95, bound=True)]  # fmt: skip
    plans = [{**row(mix, "informed", 0.8, bound=True), "condition": reached.PLANNING} for mix in "ab"]
    page = reached.rewritten(PAGE, pd.DataFrame(ahead + behind + plans))
    assert "| a | 0.400 | `mom` 0.600 | 0.900 | 0.800 | 0.800 | 0.950 | 150% | 0.98 |" in page
    assert "| b | 0.400 | `mom` 0.600 | **0.500** | 0.800 | 0.800 | 0.950 | -50% | **0.70** |" in page
    assert "in 1 of 2; of 2 gaps of more than 5 % to the bound's own plan half or more is closed in 1; no guest" in page
    assert "\nold\n" not in page
    assert "within 1 % of it, in 1; it is behind in b (0.500 against 0.600 of `mom`).\n" in page


def test_a_bound_that_does_as_ours_does_is_no_gap_that_ours_has_closed() -> None:
    """Where `informed` finds nothing better than to follow `ballast`, its own plan is what there is to reach."""
    rows = [row("a", "static", 0.4), row("a", "mom", 0.6), row("a", "ballast", 0.9),
            row("a", "informed", 0.9, bound=True), row("a", "oracle", 0.95, bound=True)]  # fmt: skip
    for plan, told in ((0.62, " "), (0.8, "150%")):
        alone = {**row("a", "informed", plan, bound=True), "condition": reached.PLANNING}
        page = reached.rewritten(PAGE, pd.DataFrame([*rows, alone]))
        assert f"| 0.900 | 0.900 | {plan:.3f} | 0.950 | {told.strip()} | 1.00 |" in page
        assert ("of 0 gaps" in page) == (plan == 0.62)


def test_what_chance_has_drawn_is_said_beside_what_somebody_made_up() -> None:
    ahead = [row("a", "static", 0.4), row("a", "mom", 0.6), row("a", "ballast", 0.9),
             row("a", "informed", 0.9, bound=True), row("a", "oracle", 0.9, bound=True)]  # fmt: skip
    drawn_ones = [{**each, "mix": "`drawn-1`", "held_out": True} for each in ahead]
    drawn_ones[2]["geometric_mean"] = 0.3
    page = reached.rewritten(PAGE + "<!-- drawn -->\n<!-- /drawn -->\n", pd.DataFrame(ahead + drawn_ones))
    assert "In 1 that chance has drawn it is so in 0, and behind in `drawn-1` (0.300 against 0.600 of `mom`)" in page
    assert "| `drawn-1` | 0.400 | `mom` 0.600 | **0.300** |" in page.partition("<!-- drawn -->")[2]
    assert "has over what `static` has: `mom` 1.50, `static` 1.00, `ballast` 0.75.\n" in page


def test_what_it_takes_to_spare_everybody_is_shown_beside_what_that_costs() -> None:
    kept = [row(mix, "static", 0.3) for mix in "ab"] + [row(mix, "oracle", 0.9, bound=True) for mix in "ab"]
    kept += [row("a", "ballast", 0.8, least=0.9), row("a", "informed", 0.9, bound=True, least=0.95),
             {**row("a", "nobody waits", 0.4, least=0.99), "condition": "nobody waits"},
             row("b", "ballast", 0.5), row("b", "informed", 0.6, bound=True)]  # fmt: skip
    page = reached.rewritten("<!-- spared -->\n<!-- /spared -->\n", pd.DataFrame(kept))
    assert "| a | 0.800 | **0.90** | 0.400 | 0.99 | 0.900 | **0.95** |" in page
    assert "| b |" not in page
    assert "in 0 under `ballast`, in 1 where nobody waits, in 0 under the bound, of 1. Where nobody" in page
    assert "waits, 0.50 of what `ballast` reaches" in page


def test_a_part_without_which_nothing_is_lost_is_not_bold() -> None:
    kept = [row(f"{mix} (`e16-ablation` at {at})", label, mean)
            for at, mix in ((1, "swings"), (2, "a hog"))
            for label, mean in (("static", 0.3), ("ballast", 0.9), ("no turns", 0.899), ("steep", 0.5))]  # fmt: skip
    page = reached.rewritten("<!-- ablation -->\n<!-- /ablation -->\n", pd.DataFrame(kept))
    assert "| | a hog | swings |\n" in page
    assert "| no turns | 0.899 | 0.899 |" in page
    assert "| steep | **0.500** | **0.500** |" in page
    assert page.index("| static |") < page.index("| ballast |") < page.index("| no turns |")


def test_each_policy_that_is_taken_apart_is_held_against_itself_and_no_mix_of_the_others() -> None:
    kept = [row("swings (`e16-two-state` at 1)", label, mean)
            for label, mean in (("two-state", 0.5), ("no tax", 0.4), ("no states", 0.6))]  # fmt: skip
    marked = "".join(f"<!-- {name} -->\n<!-- /{name} -->\n" for name in ("mixes", "ablation", "ablation-of-two-state"))
    page = reached.rewritten(marked, pd.DataFrame(kept))
    assert page.count("Not simulated yet.") == 2
    assert "| no tax | **0.400** |" in page
    assert "| no states | 0.600 |" in page
    assert "below `two-state`" in page


@pytest.fixture(name="folder", scope="module")
def _folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A simulated run of a small mix."""
    folder = tmp_path_factory.mktemp("mixes")
    (folder / "e09-small.yml").write_text(MIX)
    experiment = load_experiment(folder / "e09-small.yml")
    done = runner.simulate(experiment, folder / "runs", load_machine(), runner.one_by_one, lambda *_: None)
    return done.folder


def test_a_run_is_kept_once_and_takes_the_place_of_the_last(folder: Path, tmp_path: Path) -> None:
    (tmp_path / "docs").mkdir()
    for _ in range(2):
        mixes.keep([folder], tmp_path)
    kept = reached.read_mixes(tmp_path / mixes.KEPT)
    assert list(kept["label"]) == ["static", "pressure", "ballast", "informed", "oracle"]
    assert kept.loc[kept["label"] == "static", "least_of_static"].item() == 1
    assert set(kept["condition"]) == {""}


def test_what_was_measured_or_has_no_unconstrained_trials_is_refused(tmp_path: Path) -> None:
    run = synthetic_run.write_run(tmp_path / "run").path
    with pytest.raises(ReportError, match="unconstrained"):
        mixes.keep([run], tmp_path)


def test_the_copies_are_experiments_and_are_told_apart(tmp_path: Path) -> None:
    mixes.copies(tmp_path)
    found = {path.parent.name: load_experiment(path) for path in tmp_path.glob("*/e09-bursts.yml")}
    spares = found.pop("nobody-waits")
    assert [policy.label for policy in spares.policies] == ["static", reached.SPARING, "unconstrained"]
    assert spares.repetitions == 6
    alone = found.pop("its-own-plan")
    assert [policy.label for policy in alone.policies] == ["static", "informed", "unconstrained"]
    assert len(found) == len(mixes.conditions()) == 5
    assert {experiment.period_s for experiment in found.values()} == {1.0, 2.0, 5.0, 10.0}
    slow = yaml.safe_load((tmp_path / "disks-10-times-slower" / "e09-bursts.yml").read_text())["machine"]
    assert slow["fault_s"] == pytest.approx(10 * load_machine().fault_s)
    assert not list(tmp_path.glob("*/e09-on-xen.yml")), "it is for the lab"
    for told in mixes.limits():
        copy = load_experiment(tmp_path / told.replace(" ", "-") / "jumps.yml")
        asked: Any = SimpleNamespace(experiment=lambda key, copy=copy: copy.resolved().get(key), labels=("static",))
        assert mixes.condition(asked) == told
    asked = SimpleNamespace(experiment=lambda _: None, labels=[policy.label for policy in spares.policies])
    assert mixes.condition(asked) == reached.SPARING


def test_what_a_limit_is_made_of_stands_beside_the_mix_as_it_is() -> None:
    def rows(mix: str, condition: str, ours: float) -> list[dict[str, object]]:
        found = [row(mix, "static", 0.4), row(mix, "mom", 0.6), row(mix, "ballast", ours)]
        found += [row(mix, "informed", 0.8, bound=True), row(mix, "oracle", 0.9, bound=True)]
        return [{**one, "condition": condition} for one in found]

    kept = pd.DataFrame(
        [*rows("a", "", 0.5), *rows("a", "moving is free", 0.7), *rows("a", "every 1 s", 0.1), *rows("b", "", 0.9)]
    )
    page = reached.rewritten("<!-- limits -->\n<!-- /limits -->\n", kept, ("moving is free", "none of them"))
    assert "| | a |\n" in page
    assert "| as it is | 0.600, 0.500, 0.800 |\n| none of them |  |\n| moving is free | 0.600, 0.700, 0.800 |" in page
    assert "every 1 s" not in page


def test_the_mixes_that_chance_has_drawn_are_those() -> None:
    for name, text in drawn.mixes().items():
        assert (mixes.HELD_OUT / f"{name}.yml").read_text(encoding="utf-8") == text
