"""Other disks for a lab that has gone back to its snapshot: a sweep can vary how slow they are."""

from __future__ import annotations

import subprocess
from collections.abc import Callable, Iterator

from harness.experiment.machine import LabTerms
from harness.lab import access
from harness.lab.image import LabError
from harness.lab.lab import Lab
from harness.lab.shape import Shape, base_number, disk_words, files_number, swap_number

ANOTHER = 64
"""What is added to the number of a disk that takes the place of one with the same content."""
PATIENCE_S = 600.0
SCRIPTS = "/usr/lib/ballast-lab"

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
    count = len(shape.guests)
    if terms.files != shape.terms.files:
        wide = terms.files.model_copy(update={"requests": count * terms.files.requests})  # all guests read it
        number = base_number(count) + ANOTHER
        yield shape.host, (f"{SCRIPTS}/exchange", "lab-base", f"{number}:{shape.image.size_mib}:{disk_words(wide)}")
        for index, guest in enumerate(shape.guests):
            disk = f"{files_number(index) + ANOTHER}:{guest.files_mib}:{disk_words(terms.files)}"
            yield shape.host, (f"{SCRIPTS}/exchange", f"{guest.name}-files", disk)
    for index, guest in enumerate(shape.guests if terms.swap != shape.terms.swap else ()):
        number = swap_number(index)
        said = ("format=raw", "vdev=xvdb", "access=rw", "script=lab-block", f"target=/dev/nullb{number}")
        yield guest.name, ("swapoff", "/dev/xvdb")
        yield shape.host, ("xl", "block-detach", guest.name, "xvdb")
        yield shape.host, (f"{SCRIPTS}/disk", f"{number}:{guest.swap_mib}:{disk_words(terms.swap)}")
        yield shape.host, ("xl", "block-attach", guest.name, ",".join(said))
        yield guest.name, ("mkswap", "/dev/xvdb")
        yield guest.name, ("swapon", "/dev/xvdb")
