"""The check of the vector registers can fail, and does not on a machine that is sound."""

from __future__ import annotations

import json
import os
import platform
import subprocess
import sys
from pathlib import Path

import pytest

from harness.cli import doctor
from harness.lab import access, deep, vectors
from harness.lab.lab import Lab
from harness.lab.vectors import BYTES, Holder, check, check_at_once, machine_code

needs_x86 = pytest.mark.skipif(platform.machine() != "x86_64", reason="the check is machine code for x86_64")
PATTERN = bytes(range(BYTES))


@needs_x86
def test_all_sixteen_registers_are_loaded_held_and_stored() -> None:
    assert Holder(machine_code()).hold(PATTERN, 1000) == PATTERN


@needs_x86
@pytest.mark.parametrize("register", range(8))
def test_a_register_that_changes_is_seen(register: int) -> None:
    found = Holder(machine_code(spoilt=register)).hold(PATTERN, 1)
    changed = [i for i in range(16) if found[16 * i : 16 * i + 16] != PATTERN[16 * i : 16 * i + 16]]
    assert changed == [register]
    rounds, corrupt = check(0.01, machine_code(spoilt=register))
    assert corrupt == rounds > 0


def test_a_process_that_dies_counts_as_corrupt(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(vectors, "check", lambda *_: os._exit(139))
    assert check_at_once(0.01, 2, b"") == {"rounds": 0, "corrupt": 2}


@needs_x86
def test_the_program_runs_alone_from_standard_input() -> None:
    program = deep.PROGRAM.read_text()
    done = subprocess.run([sys.executable, "-", "0.1"], input=program, capture_output=True, text=True, check=True)
    said = json.loads(done.stdout)
    assert said["corrupt"] == 0
    assert said["rounds"] >= 3


@pytest.fixture
def lab(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> dict[str, str]:
    """A lab whose machines answer with the words that a test gives."""
    answers: dict[str, str] = {}
    monkeypatch.setattr(Lab, "running", lambda: (Lab(tmp_path),))
    monkeypatch.setattr(access, "machines", lambda _: [{"name": name} for name in answers])
    monkeypatch.setattr(access, "ssh_command", lambda _, name: ["sh", "-c", answers[name]])
    return answers


def test_the_doctor_tells_what_each_machine_found(lab: dict[str, str]) -> None:
    lab["dom0"] = """echo '{"rounds": 100, "corrupt": 0}'"""
    lab["g1"] = """echo '{"rounds": 90, "corrupt": 3}'"""
    lab["g2"] = "echo Segmentation fault >&2; exit 139"
    lab["g3"] = "echo hello"
    dom0, g1, g2, g3 = doctor.examine_deep()
    assert (dom0.what, dom0.remedy) == ("dom0: the vector registers held in 100 rounds", "")
    assert "changed by themselves in 3 of 90 rounds" in g1.what
    assert "eager-fpu" in g1.remedy
    assert "exit 139: Segmentation fault" in g2.what
    assert "it says 'hello'" in g3.what
    assert g2.remedy
    assert g3.remedy


def test_without_a_lab_there_is_nothing_to_check(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Lab, "running", lambda: ())
    (finding,) = doctor.examine_deep()
    assert "ballast lab up" in finding.remedy
