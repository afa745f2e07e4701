"""The lab that an experiment wants: how quick its processor is, and how slow its disks are."""

from __future__ import annotations

import math
from typing import Annotated, Literal

from pydantic import AfterValidator, Field

from harness.experiment.document import Model

Debian = Literal["bookworm", "trixie"]
QUICKEST_MIPS = 1000
"""The emulated processor's clock goes on by 1, 2, 4 … ns an instruction, and by one at least (QEMU's icount)."""
SLOWEST_SHIFT = 7


def shift(processor_mips: float) -> int:
    """Return the power of two of the nanoseconds that an instruction takes at this speed."""
    return round(math.log2(QUICKEST_MIPS / processor_mips))


def _possible(mips: float) -> float:
    speeds = [QUICKEST_MIPS / 2**power for power in range(SLOWEST_SHIFT + 1)]
    if mips not in speeds:
        raise ValueError(f"the emulated processor can have {', '.join(f'{speed:g}' for speed in speeds)} MIPS")
    return mips


class Disk(Model):
    """A disk in dom0's memory behind a timer of the lab's clock."""

    latency_ms: Annotated[float, Field(ge=0, le=1000)] = 2.0
    """What a request takes, whatever its size."""
    mb_per_s: Annotated[int, Field(ge=0, le=100_000)] = 0
    """So many MB (of 10^6 bytes) are moved in a second at most; 0: as many as come."""
    requests: Annotated[int, Field(ge=1, le=64)] = 1
    """So many are served at once; the others wait."""

    @property
    def told(self) -> str:
        """What it is, in words."""
        moved = f", {self.mb_per_s} MB/s" if self.mb_per_s else ""
        return f"{self.latency_ms:g} ms a request, {self.requests} at a time{moved}"


class LabTerms(Model):
    """What the experiment's lab is like; a host of one's own is as it is."""

    debian: Debian = "bookworm"
    """The release that its machines run: 12 (Xen 4.17, Linux 6.1) or 13 (Xen 4.20, Linux 6.12)."""
    processor_mips: Annotated[float, AfterValidator(_possible)] = 250.0
    """Million instructions a second of the emulated processor, of which every guest has the same fixed part."""
    swap: Disk = Disk()
    """Each guest's swap disk."""
    files: Disk = Disk()
    """Each guest's disk for the files that its workload prepares and waits for."""

    def but(self, other: LabTerms) -> LabTerms:
        """Return these terms, with what the other ones say of themselves."""
        return self.model_copy(update={key: getattr(other, key) for key in other.model_fields_set})
