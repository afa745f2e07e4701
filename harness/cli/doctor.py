"""Is this machine fit for an experiment? Each problem with its remedy; nothing is changed."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import chain

from harness.experiment.config import Experiment
from harness.experiment.document import Document
from harness.experiment.needs import library_of
from harness.lab import deep, shape
from harness.lab.image import LabError, cache_root
from harness.lab.lab import Lab
from harness.lab.room import require_memory

PROGRAMS = {
    "qemu-system-x86_64": "qemu-system-x86",
    "qemu-img": "qemu-utils",
    "mmdebstrap": "mmdebstrap",
    "cpio": "cpio",
    "mke2fs": "e2fsprogs",
    "ssh": "openssh-client",
    "ssh-keygen": "openssh-client",
}
"""Program → the distribution's package that has it."""

IMAGE_MIB = 1500
"""What building an image takes in the cache at its peak."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """One thing that was looked at."""

    what: str
    remedy: str = ""
    """Empty: nothing is wrong."""


def examine_lab(experiment: Experiment, file: Document) -> Iterator[Finding]:
    """Look at what the lab needs of this machine, for the experiment in this file.

    Raises:
        ConfigError: it asks for more than the lab or this machine can have; the message names the line.

    """
    path = os.pathsep.join([os.environ.get("PATH", ""), "/usr/sbin", "/sbin"])
    missing = sorted({package for program, package in PROGRAMS.items() if shutil.which(program, path=path) is None})
    if missing:
        yield Finding(
            what="programs are missing", remedy=f"apt-get install --no-install-recommends {' '.join(missing)}"
        )
    else:
        yield Finding(what="QEMU, mmdebstrap and the other programs of the lab are there")
    wanted = _shapes(experiment, file)
    labs = [Lab.of(each) for each in wanted]
    taken_mib = sum(each.taken_mib for each in wanted)
    yield Finding(what=f"memory: {'the lab takes' if len(labs) == 1 else 'the labs take'} up to {taken_mib} MiB")
    yield from _disk()
    if others := [lab.folder.name for lab in Lab.running() if lab.folder not in {each.folder for each in labs}]:
        yield Finding(what=f"another lab is up ({', '.join(others)})", remedy="end it with: ballast lab down")
    elif all(lab.provisioned for lab in labs):
        yield Finding(what="a provisioned snapshot of this lab is kept: the first trial starts in seconds")
    else:
        yield Finding(what="this lab is built first: four to six minutes")


def _shapes(experiment: Experiment, file: Document) -> list[shape.Shape]:
    key = "guests"
    try:
        wanted = list(shape.all_of(experiment, library_of(experiment)).values())
        key = "pool_mib"
        require_memory([each for each in wanted if Lab.of(each).state() is None])
    except LabError as error:
        raise file.error([((key,), str(error))]) from error
    return wanted


def examine_deep() -> Iterator[Finding]:
    """Let all machines of the lab that is up look at once whether their vector registers hold; some 20 s, all busy."""
    labs = Lab.running()
    if not labs:
        yield Finding(what="no lab is up to be checked", remedy="start it with: ballast lab up EXPERIMENT")
    again = (
        "start the lab anew (ballast lab down, ballast lab up EXPERIMENT); if it stays, its results are worth nothing"
    )
    for held in chain.from_iterable(map(deep.vector_registers, labs)):
        if held.fault:
            yield Finding(what=f"{held.machine}: the vector registers could not be checked: {held.fault}", remedy=again)
        elif held.corrupt:
            said = (
                f"{held.machine}: the vector registers changed by themselves in {held.corrupt} of {held.rounds} rounds"
            )
            yield Finding(what=said, remedy=f"Xen must restore the FPU eagerly (spec-ctrl=eager-fpu): {again}")
        else:
            yield Finding(what=f"{held.machine}: the vector registers held in {held.rounds} rounds")


def _disk() -> Iterator[Finding]:
    cache = cache_root()
    there = next(folder for folder in (cache, *cache.parents) if folder.exists())
    if not os.access(there, os.W_OK):
        yield Finding(what=f"{there} cannot be written", remedy="set BALLAST_CACHE to a folder of yours")
    free_mib = shutil.disk_usage(there).free // 2**20
    if free_mib < 2 * IMAGE_MIB:
        said = f"make room in {cache} ({2 * IMAGE_MIB} MiB), or set BALLAST_CACHE to a folder elsewhere"
        yield Finding(what=f"{free_mib} MiB are free for the lab's image", remedy=said)
    if {",", " "} & {*str(cache)}:
        said = f"the cache's path has a comma or a space, which QEMU and SSH cannot take: {cache}"
        yield Finding(what=said, remedy="set BALLAST_CACHE to another folder")
