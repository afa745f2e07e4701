"""What dom0 sees of the guests' swap disks, request by request, from the kernel's block trace.

Sent to dom0 together with the agent, so it too uses nothing but the standard library and nothing newer than Python 3.9.
It traces in an instance of its own, `instances/ballast`, so that nobody else's tracing is disturbed, and removes that
when it ends. Disks with a request queue are seen when a request completes; those without one (LVM, RAID) when it comes.
"""

from __future__ import annotations

import os
import re
from collections import deque
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

TRACEFS = (Path("/sys/kernel/tracing"), Path("/sys/kernel/debug/tracing"))
BACKENDS = Path("/sys/bus/xen-backend/devices")
BLOCK = Path("/sys/dev/block")
INSTANCE = "ballast"
COMPLETED, QUEUED = "block_rq_complete", "block_bio_queue"
BUFFER_KIB, LEAST_KIB = 4096, 256
"""The kernel's buffer: over all CPUs together, and of one at least. An event takes about 60 bytes of it."""
PIECE, PIECES = 65536, 16
"""Of the trace's text: bytes a read, reads a turn; about 20,000 events."""
KEPT = 16384
"""Events a guest that wait to be taken; older ones are dropped and counted."""
SEEN = re.compile(rb"block_\w+: (\d+),(\d+) ([A-Z]+) (?:\([^)]*\) )?(\d+) \+ (\d+) \[|\[LOST (\d+) EVENTS\]")


class TraceError(Exception):
    """What is asked for cannot be traced; the message says why and what to do."""


class Disk:
    """Where the trace shows a guest's disk: a device of dom0, and the sectors of it that are the guest's."""

    def __init__(self, number: str) -> None:
        """Take `major:minor`, as /sys/dev/block has it."""
        self.start, self.end = 0, 1 << 62
        folder = BLOCK / number
        if (folder / "partition").exists():
            self.start = int((folder / "start").read_text())
            self.end = self.start + int((folder / "size").read_text())
            number = (folder.resolve().parent / "dev").read_text().strip()
        major, minor = number.split(":")
        self.device = (int(major), int(minor))
        self.event = QUEUED if (folder / "dm").exists() or (folder / "md").exists() else COMPLETED


class Tracer:
    """Follows the disks that it is told to and keeps what it has seen until that is taken."""

    def __init__(self) -> None:
        self._followed: dict[str, tuple[int, int]] = {}
        self._disks: dict[tuple[int, int], list[tuple[str, Disk]]] = {}
        self._kept: dict[str, deque[tuple[str, int, int]]] = {}
        self._failed: dict[str, str] = {}
        self._pipe = -1
        self._home: Path | None = None
        self._rest = b""
        self._lost = 0

    @property
    def active(self) -> bool:
        """Whether anything is traced."""
        return self._home is not None

    def follow(self, wanted: Mapping[str, tuple[int, int]]) -> None:
        """Trace these disks from now on: guest → number of its domain, and of the disk as the guest knows it.

        A disk that dom0's kernel does not serve is left out and stands in `failed`.

        Raises:
            TraceError: nothing can be traced.

        """
        if wanted == self._followed:
            return
        self.close()
        disks = {}
        for name, (domid, disk) in wanted.items():
            try:
                disks[name] = Disk(_backing(domid, disk))
            except (OSError, ValueError) as error:
                self._failed[name] = f"dom0's kernel does not serve its disk {disk} ({error}); swap on a block device"
        try:
            if disks:
                self._open(disks.values())
        except OSError as error:
            self.close()
            raise TraceError(f"the swap disks cannot be traced: {error}") from error
        for name, backing in disks.items():
            self._disks.setdefault(backing.device, []).append((name, backing))
        self._kept = {name: deque() for name in disks}
        self._followed = dict(wanted)

    def look(self) -> None:
        """Read what the kernel has seen since; never waits, and never reads more than a measure."""
        for _ in range(PIECES if self.active else 0):
            try:
                chunk = os.read(self._pipe, PIECE)
            except BlockingIOError:
                return
            except OSError:
                self._lost += 1  # how many is not known, but that there are will be said
                return
            *lines, self._rest = (self._rest + chunk).rpartition(b"\n")
            self._take_in(b"".join(lines))
            if not chunk:
                return

    def take(self) -> dict[str, Any]:
        """What was seen since the last time, oldest first, how many events were not, and who cannot be followed.

        An event is `W` (written), `R` (read) or `D` (discarded), then its sector, `+`, and how many of 512 bytes.
        """
        self.look()
        events = {name: " ".join(f"{kind}{at}+{n}" for kind, at, n in kept) for name, kept in self._kept.items()}
        for kept in self._kept.values():
            kept.clear()
        lost, self._lost = self._lost, 0
        return {"events": events, "lost": lost, "failed": self._failed}

    def close(self) -> None:
        """Stop, and leave no trace of having been there."""
        if self._pipe >= 0:
            os.close(self._pipe)
        if self._home is not None:
            (self._home / "tracing_on").write_text("0")
            self._home.rmdir()
        self._pipe, self._home, self._rest, self._lost = -1, None, b"", 0
        self._followed, self._disks, self._kept, self._failed = {}, {}, {}, {}

    def _open(self, disks: Iterable[Disk]) -> None:
        root = next((path for path in TRACEFS if (path / "instances").is_dir()), None)
        if root is None:
            raise TraceError(f"dom0 has no tracefs; there: mount -t tracefs tracefs {TRACEFS[0]}")
        home = root / "instances" / INSTANCE
        if home.exists():  # of an agent that was killed
            home.rmdir()
        home.mkdir()
        self._home = home
        each_kib = max(LEAST_KIB, BUFFER_KIB // (os.cpu_count() or 1))
        (home / "buffer_size_kb").write_text(str(each_kib))
        (home / "options" / "context-info").write_text("0")
        for event in (COMPLETED, QUEUED):
            numbers = {major << 20 | minor for major, minor in (disk.device for disk in disks if disk.event == event)}
            if numbers:
                folder = home / "events" / "block" / event
                (folder / "filter").write_text(" || ".join(f"dev == {number}" for number in sorted(numbers)))
                (folder / "enable").write_text("1")
        self._pipe = os.open(home / "trace_pipe", os.O_RDONLY | os.O_NONBLOCK)

    def _take_in(self, text: bytes) -> None:
        for major, minor, letters, at, length, lost in SEEN.findall(text):
            if lost:
                self._lost += int(lost)
                continue
            kind = next((letter for letter in "DWR" if letter.encode() in letters), None)
            sector, count = int(at), int(length)
            for name, disk in self._disks.get((int(major), int(minor)), ()) if kind and count else ():
                if disk.start <= sector < disk.end:
                    self._keep(self._kept[name], str(kind), sector - disk.start, count)

    def _keep(self, kept: deque[tuple[str, int, int]], kind: str, sector: int, count: int) -> None:
        if kept:
            before, start, length = kept[-1]
            if before == kind and start + length == sector:  # the same, continued
                kept[-1] = (kind, start, length + count)
                return
        if len(kept) == KEPT:
            kept.popleft()
            self._lost += 1
        kept.append((kind, sector, count))


def _backing(domid: int, disk: int) -> str:
    """`major:minor` of the device of dom0 that a guest's disk is."""
    major, minor = (BACKENDS / f"vbd-{domid}-{disk}" / "physical_device").read_text().strip().split(":")
    return f"{int(major, 16)}:{int(minor, 16)}"
