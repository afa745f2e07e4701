"""docs/simulator.md against the code: every model with its keys, every behaviour, every part of a guest."""

from __future__ import annotations

import re
from pathlib import Path
from typing import get_args

from harness.experiment.sweep import Kind
from harness.simulator.loads import MODELS

PAGE = (Path(__file__).parents[2] / "docs" / "simulator.md").read_text()


def rows(heading: str) -> list[list[str]]:
    """The cells of the table under a heading."""
    section = PAGE.split(f"## {heading}\n")[1].split("\n## ")[0]
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in section.splitlines() if line[:1] == "|"][
        2:
    ]


def test_every_model_is_on_the_page_with_its_keys() -> None:
    said = {row[0].strip("`"): row[1].split(", ") for row in rows("A workload's model")}
    assert said == {name: list(keys) for name, (_, keys) in MODELS.items()}


def test_every_behaviour_is_on_the_page() -> None:
    said = {name for row in rows("A guest that does not obey") for name in re.findall(r"`([a-z-]+)`", row[0])}
    assert said == set(get_args(Kind))
