"""Xen as dom0 reaches it: by its Python bindings, or where there are none, by its command line tools.

Sent to dom0 ahead of the agent, which uses it (`agent.py`, at its top, says under what terms).
"""

from __future__ import annotations

import importlib
import re
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from harness.xen.asked import Facts, RefusedError

SLACK_KIB = 1024
"""What a domain's maximum is above its target; libxl's LIBXL_MAXMEM_CONSTANT."""


class Bindings:
    """Xen by its Python bindings: a few milliseconds a call."""

    def __init__(self) -> None:
        xc, xs = _bindings()
        self._xc, self._xs = xc.xc(), xs.xs()

    def memory_kib(self) -> tuple[int, int]:
        """All memory of the host, and what is free."""
        info = self._xc.physinfo()
        return info["total_memory"], info["free_memory"]

    def domains(self) -> Iterator[Facts]:
        """One mapping per domain."""
        for info in self._xc.domain_getinfo(0, 32768):
            yield {
                "domid": info["domid"],
                "name": self.read(info["domid"], "name"),
                "current_kib": info["mem_kb"],
                "max_kib": info["maxmem_kb"],
                "paused": bool(info["paused"]),
                "dying": bool(info["dying"] or info["shutdown"] or info["crashed"]),
                "hvm": bool(info["hvm"]),
            }

    def read(self, domid: int, key: str) -> str | None:
        """A domain's entry in xenstore as text, or None."""
        value = self._xs.read("", f"/local/domain/{domid}/{key}")
        return None if value is None else value.decode(errors="backslashreplace")

    def cap(self, domid: int, kib: int) -> None:
        """Set the most that a domain may have."""
        self._xc.domain_setmaxmem(domid, kib)

    def run(self, domid: int, *, go: bool) -> None:
        """Let a domain run, or pause it."""
        (self._xc.domain_unpause if go else self._xc.domain_pause)(domid)

    def aim(self, domain: Facts, kib: int, video_kib: int, most_kib: int) -> None:
        """Set a target as `xl mem-set` does: Xen's own limit first, in both directions, then the word to the balloon.

        So a guest that is to shrink and does not can at least never grow again, nor a capped one for one moment.
        """
        limit_kib = min(kib + SLACK_KIB, most_kib)
        self.cap(domain["domid"], limit_kib)
        if domain["hvm"]:  # Xen fills its pages on demand, up to this
            self._xc.domain_set_target_mem(domain["domid"], limit_kib - video_kib)
        self._xs.write("", f"/local/domain/{domain['domid']}/memory/target", str(kib - video_kib))


class Tools:
    """Xen by its command line tools, for a dom0 without the bindings: a process and 0.1 s or more a call."""

    def memory_kib(self) -> tuple[int, int]:
        """All memory of the host, and what is free; `xl` rounds to MiB."""
        words = dict(re.findall(r"^(\w+)\s*: (\d+)$", _run("xl", "info"), re.MULTILINE))
        return int(words["total_memory"]) * 1024, int(words["free_memory"]) * 1024

    def domains(self) -> Iterator[Facts]:
        """One mapping per domain."""
        for line in _run("xl", "list").splitlines()[1:]:
            name, domid, mem_mib, _, state = line.rsplit(None, 5)[:5]
            kib = int(mem_mib) * 1024
            yield {
                "domid": int(domid),
                "name": name,
                "current_kib": kib,
                "max_kib": None,
                "paused": "p" in state,
                "dying": any(letter in state for letter in "dsc"),
                "hvm": None,
            }

    def read(self, domid: int, key: str) -> str | None:
        """A domain's entry in xenstore as text, or None."""
        try:
            return _run("xenstore-read", f"/local/domain/{domid}/{key}").strip()
        except RefusedError:
            return None

    def cap(self, domid: int, kib: int) -> None:
        """Not with `xl`, whose mem-max changes for good what the domain was created with."""
        raise RefusedError("a cap needs Xen's Python bindings")

    def run(self, domid: int, *, go: bool) -> None:
        """Let a domain run, or pause it."""
        _run("xl", "unpause" if go else "pause", str(domid))

    def aim(self, domain: Facts, kib: int, video_kib: int, most_kib: int) -> None:
        """Set a target, and Xen's limit with it; `most_kib` cannot be kept, which `cap` says."""
        _run("xl", "mem-set", str(domain["domid"]), f"{kib}k")


def _bindings() -> tuple[Any, Any]:
    """The modules xc and xs of the Xen that runs; distributions keep them out of Python's own path."""
    try:
        version = ".".join(Path("/sys/hypervisor/version", part).read_text().strip() for part in ("major", "minor"))
    except OSError:
        version = "*"
    sys.path[:0] = map(str, Path("/usr").glob(f"lib*/xen-{version}/lib/python"))
    return importlib.import_module("xen.lowlevel.xc"), importlib.import_module("xen.lowlevel.xs")


def _run(*argv: str) -> str:
    try:
        done = subprocess.run(argv, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=30, check=False)
    except (OSError, subprocess.TimeoutExpired) as error:
        raise RefusedError(f"{argv[0]}: {error}") from error
    if done.returncode != 0:
        raise RefusedError(f"{' '.join(argv[:2])}: {done.stderr.strip()[-200:] or 'failed'}")
    return done.stdout


def reach(log: Callable[[str], None]) -> Bindings | Tools:
    """Return the better of the two that is there."""
    try:
        return Bindings()
    except ImportError as error:
        log(f"Xen's Python bindings are missing ({error}); falling back to xl, which is slow")
        return Tools()


def disks_kib(domid: int) -> dict[str, list[int]]:
    """KiB read and written of each of a domain's disks, by device number, as far as blkback serves them.

    It is what is seen of a guest that is too short of memory to speak: the traffic of its swap disk.
    """
    disks = {}
    for folder in Path("/sys/bus/xen-backend/devices").glob(f"vbd-{domid}-*"):
        try:
            sectors = [int(Path(folder, "statistics", name).read_text()) for name in ("rd_sect", "wr_sect")]
        except (OSError, ValueError):
            continue  # it is being taken away
        disks[folder.name.rpartition("-")[2]] = [count // 2 for count in sectors]
    return disks
