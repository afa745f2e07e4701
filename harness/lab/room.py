"""Whether this machine has the memory for labs that are to be started on it."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from harness.lab.image import LabError
from harness.lab.shape import Shape

SPARE_MIB = 512
"""What the machine that runs the lab keeps for itself."""


def require_memory(shapes: Sequence[Shape]) -> None:
    """Raise LabError when this machine has too little memory for these labs, none of which is up."""
    lines = Path("/proc/meminfo").read_text().splitlines()
    available_mib = next(int(line.split()[1]) for line in lines if line.startswith("MemAvailable:")) // 1024
    taken_mib = sum(shape.taken_mib for shape in shapes)
    if shapes and taken_mib + SPARE_MIB > available_mib:
        pools = " + ".join(str(shape.pool_mib) for shape in shapes)
        reserves = " + ".join(str(shape.reserve_mib) for shape in shapes)
        raise LabError(
            f"the lab takes up to {taken_mib} MiB (pool {pools}, reserve {reserves}, what does "
            f"not fit into the pool on disks in memory, dom0, Xen) and {SPARE_MIB} MiB must be left, but this machine "
            f"has {available_mib} MiB available. Lower pool_mib."
        )
