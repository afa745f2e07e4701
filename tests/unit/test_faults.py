"""The lab's faults: each waits for the word, comes at its time, and ends when that is over."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest

from harness.experiment.faults import FAULTS
from harness.experiment.sweep import Behaviour

PROGRAMS = ("xl", "xenstore-chmod", "pkill", "sleep")


def done_by(kind: str, tmp_path: Path, said: str = "go\n", **times: float) -> list[str]:
    """What a fault does, in its order, as programs see it that only take notes."""
    for name in PROGRAMS:
        (tmp_path / name).write_text(f'#!/bin/sh\necho {name} "$@" >>"{tmp_path}/log"\n[ "$1" != domid ] || echo 7\n')
        (tmp_path / name).chmod(0o755)
    (tmp_path / "log").touch()
    behaviour = Behaviour(kind=kind, **times)
    argv = FAULTS[behaviour.kind].command(behaviour, "db [old]")
    path = {**os.environ, "PATH": f"{tmp_path}:{os.environ['PATH']}"}
    subprocess.run(argv, input=said, text=True, env=path, check=False, capture_output=True)
    return (tmp_path / "log").read_text().splitlines()


@pytest.mark.parametrize(
    ("kind", "begins", "ends"),
    [
        ("paused", ["xl pause db [old]"], ["xl unpause db [old]"]),
        ("rebooting", ["xl destroy db [old]"], ["xl create -q /etc/xen/ballast/db [old].cfg"]),
        ("stale", ["pkill -STOP -f ^perl - "], ["pkill -CONT -f ^perl - "]),
        (
            "stuck",
            ["xl domid db [old]", "xenstore-chmod /local/domain/7/memory/target n0"],
            ["xl domid db [old]", "xenstore-chmod /local/domain/7/memory/target n0 r7"],
        ),
    ],
)
def test_a_fault_comes_at_its_time_and_ends(kind: str, begins: list[str], ends: list[str], tmp_path: Path) -> None:
    assert done_by(kind, tmp_path, at_s=4, for_s=2.5) == ["sleep 4", *begins, "sleep 2.5", *ends]


def test_one_without_an_end_stays(tmp_path: Path) -> None:
    assert done_by("paused", tmp_path, at_s=4) == ["sleep 4", "xl pause db [old]"]


def test_without_the_word_nothing_is_done(tmp_path: Path) -> None:
    """The trial ended before it began, and the connection with it."""
    assert done_by("paused", tmp_path, said="", for_s=2) == []
