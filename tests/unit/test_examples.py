"""The runs in reports/examples/ are what was sealed, and their reports say what can be computed from them."""

from __future__ import annotations

from pathlib import Path

import pytest

import reports
from docs.examples import EXAMPLES, index, places, together
from harness.records import read_run

PLACES = places()


@pytest.mark.parametrize("place", PLACES, ids=lambda place: place.parent.name)
def test_a_kept_report_made_anew_has_the_same_numbers(place: Path) -> None:
    run = read_run(place)
    assert dict(run.damage) == {}
    assert run.manifest["git"]["dirty"] is False
    moved, count = reports.compare([place], place, 0.0)
    assert (list(moved), count > 0) == ([], True)


def test_a_kept_report_over_several_runs_has_the_same_numbers_too() -> None:
    for place, runs in together().items():
        moved, count = reports.compare(runs, place, 0.0)
        assert (list(moved), count > 0, len(runs) > 1) == ([], True, True)


def test_the_list_of_them_is_what_is_there() -> None:
    assert len(PLACES) >= 3
    assert (EXAMPLES / "README.md").read_text(encoding="utf-8") == index()
