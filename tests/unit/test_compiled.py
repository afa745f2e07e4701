"""Simulations with the modules that work guest by guest compiled: the same files, and never from other sources."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from harness import compiled
from tests.unit.test_simulator_runs import EXPERIMENT, without_clock, write

ONE_LEVEL = EXPERIMENT.split("sweep:")[0]


def python(*arguments: str | Path, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-P", *map(str, arguments)], env={**os.environ, **environment}, capture_output=True, text=True,
        check=False,
    )  # fmt: skip


def simulate(folder: Path, name: str, *options: str, **environment: str) -> subprocess.CompletedProcess[str]:
    arguments = ("simulate", write(folder, ONE_LEVEL), "--jobs", "1", "--out", folder / name)
    return python("-m", "harness", *arguments, *options, **environment)


def test_what_is_compiled_simulates_the_same_to_the_last_bit(tmp_path: Path) -> None:
    done = simulate(tmp_path, "interpreted")
    assert done.returncode == 0, done.stderr
    cache = {"BALLAST_CACHE": str(tmp_path / "cache")}
    first = simulate(tmp_path, "compiled", "--compiled", **cache)
    assert first.returncode == 0, first.stderr
    assert "compiling, once" in first.stderr
    assert without_clock(Path(first.stdout.strip())) == without_clock(Path(done.stdout.strip()))

    again = simulate(tmp_path, "again", "--compiled", **cache)
    assert "compiling" not in again.stderr
    folder = compiled.place(tmp_path / "cache")
    for module in ("harness.governor.plan", "harness.simulator.guest"):
        told = python("-c", f"import {module} as it; print(it.__file__)", **{compiled.ENVIRONMENT: str(folder)})
        assert Path(told.stdout.strip()).is_relative_to(folder), told.stderr


def test_other_sources_are_compiled_anew(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    shutil.copytree(compiled.ROOT / "harness", tmp_path / "harness")
    monkeypatch.setattr(compiled, "ROOT", tmp_path)
    before = compiled.place(tmp_path)
    assert compiled.place(tmp_path) == before
    for changed in (compiled.MODULES[-1], "harness/view.py"):
        with (tmp_path / changed).open("a") as source:
            source.write("# changed\n")
        assert compiled.place(tmp_path) != before
        before = compiled.place(tmp_path)


def test_without_a_compiler_the_remedy_is_named(tmp_path: Path) -> None:
    done = simulate(tmp_path, "out", "--compiled", PATH=str(tmp_path), BALLAST_CACHE=str(tmp_path / "cache"))
    assert done.returncode == 2
    assert "apt-get install gcc python3-dev" in done.stderr
    assert "compiling, once" not in done.stderr
    assert not list((tmp_path / "cache").rglob("*.so"))


def test_what_does_not_compile_is_told_and_leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(compiled, "SETUP", "raise SystemExit('harness/view.py:1: error: no such thing')")
    with pytest.raises(compiled.CompileError, match=r"run without --compiled. It said:\nharness/view.py:1: error"):
        compiled.build(tmp_path)
    assert not list((tmp_path / "compiled").iterdir())
