"""The shape of a lab: which guests it has and how large they are. It follows from an experiment."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

from harness.experiment.config import Experiment
from harness.experiment.machine import Disk, LabTerms, shift
from harness.experiment.needs import disk_mib, needs, written_mib
from harness.experiment.sweep import Virtualisation
from harness.experiment.workloads import Workload
from harness.lab.image import PACKAGES, PROJECT, ImageSpec, LabError
from harness.lab.qemu import DOM0_MIB, PER_GUEST_MIB, XEN_MIB

Clock = Literal["instructions", "real"]
"""What the lab's time is: instructions that its processor has executed, or the controller's."""

ROLES = ("xen_host", "xen_guest", "workload")
"""What provisioning applies; a snapshot taken after it is only good for the same roles."""

CACHES = {"__pycache__", ".mypy_cache", ".ruff_cache", ".pytest_cache"}
"""Folders of tools, which change nothing about a lab."""
SYSTEM_MIB = 1024
STEP_MIB = 1024
"""A disk's size: what every machine has, and what the workloads take in steps, so that similar sets share an image."""
MOST_GUESTS = 12
"""Their disks want dom0's memory, and its kernel's command line has room for no more."""
SYSTEM_USED_MIB = 640
"""Of the system's part of the image, with some room; measured: 560."""
WRITTEN_MIB = 128
"""Of what a guest writes to its system beside the files of its workload."""
SWAP_SPARE_MIB = 64
"""Of a swap disk, beyond all that can be taken from the guest: what lies in swap and in memory at once."""
FRAME_SHARE = 64
"""Of all memory Xen keeps one part in so many, and less, for its own books (page_info: 32 of 4,096 bytes; M2P: 8)."""
PAGE_SHARE = 64
"""Of dom0's memory its kernel keeps one part in so many for its own books (struct page: 64 of 4,096 bytes)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class GuestShape:
    """One guest, in MiB; its swap disk holds all that can be taken from it."""

    name: str
    initial_mib: int
    max_mib: int
    swap_mib: int
    files_mib: int = WRITTEN_MIB
    """For what it writes to its system disk, which begins as the image."""
    type: Virtualisation = "pv"


@dataclass(frozen=True, slots=True, kw_only=True)
class Shape:
    """Everything that makes one lab differ from another."""

    guests: tuple[GuestShape, ...]
    pool_mib: int
    reserve_mib: int
    image: ImageSpec
    host: str = "dom0"
    """What the inventory calls its dom0."""
    clock: Clock = "instructions"
    terms: LabTerms = field(default_factory=LabTerms)
    """Of which the disks are as they are in the snapshot."""

    @property
    def dom0_mib(self) -> int:
        """The memory of dom0, in which the guests' disks are."""
        disks = self.image.size_mib + sum(guest.swap_mib + guest.files_mib for guest in self.guests)
        return DOM0_MIB + disks + math.ceil(disks / PAGE_SHARE)

    @property
    def svm(self) -> bool:
        """Whether the machine must have a processor with AMD's virtualisation: for guests that are not paravirtual."""
        return any(guest.type == "pvh" for guest in self.guests)

    @property
    def memory_mib(self) -> int:
        """The memory of the whole machine: what the guests share, what stays free, and what Xen and dom0 need."""
        used = self.pool_mib + self.reserve_mib + self.dom0_mib + PER_GUEST_MIB * len(self.guests)
        return used + XEN_MIB + math.ceil(used / FRAME_SHARE)

    @property
    def taken_mib(self) -> int:
        """What the machine can take of the controller's memory: it takes a page when it is first used.

        What lies in swap does not lie in the pool, so that of both only what the guests can have at most is used; and
        what the image has room for is not all there.
        """
        swap = sum(guest.swap_mib for guest in self.guests)
        most = sum(guest.max_mib for guest in self.guests)
        unused = swap - min(swap, max(0, most - self.pool_mib)) + SYSTEM_MIB - SYSTEM_USED_MIB
        return self.memory_mib - unused

    @property
    def shift(self) -> int | None:
        """Of the emulated processor's clock; None: the lab is in real time."""
        return shift(self.terms.processor_mips) if self.clock == "instructions" else None

    @property
    def guest_percent(self) -> int:
        """The part of the processor that each guest has and no more, so that none takes another's; dom0 has one too.

        0: what it gets, of a processor that is the controller's.
        """
        return 0 if self.shift is None else 100 // (len(self.guests) + 1)

    def words(self) -> str:
        """What dom0 is told of the guests' disks (roles/lab/files/rootfs/usr/lib/ballast-lab/disks)."""
        guests = [f"lab.guest={guest.name}:{guest.swap_mib}:{guest.files_mib}" for guest in self.guests]
        kinds = [f"lab.swap={disk_words(self.terms.swap)}", f"lab.files={disk_words(self.terms.files)}"]
        return " ".join([*kinds, f"lab.base={self.image.size_mib}", *guests])

    def key(self) -> str:
        """Twelve hex digits that change whenever the provisioned lab would."""
        digest = hashlib.sha256(f"{self.image.key()} {self!r}".encode())
        roles = (PROJECT / "roles" / role for role in ROLES)
        sources = [PROJECT / "workloads", PROJECT / "playbooks" / "provision.yml", *roles]
        for source in sources:
            for path in [source] if source.is_file() else sorted(p for p in source.rglob("*") if p.is_file()):
                if not CACHES & {*path.parts}:
                    digest.update(f"{path.relative_to(PROJECT)}\0".encode() + path.read_bytes())
        return digest.hexdigest()[:12]


