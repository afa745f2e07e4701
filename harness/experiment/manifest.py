"""What a run must remember of where it came from, so that it can be understood, and repeated, years later."""

from __future__ import annotations

import hashlib
import os
import platform
import subprocess
from collections.abc import Mapping, Sequence
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from harness.experiment.config import Experiment
from harness.experiment.plan import Trial, seeds
from harness.records import FORMAT

PROJECT = Path(__file__).parents[2]
SOURCES = (PROJECT / "harness", PROJECT / "workloads")
PACKAGES = (
    "ansible-core",
    "ansible-runner",
    "paramiko",
    "numpy",
    "pandas",
    "scipy",
    "matplotlib",
    "seaborn",
    "pydantic",
)


def manifest(
    run: str, experiment: Experiment, trials: Sequence[Trial], backend: str, told: Mapping[str, Any]
) -> dict[str, Any]:
    """The manifest of a run of these trials that begins now; `told` is what the backend tells of itself and guests."""
    return {
        "run": run,
        "backend": backend,
        "experiment": experiment.resolved(),
        "seeds": seeds(trials),
        "versions": {"python": platform.python_version(), **{name: _version(name) for name in PACKAGES}},
        "git": source(),
        "sources_sha256": sources_sha256(),
        "format": FORMAT,
        "lock_sha256": hashlib.sha256((PROJECT / "requirements.txt").read_bytes()).hexdigest(),
        "host": {
            "cpu": _line_of("/proc/cpuinfo", "model name"),
            "cores": os.cpu_count(),
            "memory_kib": int(_line_of("/proc/meminfo", "MemTotal").split()[0]),
            "kernel": platform.release(),
            "system": platform.freedesktop_os_release().get("PRETTY_NAME", "unknown"),
            "clocksource": _read("/sys/devices/system/clocksource/clocksource0/current_clocksource"),
        },
        "workloads": told.get("workloads", {}),
        "xen": {key: value for key, value in told.items() if key != "workloads"},
    }


def source() -> dict[str, Any]:
    """Which source this is: commit, and whether anything was changed since; null outside a git checkout."""
    commit, status = _git("rev-parse", "HEAD"), _git("status", "--porcelain", "--untracked-files=no")
    return {"commit": commit, "dirty": None if status is None else bool(status)}


def sources_sha256() -> str:
    """The SHA-256 of all that decides what a trial does here: files of a checkout with changes have no commit."""
    whole = hashlib.sha256()
    for folder in SOURCES:
        for path in sorted(path for path in folder.rglob("*") if _is_source(path)):
            of_this = hashlib.sha256(path.read_bytes()).hexdigest()
            whole.update(f"{path.relative_to(PROJECT).as_posix()} {of_this}\n".encode())
    return whole.hexdigest()


def _is_source(path: Path) -> bool:
    return path.is_file() and path.parent.name != "__pycache__" and not path.name.startswith(".")


def _git(*words: str) -> str | None:
    try:
        done = subprocess.run(["git", *words], cwd=PROJECT, capture_output=True, text=True, check=True)
    except (OSError, subprocess.CalledProcessError):
        return None
    return done.stdout.strip()


def _version(package: str) -> str | None:
    try:
        return version(package)
    except PackageNotFoundError:
        return None


def _line_of(path: str, key: str) -> str:
    lines = Path(path).read_text().splitlines()
    return next((line.partition(":")[2].strip() for line in lines if line.startswith(key)), "0")


def _read(path: str) -> str | None:
    try:
        return Path(path).read_text().strip()
    except OSError:
        return None
