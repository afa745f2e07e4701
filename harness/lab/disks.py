"""Other disks for a lab that has gone back to its snapshot: a sweep can vary how slow they are."""

from __future__ import annotations

import subprocess
from collections.abc import Callable, Iterator, Sequence

from harness.experiment.machine import Disk, LabTerms
from harness.lab import access
from harness.lab.image import LabError
from harness.lab.lab import Lab
from harness.lab.shape import Shape, disk_words, files_number, swap_number

ANOTHER = 64
"""What is added to the number of a disk that takes the place of one with the same content."""
PATIENCE_S = 600.0

Step = tuple[str, tuple[str, ...]]
"""A machine, and the command that it is to run."""


def change(lab: Lab, shape: Shape, terms: LabTerms, watch: Callable[[str], None]) -> None:
    """Give every guest disks as `terms` has them, where they are others than those of the snapshot.

    Raises:
        LabError: a machine cannot do what it is told.

    """
    for machine, command in steps(shape, terms):
        watch(f"{machine}: {' '.join(command)[:60]}")
        argv = [*access.ssh_command(lab, machine), *command]
        try:
            done = subprocess.run(argv, capture_output=True, text=True, check=False, timeout=PATIENCE_S)
        except subprocess.TimeoutExpired:
            raise LabError(f"{machine}: {' '.join(command)}: no end within {PATIENCE_S:.0f} s") from None
        if done.returncode:
            raise LabError(f"{machine}: {' '.join(command)}: {done.stderr.strip()[-300:]}")


def steps(shape: Shape, terms: LabTerms) -> Iterator[Step]:
    """What has to be done for it, in order."""
    for index, guest in enumerate(shape.guests):
        if terms.swap != shape.terms.swap:
            number = swap_number(index)
            yield guest.name, ("swapoff", "/dev/xvdb")
            yield from _exchanged(guest.name, "xvdb", number, number, guest.swap_mib, terms.swap)
            yield guest.name, ("mkswap", "/dev/xvdb")
            yield guest.name, ("swapon", "/dev/xvdb")
        if guest.files_mib and terms.files != shape.terms.files:
            old = files_number(index)
            yield guest.name, ("umount", FILES)
            yield from _exchanged(guest.name, "xvdc", old, old + ANOTHER, guest.files_mib, terms.files)
            yield guest.name, ("mount", "-o", "noatime", "/dev/xvdc", FILES)


FILES = "/var/lib/ballast"


def _exchanged(guest: str, name: str, old: int, new: int, mib: int, disk: Disk) -> Iterator[Step]:
    """Take a disk from a guest and give it another of the same name; one of another number has the same content."""
    yield "dom0", ("xl", "block-detach", guest, name)
    yield "dom0", ("/usr/lib/ballast-lab/disk", disk_words(new, mib, disk))
    if new != old:
        yield "dom0", ("dd", f"if=/dev/nullb{old}", f"of=/dev/nullb{new}", "bs=1M", "conv=sparse,fsync")
    said: Sequence[str] = ("format=raw", f"vdev={name}", "access=rw", "script=lab-block", f"target=/dev/nullb{new}")
    yield "dom0", ("xl", "block-attach", guest, ",".join(said))
