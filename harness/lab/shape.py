"""The shape of a lab: which guests it has and how large they are. It follows from an experiment."""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass

from harness.experiment.config import Experiment
from harness.experiment.needs import disk_mib, needs
from harness.experiment.workloads import Workload
from harness.lab.image import PACKAGES, PROJECT, ImageSpec, LabError
from harness.lab.qemu import DOM0_MIB, PER_GUEST_MIB, XEN_MIB

ROLES = ("xen_host", "xen_guest", "workload")
"""What provisioning applies; a snapshot taken after it is only good for the same roles."""

CACHES = {"__pycache__", ".mypy_cache", ".ruff_cache", ".pytest_cache"}
"""Folders of tools, which change nothing about a lab."""
SYSTEM_MIB = 3072
STEP_MIB = 1024
"""A disk's size: what every machine has, and what the workloads take in steps, so that similar sets share an image."""
MOST_GUESTS = 12
"""Each guest has two disks, and the emulated machine takes 28 devices."""


@dataclass(frozen=True, slots=True, kw_only=True)
class GuestShape:
    """One guest, in MiB; its swap disk holds all that can be taken from it."""

    name: str
    initial_mib: int
    max_mib: int
    swap_mib: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Shape:
    """Everything that makes one lab differ from another."""

    guests: tuple[GuestShape, ...]
    pool_mib: int
    reserve_mib: int
    image: ImageSpec

    @property
    def memory_mib(self) -> int:
        """The memory of the whole machine: what the guests share, what stays free, and what Xen and dom0 need."""
        return self.pool_mib + self.reserve_mib + DOM0_MIB + XEN_MIB + PER_GUEST_MIB * len(self.guests)

    def key(self) -> str:
        """Twelve hex digits that change whenever the provisioned lab would."""
        digest = hashlib.sha256(json.dumps([asdict(self), self.image.key()], sort_keys=True).encode())
        roles = (PROJECT / "roles" / role for role in ROLES)
        sources = [PROJECT / "workloads", PROJECT / "playbooks" / "provision.yml", *roles]
        for source in sources:
            for path in [source] if source.is_file() else sorted(p for p in source.rglob("*") if p.is_file()):
                if not CACHES & {*path.parts}:
                    digest.update(f"{path.relative_to(PROJECT)}\0".encode() + path.read_bytes())
        return digest.hexdigest()[:12]


def of(experiment: Experiment, library: Mapping[str, Workload]) -> Shape:
    """The lab that `experiment` needs, with what its workloads need in the image.

    Raises:
        LabError: it has more guests than QEMU's machine has places for disks.

    """
    needed = needs(experiment, library).values()
    image = ImageSpec(
        packages=tuple(sorted({*PACKAGES, *(package for need in needed for package in need.packages)})),
        size_mib=SYSTEM_MIB + STEP_MIB * math.ceil(disk_mib(experiment, library) / STEP_MIB),
        preparations=tuple(dict.fromkeys(each for need in needed for each in need.preparations)),
    )
    experiment = experiment.envelope()
    if len(experiment.guests) > MOST_GUESTS:
        said = f"{experiment.name} has {len(experiment.guests)} guests and the lab has room for {MOST_GUESTS}"
        raise LabError(f"{said}: take fewer, or an inventory of your own Xen hosts (inventory/example.yml).")
    guests = tuple(
        GuestShape(name=guest.name, initial_mib=guest.initial_mib, max_mib=guest.max_mib, swap_mib=guest.max_mib)
        for guest in experiment.guests
    )
    return Shape(guests=guests, pool_mib=experiment.pool_mib, reserve_mib=experiment.reserve_mib, image=image)
