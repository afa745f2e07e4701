"""docs/reliability.md names tests that exist, and shows what was measured."""

from __future__ import annotations

import re
from pathlib import Path

from docs.reliability import known, rewritten

PROJECT = Path(__file__).parents[2]
PAGE = (PROJECT / "docs" / "reliability.md").read_text()


def test_every_promise_has_a_test() -> None:
    there = "\n".join(path.read_text() for path in (PROJECT / "tests").rglob("test_*.py"))
    named = re.findall(r"`(test_[a-z0-9_]+)`", PAGE)
    assert len(named) > 10
    assert [name for name in named if f"def {name}(" not in there] == []


def test_the_tables_are_what_was_measured() -> None:
    assert rewritten(PAGE, known()) == PAGE


def test_the_table_follows_what_is_measured() -> None:
    told = rewritten(PAGE, {"reliability": "fault,whole_again_s\na fault,3.5\n"})
    assert "| a fault | 3.5 |\n<!-- /reliability -->" in told
