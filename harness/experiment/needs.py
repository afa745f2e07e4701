"""What the guests of an experiment need before its trials: packages, our own files, preparations, room on the disk."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from harness.experiment.config import Experiment
from harness.experiment.sweep import Guest
from harness.experiment.workloads import WORKLOAD_DIR, WORKLOADS, Argv, Workload, load_workloads


@dataclass(frozen=True, slots=True, kw_only=True)
class Preparation:
    """Commands that make ready what a run needs, and the file that tells that they have been run."""

    data: str
    """The folder in which they make it."""
    stamp: str
    """Another one for other commands or other sources."""
    commands: tuple[Argv, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Need:
    """What one guest needs, whatever the level."""

    packages: tuple[str, ...]
    files: tuple[str, ...]
    preparations: tuple[Preparation, ...]


def library_of(experiment: Experiment) -> dict[str, Workload]:
    """Read the workloads of an experiment, at all of its levels.

    Raises:
        ConfigError: one cannot be used.

    """
    return load_workloads(names=[guest.workload for level in experiment.levels() for guest in level.guests])


def needs(experiment: Experiment, library: Mapping[str, Workload], folder: Path = WORKLOADS) -> dict[str, Need]:
    """Return what each guest needs; `library` has the workloads of the experiment, `folder` their files."""
    works: dict[str, list[Guest]] = {}
    for guest in (guest for level in experiment.levels() for guest in level.guests):
        works.setdefault(guest.name, []).append(guest)
    return {name: _need(guests, library, folder) for name, guests in works.items()}


def disk_mib(experiment: Experiment, library: Mapping[str, Workload]) -> float:
    """Return what all that the guests run takes on a disk that holds all of it."""
    guests = [guest for level in experiment.levels() for guest in level.guests]
    works = [(library[guest.workload], guest.parameters) for guest in guests]
    return sum({work.data(values): work.taken_mib(values) for work, values in works}.values())


def written_mib(experiment: Experiment, library: Mapping[str, Workload]) -> dict[str, float]:
    """Return what each guest's workloads take on a disk, at all levels together."""
    taken: dict[str, dict[str, float]] = {}
    for guest in (guest for level in experiment.levels() for guest in level.guests):
        work = library[guest.workload]
        taken.setdefault(guest.name, {})[work.data(guest.parameters)] = work.taken_mib(guest.parameters)
    return {name: sum(of.values()) for name, of in taken.items()}


def _need(guests: list[Guest], library: Mapping[str, Workload], folder: Path) -> Need:
    workloads = [library[guest.workload] for guest in guests]
    prepared = [_preparation(library[guest.workload], guest, folder) for guest in guests]
    return Need(
        packages=tuple(dict.fromkeys(package for workload in workloads for package in workload.packages)),
        files=tuple(dict.fromkeys(file for workload in workloads for file in workload.files)),
        preparations=tuple(dict.fromkeys(preparation for preparation in prepared if preparation.commands)),
    )


def _preparation(workload: Workload, guest: Guest, folder: Path) -> Preparation:
    data = workload.data(guest.parameters)
    sources = hashlib.sha256(b"\0".join((folder / file).read_bytes() for file in workload.files))
    return Preparation(
        data=data,
        stamp=f"{data}/prepared-{sources.hexdigest()[:8]}",
        commands=workload.preparations(guest.parameters, directory=WORKLOAD_DIR),
    )
