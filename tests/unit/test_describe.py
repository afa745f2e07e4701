"""What machines say of themselves, asked once a run: in a measure, and with names that are names."""

from __future__ import annotations

from pathlib import Path

import pytest

from harness.xen import describe
from harness.xen.describe import answer, dpkg_packages
from harness.xen.machine import Machine
from harness.xen.ssh import ConnectionFailed
from tests.unit.guest_over_ssh import guest

MACHINE = Machine(name="g1", address="a", key_file=Path("k"), known_hosts=Path("h"))


def test_an_answer_comes_in_lines() -> None:
    with guest() as connection:
        assert answer(MACHINE, connection, ["printf", "a b\\nc\\n"]) == ["a b", "c"]


def test_a_guest_that_answers_without_end_is_left() -> None:
    with guest() as connection, pytest.raises(ConnectionFailed, match="does not end"):
        answer(MACHINE, connection, ["yes", "x" * 1000])


def test_a_guest_that_does_not_answer_is_left(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(describe, "PATIENCE_S", 0.3)
    with guest() as connection, pytest.raises(ConnectionFailed, match="gave no answer"):
        answer(MACHINE, connection, ["sleep", "60"])


def test_a_package_whose_name_or_version_is_none_is_left_out() -> None:
    lines = [
        "bc\t1.07.1-3\t",
        "bad\x1b[2J\t1\t",
        "worse\t1\x9b31m\t",
        "=cmd()\t1\t",
        *(f"p{i}\t1\t" for i in range(5000)),
    ]
    found = dpkg_packages(lines)
    assert found["bc"] == ("1.07.1-3", ())
    assert not {"bad\x1b[2J", "worse", "=cmd()"} & {*found}
    assert len(found) <= describe.MOST_PACKAGES
