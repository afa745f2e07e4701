"""What one guest does in a trial on real machines, what was seen of it, and the rows that come of that."""

from __future__ import annotations

import math
import re
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass

import paramiko

from harness.experiment.connection import KIB_PER_MIB
from harness.experiment.sweep import Guest
from harness.experiment.workloads import Workload
from harness.progress.plain import one_line
from harness.records import Stamp, TrialRow
from harness.view import HostView
from harness.xen.client import GuestClient
from harness.xen.facts import Sample, traffic
from harness.xen.process import RemoteProcess

STOP_S = 10.0
KILLED = {137: "SIGKILL", 143: "SIGTERM"}
"""What a program ends with that was killed; nothing but want of memory kills one in a trial, unless we do."""
KILLED_BELOW = re.compile(r"was killed by signal (9|15)\b")
"""What our drivers say of a program (workloads/programs.py)."""
AMPLE = 0.2
"""Part of a guest's memory that is available: above it no OOM killer of user space acts. earlyoom does below 0.1."""
COUNTERS = {
    "major_faults": "major_faults",
    "swapped_in_kib": "swap_in_kib",
    "swapped_out_kib": "swap_out_kib",
    "stall_some_s": "stall_some_s",
    "stall_full_s": "stall_full_s",
    "oom_kills": "oom_kills",
}
"""Column of the trial's rows → what the guest's samples call it."""


@dataclass(slots=True)
class Work:
    """The work of one guest."""

    guest: Guest
    workload: Workload
    client: GuestClient
    started: Stamp | None = None
    process: RemoteProcess | None = None
    first: Sample | None = None
    last_kib: float = math.nan
    moved_kib: float = 0.0
    available: float = math.nan
    """Part of its guest's memory that was available when it was last seen at work."""
    fault: str = ""
    gone: str = ""
    """Why nothing can come of it any more: its guest is gone from Xen."""

    @property
    def running(self) -> bool:
        """Whether it was started and has not ended."""
        return self.process is not None and not self.process.ended and not self.gone

    @property
    def getting_ready(self) -> bool:
        """Whether it was started, and neither is ready nor has ended."""
        return self.process is not None and not self.process.ready and not self.process.ended

    def went(self) -> float | None:
        """When it was told to go, by the trial's clock."""
        return self.process.went_s if self.process else None

    def go(self) -> None:
        """Tell it to; what its guest counts, it counts from now on."""
        self.first = self.client.newest.sample if self.client.newest else None
        if self.process is not None:
            self.process.go()

    def kill(self) -> None:
        """End it. A guest that cannot be told is one whose connection, or whose whole lab, has gone."""
        with suppress(paramiko.SSHException, OSError, EOFError):
            if self.process is not None:
                self.process.kill(timeout_s=STOP_S)

    def note(self, view: HostView) -> None:
        """Add up by how much its guest's memory has changed, and remember how short of it the guest is."""
        place = view.names.index(self.guest.name)
        if self.running:
            self.available = float(view.mem_available_kib[place] / view.mem_total_kib[place])
        kib = float(view.current_kib[place])
        if math.isfinite(kib):
            self.moved_kib += abs(kib - self.last_kib) if math.isfinite(self.last_kib) else 0.0
            self.last_kib = kib

    def vanished(self, view: HostView) -> bool:
        """Whether it was at work in a guest that Xen no longer has; it is given up then, and `gone` says so."""
        if not self.running or math.isfinite(view.current_kib[view.names.index(self.guest.name)]):
            return False
        at = f" {view.time_s - went_s:.0f} s after the work began" if (went_s := self.went()) is not None else ""
        self.gone = (
            f"the guest was gone from Xen{at}: it crashed, was shut down or destroyed; `xl dmesg` and "
            "/var/log/xen/ in dom0 say which"
        )
        return True

    def last_lines(self, most: int) -> str:
        """What it said last on its standard error."""
        said = self.process.stderr.decode(errors="replace").strip().splitlines() if self.process else []
        return one_line("\n".join(said[-most:])) or "it said nothing"

    def rows(self, now: Stamp) -> Iterator[TrialRow]:
        """One row a metric; a workload without any is a row all the same. `now` is for one that never went."""
        status, reason = self._verdict()
        duration_s = math.nan
        if self.process and self.process.ended_s is not None and self.process.went_s is not None:
            duration_s = self.process.ended_s - self.process.went_s
        output = self.process.stdout.decode(errors="replace") if self.process else ""
        counters = self._counters()
        for metric in self.workload.metrics or (None,):
            row = {"status": status, "reason": reason, "duration_s": duration_s, **counters}
            if metric is not None:
                row |= {"metric": metric.name, "unit": metric.unit, "better": metric.better}
                if status == "ok":
                    try:
                        row["value"] = metric.read(output)
                    except ValueError as error:
                        row |= {"status": "failed", "reason": str(error)}
            yield row_of(self.guest, self.started or now, **row)

    def _verdict(self) -> tuple[str, str]:
        """Status and reason of what came of it."""
        process = self.process
        if process is None:
            return "lost", self.fault or "the workload could not be started"
        if self.gone:
            return "lost", self.gone
        went = process.went_s is not None
        if self.fault:
            return "timeout" if went else "failed", self.fault
        if process.exit_status is None:
            return "lost", "the connection to the guest ended before the workload did"
        if process.exit_status == 0 and went:
            return "ok", ""
        said = self.last_lines(3) if went else f"before it was told to go: {self.last_lines(3)}"
        if (self._counters()["oom_kills"] or 0) > 0:  # it, or what it had started
            return "oom", f"the guest's kernel killed for want of memory; exit {process.exit_status}: {said}"
        if process.exit_status in KILLED or KILLED_BELOW.search(said):
            return self._killed(f"exit {process.exit_status}: {said}")
        return "failed", f"exit {process.exit_status}: {said}"

    def _killed(self, said: str) -> tuple[str, str]:
        """Status and reason where its guest's kernel counts no kill: then it was somebody in user space."""
        if self.available > AMPLE:
            return "failed", f"it was killed, though {self.available:.0%} of the guest's memory were available; {said}"
        short = "" if math.isnan(self.available) else f", with {self.available:.0%} of the guest's memory available"
        return "oom", f"killed by earlyoom, systemd-oomd or the like{short}; {said}"

    def _counters(self) -> dict[str, float | None]:
        newest = self.client.newest
        moved = self.moved_kib / KIB_PER_MIB
        if self.first is None or newest is None or newest.sample.mono_s < self.first.mono_s:
            return {"balloon_moved_mib": moved, "oom_kills": None}
        since = traffic(self.first, newest.sample)
        return {
            "balloon_moved_mib": moved,
            **{column: _known(getattr(since, name)) for column, name in COUNTERS.items()},
        }


def row_of(guest: Guest, started: Stamp, **values: object) -> TrialRow:
    """A row of a guest's; what is not said of it is not known."""
    row = {"duration_s": 0.0, **values}
    return TrialRow(guest=guest.name, workload=guest.workload, started=started, **row)  # type: ignore[arg-type]


def _known(number: float) -> float | None:
    return number if math.isfinite(number) else None
