"""Which runs belong together in a report."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from reports.study import studies
from tests.unit import synthetic_run


def run(path: Path, **policy: Any) -> Path:  # noqa: ANN401 - a policy's own
    experiment = {"name": "quick", "guests": [], "policies": [{"name": "static"}, {"name": "two-state", **policy}]}
    return synthetic_run.write_run(path, blocks=1, run=path.name, experiment=experiment).path


@pytest.mark.parametrize(
    ("old", "new", "apart"),
    [({}, {"overhead": "reserve"}, 1), ({}, {"overhead": "measured"}, 2), ({"tax": 0.5}, {"tax": 0.75}, 2),
     ({"tax": 0.75}, {}, 1), ({"gone": 3}, {}, 2)],
)  # fmt: skip
def test_what_a_policy_does_by_default_makes_no_other_study(
    old: dict[str, Any], new: dict[str, Any], apart: int, tmp_path: Path
) -> None:
    """So a run from before there was a thing to choose is still compared with one from after."""
    assert len(studies([run(tmp_path / "old", **old), run(tmp_path / "new", **new)])) == apart
