"""The service for an hour beside guests that are not to be trusted, one of each kind (`scripts/test --hostile`).

First all guests behave, then six of nine do not. What the honest ones had, how they got on, and what it cost the
arbiter goes to docs/measured/hostile.csv (docs/reliability.md). BALLAST_HOSTILE_MIN: minutes, if not 60.
"""

from __future__ import annotations

import csv
import os
import re
import shlex
import subprocess
import time
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from statistics import median
from typing import Any

import pytest

from harness.experiment.faults import FAULTS
from harness.experiment.sweep import Guest
from harness.experiment.workloads import load_workloads
from harness.lab import access
from tests.e2e.conftest import PROJECT, Lived, living
from tests.e2e.serving import Service, serving

pytestmark = pytest.mark.lab

HOSTILE = PROJECT / "tests" / "soak" / "hostile.yml"
MEASURED = PROJECT / "docs" / "measured" / "hostile.csv"
WORKLOADS = "/usr/local/lib/ballast/workloads"
HOSTILE_S = 60 * float(os.environ.get("BALLAST_HOSTILE_MIN", "60"))
QUIET_S = min(600.0, HOSTILE_S)
WARM_S = min(240.0, HOSTILE_S)
"""Until the honest guests have been through their work once."""
CONTENT = ("g1", "g2")
"""Who needs no more than it had at first. g3 would like what the others leave."""
PROGRESS = re.compile(r"^([\d.]+) s: .*?(\d+) (?:passes|touches), ([\d.]+) s lost$", re.MULTILINE)


@dataclass(frozen=True, slots=True)
class Done:
    """How far an honest guest's work is, by the guest's clock."""

    at_s: float
    steps: int
    lost_s: float


@dataclass(frozen=True, slots=True)
class Look:
    """A moment: how many lines the service had written, how much memory it has, and how far the work is."""

    lines: int
    resident_mib: float
    work: Mapping[str, Done]


@pytest.fixture(scope="module")
def lived() -> Iterator[Lived]:
    with living(HOSTILE) as made:
        yield made


@contextmanager
def told(lived: Lived, machine: str, argv: list[str], said: Path) -> Iterator[subprocess.Popen[str]]:
    """A program on a machine of the lab that waits for the word; what it says on standard error goes to a file."""
    command = [*access.ssh_command(lived.lab, machine), shlex.join(argv)]
    with (
        said.open("w") as errors,
        subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=errors, text=True) as process,
    ):
        try:
            assert process.stdout is not None
            assert process.stdout.readline().strip() == "ready", said.read_text()
            yield process
        finally:
            process.kill()


def go(process: subprocess.Popen[str]) -> None:
    assert process.stdin is not None
    process.stdin.write("go\n")
    process.stdin.flush()


def work_of(guest: Guest) -> list[str]:
    """The command of its work, which ends with the lab."""
    workload = load_workloads(names=[guest.workload])[guest.workload]
    return [*workload.command(guest.parameters, duration_s=1e6, seed=1, directory=WORKLOADS)]


def look(service: Service, said: Mapping[str, Path]) -> Look:
    resident = re.search(r"^VmRSS:\s+(\d+)", Path(f"/proc/{service.process.pid}/status").read_text(), re.MULTILINE)
    assert resident is not None, "the service has ended"
    work = {name: [("0", "0", "0"), *PROGRESS.findall(path.read_text())][-1] for name, path in said.items()}
    return Look(
        lines=len(service.lines()),
        resident_mib=int(resident[1]) / 1024,
        work={name: Done(float(at), int(steps), float(lost)) for name, (at, steps, lost) in work.items()},
    )


def wait(service: Service, seconds: float) -> None:
    """For so long, in which the service must not end."""
    until_s = time.monotonic() + seconds
    while time.monotonic() < until_s:
        assert service.process.poll() is None, (service.folder / "log").read_text()[-4000:]
        time.sleep(1)


