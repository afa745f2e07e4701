"""Experiments that vary a quantity, and guests that come by the number."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml

from harness.experiment.config import Experiment
from harness.experiment.document import ConfigError
from harness.experiment.files import load_experiment

SWEPT = """\
name: swept
pool_mib: 1000
guests:
  - {name: a, workload: mono, with: {high_mib: 300}, min_mib: 160, initial_mib: 200, max_mib: 800}
  - {name: b, count: 3, workload: idle, min_mib: 100, initial_mib: 200, max_mib: 400}
policies: [static, unconstrained, oracle]
duration_s: 30
sweep:
  name: pool
  unit: MiB
  levels:
    - {at: 800, pool_mib: 800}
    - {at: 1600, pool_mib: 1600, guests: {a: {with: {low_mib: 70}, max_mib: 900}, b: {count: 2}}}
"""


def load(folder: Path, text: str) -> Experiment:
    path = folder / "swept.yml"
    path.write_text(text, encoding="utf-8")
    return load_experiment(path)


def test_guests_that_come_by_the_number_are_numbered(tmp_path: Path) -> None:
    assert [guest.name for guest in load(tmp_path, SWEPT).at().guests] == ["a", "b1", "b2", "b3"]


def test_a_level_changes_what_it_names_and_nothing_else(tmp_path: Path) -> None:
    low, high = load(tmp_path, SWEPT).levels()
    assert (low.pool_mib, high.pool_mib, high.duration_s) == (800, 1600, 30)
    assert [guest.name for guest in high.guests] == ["a", "b1", "b2"]
    assert (high.guests[0].parameters["low_mib"], high.guests[0].parameters["high_mib"]) == (70, 300)
    assert (low.guests[0].parameters["low_mib"], low.guests[0].max_mib, high.guests[0].max_mib) == (60, 800, 900)


def test_the_machines_must_have_room_for_the_largest_of_all_levels(tmp_path: Path) -> None:
    envelope = load(tmp_path, SWEPT).envelope()
    assert [(guest.name, guest.max_mib) for guest in envelope.guests] == [
        ("a", 900), ("b1", 400), ("b2", 400), ("b3", 400)
    ]  # fmt: skip
    assert envelope.pool_mib == 800 + 3 * 400, "unconstrained gives every guest all it may have"


def test_under_unconstrained_every_guest_may_have_all_at_once(tmp_path: Path) -> None:
    assert load(tmp_path, SWEPT).at(0, "unconstrained").pool_mib == 800 + 3 * 400
    assert load(tmp_path, SWEPT).at(0, "static").pool_mib == 800


def test_the_resolved_form_of_a_sweep_means_the_same(tmp_path: Path) -> None:
    resolved = load(tmp_path, SWEPT).resolved()
    assert load(tmp_path, yaml.safe_dump(resolved)).resolved() == resolved


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ("pool_mib: 800}", "pool_mib: 700}", "swept.yml:12: sweep.levels[0].pool_mib: is 700, and the guests'"),
        ("{at: 1600,", "{at: 800,", "swept.yml:13: sweep.levels[1].at: 800 is the place of levels[0] too"),
        ("b: {count: 2}", "c: {count: 2}", "swept.yml:13: sweep.levels[1].guests.c: there is no guest c; known: a, b"),
        ("low_mib: 70", "lowest_mib: 70", "mono has no such parameter; did you mean low_mib?"),
        ("max_mib: 900}", "min_mib: 900}", "is 900, above max_mib 800"),
        ("count: 2}", "counts: 2}", "unknown key; did you mean count?"),
        ("name: a,", "name: b1,", "guests: b1 is the name of two guests once they are counted out"),
    ],
)
def test_a_mistake_in_a_level_is_named_with_its_place(tmp_path: Path, old: str, new: str, said: str) -> None:
    with pytest.raises(ConfigError) as raised:
        load(tmp_path, SWEPT.replace(old, new))
    assert said in str(raised.value)


def test_the_oracle_decides_only_where_somebody_tells_it_the_future(tmp_path: Path) -> None:
    oracle = load(tmp_path, SWEPT).policies[2]
    assert (oracle.name, oracle.make().params.model_dump()) == ("oracle", {"horizon_s": 6.0})