def swap_number(index: int) -> int:
    """The number of the disk that guest `index` (from 0) swaps on."""
    return 2 * index


def files_number(index: int) -> int:
    """The number of the disk that has the files of guest `index`."""
    return 2 * index + 1


def base_number(guests: int) -> int:
    """The number of the disk with the image, which all guests read."""
    return 2 * guests


def disk_words(disk: Disk) -> str:
    """A disk as the scripts of the lab's image take it."""
    return f"{round(disk.latency_ms * 1e6)}:{disk.mb_per_s}:{disk.requests}"


def all_of(experiment: Experiment, library: Mapping[str, Workload], clock: Clock = "instructions") -> dict[str, Shape]:
    """The labs that an experiment needs: one for each host, by its name.

    Raises:
        LabError: as `of`.

    """
    return {host: of(part, library, clock) for host, part in experiment.parts().items()}


def of(experiment: Experiment, library: Mapping[str, Workload], clock: Clock = "instructions") -> Shape:
    """The lab that `experiment`, whose guests are on one host, needs, with what its workloads need in the image.

    Raises:
        LabError: it has more guests than QEMU's machine has places for disks.

    """
    needed = needs(experiment, library).values()
    image = ImageSpec(
        suite=experiment.lab.debian,
        packages=tuple(sorted({*PACKAGES, *(package for need in needed for package in need.packages)})),
        size_mib=SYSTEM_MIB + STEP_MIB * math.ceil(disk_mib(experiment, library) / STEP_MIB),
        preparations=tuple(dict.fromkeys(each for need in needed for each in need.preparations)),
    )
    files = written_mib(experiment, library)
    experiment = experiment.envelope()
    if len(experiment.guests) > MOST_GUESTS:
        said = f"{experiment.name} has {len(experiment.guests)} guests and the lab has room for {MOST_GUESTS}"
        raise LabError(f"{said}: take fewer, or an inventory of your own Xen hosts (inventory/example.yml).")
    guests = tuple(
        GuestShape(
            name=guest.name,
            initial_mib=guest.initial_mib,
            max_mib=guest.max_mib,
            swap_mib=guest.max_mib - guest.min_mib + SWAP_SPARE_MIB,
            files_mib=math.ceil(files[guest.name]) + WRITTEN_MIB,
            type=guest.type or "pv",
        )
        for guest in experiment.guests
    )
    return Shape(
        guests=guests, pool_mib=experiment.pool_mib, reserve_mib=experiment.reserve_mib, image=image, clock=clock,
        terms=experiment.lab, host=experiment.guests[0].host or "dom0",
    )  # fmt: skip
