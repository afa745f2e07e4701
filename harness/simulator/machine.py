"""The machine that is simulated: what disks, balloons and kernels cost (docs/simulator.md)."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated

from pydantic import Field

from harness.experiment.document import Document, Model

LAB = Path(__file__).with_name("lab.yml")

Positive = Annotated[float, Field(gt=0)]
Share = Annotated[float, Field(ge=0, le=1)]
Size = Annotated[float, Field(ge=0)]


class Machine(Model):
    """Sizes in MiB, times in seconds."""

    fault_s: Positive
    """A touch of a page in swap, at random."""
    scan_fault_s: Positive
    """The same in a pass over neighbouring pages, where the kernel reads ahead."""
    file_fault_s: Positive
    """A read of a page of a file that is not cached."""
    fill_s: Annotated[float, Field(ge=0)] = 0.0
    """A touch of a page for the first time, which the kernel has to find, clear and map."""
    swap_write_mib_s: Positive
    """How fast a guest can be emptied into its swap disk."""
    reclaim_mib_s: Positive = 1000.0
    """How fast the kernel takes cached programs and libraries, which are mapped and in use, before it swaps."""
    disk_mib_s: Positive
    """What all guests' disks carry together; beyond, every access takes longer in proportion."""
    balloon_mib_s: Positive
    """How fast a guest gives or takes free memory."""
    kernel_mib: Size
    """Memory of a guest outside its MemTotal, and by how much of its maximum that grows."""
    kernel_share: Share
    own_mib: Size
    """Used by a guest's kernel and programs without any work; never given up."""
    cold_mib: Size
    """Of programs that sleep: swapped out at the first shortage, and never read back."""
    least_free_mib: Size
    """Memory that the kernel keeps free."""
    files_mib: Size
    """Page cache of programs and libraries, and how little of it the kernel insists on."""
    least_files_mib: Size
    order: Share
    """How well eviction follows popularity: 1 keeps exactly the most popular pages."""
    scan: Positive
    """How many times its missing part a cyclic pass misses."""
    rewrites: Share
    """Share of pages read back from swap that are written to, which frees their place in swap."""
    jitter: Share
    """By how much the speed of guests differs from repetition to repetition (standard deviation)."""
    cpu: Positive = 1.0
    """Processor time of everything, against the lab's."""

    def but(self, changes: Mapping[str, float]) -> Machine:
        """The same machine with other costs for some things.

        Raises:
            pydantic.ValidationError: there is no such cost, or it cannot be.

        """
        return Machine.model_validate({**self.model_dump(), **changes})


def load_machine(path: Path = LAB) -> Machine:
    """Read a machine.

    Raises:
        ConfigError: with every problem of the file.

    """
    return Document(path).parse(Machine)