def figures(lived: Lived, lines: list[dict[str, Any]], first: Look, last: Look) -> dict[str, float]:
    """What there is to say of a stretch of time."""
    stretch = lines[first.lines : last.lines]
    ticks = [line for line in stretch if "view" in line]
    between = [later["view"]["time_s"] - sooner["view"]["time_s"] for sooner, later in pairwise(ticks)]
    said = {"minutes": (ticks[-1]["view"]["time_s"] - ticks[0]["view"]["time_s"]) / 60}
    for guest in lived.experiment.guests:
        name = guest.name
        had = [seen["current_kib"] / 1024 for tick in ticks for seen in tick["view"]["guests"] if seen["name"] == name]
        said |= {f"{name}: had at least (MiB)": min(had), f"{name}: had, median (MiB)": median(had)}
        if name in first.work:
            sooner, later = first.work[name], last.work[name]
            passed_s = later.at_s - sooner.at_s
            said[f"{name}: steps a second"] = (later.steps - sooner.steps) / passed_s
            said[f"{name}: of its time lost"] = (later.lost_s - sooner.lost_s) / passed_s
    ordered = sorted(between)
    said["between two ticks, median (s)"] = median(ordered)
    said["between two ticks, of 100 the longest but one (s)"] = ordered[int(0.99 * (len(ordered) - 1))]
    said["between two ticks, longest (s)"] = ordered[-1]
    said["events a minute"] = (len(stretch) - len(ticks)) / said["minutes"]
    said["the service's memory at the end (MiB)"] = last.resident_mib
    return said


def test_for_an_hour_honest_guests_have_what_they_would_have_without_the_hostile_ones(
    lived: Lived, tmp_path: Path
) -> None:
    lived.restore()
    honest = [guest for guest in lived.experiment.guests if guest.behaviour is None]
    hostile = [guest for guest in lived.experiment.guests if guest.behaviour is not None]
    said = {guest.name: tmp_path / f"{guest.name}.log" for guest in honest}
    with ExitStack() as stack, serving(lived, tmp_path, policy="ballast", allow_swap=True) as service:
        works = [stack.enter_context(told(lived, guest.name, work_of(guest), said[guest.name])) for guest in honest]
        for process in works:
            go(process)
        wait(service, WARM_S)
        looks = [look(service, said)]
        wait(service, QUIET_S)
        looks.append(look(service, said))
        for guest in hostile:
            assert guest.behaviour is not None
            fault = FAULTS[guest.behaviour.kind]
            argv = [*fault.command(guest.behaviour, guest.name)]
            machine = guest.name if fault.inside else "dom0"
            go(stack.enter_context(told(lived, machine, argv, tmp_path / f"{guest.name}.log")))
        wait(service, WARM_S)
        looks.append(look(service, said))
        wait(service, HOSTILE_S)
        looks.append(look(service, said))
        kills = {guest.name: int(lived.ask(guest.name, "sed -n 's/^oom_kill //p' /proc/vmstat")) for guest in honest}
        lines = service.lines()
    quiet, beside = figures(lived, lines, *looks[:2]), figures(lived, lines, *looks[2:])
    with MEASURED.open("w", newline="") as file:
        rows = [(name, f"{value:.4g}", f"{beside[name]:.4g}") for name, value in quiet.items()]
        csv.writer(file, lineterminator="\n").writerows([("figure", "without", "beside"), *rows])
    assert kills == {guest.name: 0 for guest in honest}
    for name in CONTENT:
        for figure in ("had at least (MiB)", "had, median (MiB)", "steps a second"):
            assert beside[f"{name}: {figure}"] >= 0.98 * quiet[f"{name}: {figure}"], (name, figure)
    (g3,) = (guest for guest in honest if guest.name not in CONTENT)
    assert beside["g3: had at least (MiB)"] >= 0.98 * g3.initial_mib
    assert beside["the service's memory at the end (MiB)"] <= quiet["the service's memory at the end (MiB)"] + 64
