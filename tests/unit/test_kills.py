"""A simulated campaign is killed at random moments, whoever of it, and comes to the rows of an undisturbed one."""

from __future__ import annotations

import csv
import json
import multiprocessing
import os
import random
import re
import resource
import signal
import sys
import time
from collections.abc import Callable
from contextlib import suppress
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import Any

import pytest

from harness.cli import main
from harness.cli.ending import Exit
from harness.experiment import manifest, runs
from harness.records import RunFolder

EXPERIMENT = """\
name: small
pool_mib: 600
reserve_mib: 16
guests:
  - {name: a, workload: mono, with: {high_mib: 430}, min_mib: 160, initial_mib: 300, max_mib: 500}
  - {name: b, workload: random, min_mib: 160, initial_mib: 300, max_mib: 500}
policies: [static, two-state]
repetitions: 3
duration_s: 40
"""
FORK = multiprocessing.get_context("fork")  # what is imported is there at once, and the moments are the campaign's
WHO = ("parent", "worker", "group")
SIGNALS = (signal.SIGKILL, signal.SIGTERM, signal.SIGHUP)
KILLS = 12
LONGEST_S = 60.0


def command(folder: Path, largest_bytes: int) -> None:
    """`ballast simulate`, in a process group of its own and without a word; no file may become larger than that."""
    os.setsid()
    resource.setrlimit(resource.RLIMIT_FSIZE, (largest_bytes, resource.RLIM_INFINITY))
    sys.stdout, sys.stderr = Path(os.devnull).open("w"), (folder / "said").open("a", buffering=1)  # noqa: SIM115
    # An edit beside the tests would begin another run, as it should.
    for module in (runs, manifest):
        module.source, module.sources_sha256 = dict, str  # type: ignore[attr-defined]
    sys.argv = ["ballast", "simulate", str(folder / "small.yml"), "--out", str(folder), "--jobs", "2"]
    try:
        os._exit(main())
    except SystemExit as end:
        os._exit(int(end.code or 0))


def started(folder: Path, largest_bytes: int = resource.RLIM_INFINITY) -> BaseProcess:
    (folder / "small.yml").write_text(EXPERIMENT)
    process = FORK.Process(target=command, args=(folder, largest_bytes))
    process.start()
    return process


def ended(process: BaseProcess) -> int | None:
    process.join(LONGEST_S)
    return process.exitcode


def workers(process: BaseProcess) -> list[int]:
    with suppress(OSError):
        return list(map(int, Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text().split()))
    return []


def kill(process: BaseProcess, who: str, number: signal.Signals, chance: random.Random) -> None:
    assert process.pid
    with suppress(ProcessLookupError):
        match who:
            case "parent":
                os.kill(process.pid, number)
            case "worker" if there := workers(process):
                os.kill(chance.choice(there), number)
            case "group":
                os.killpg(process.pid, number)


def rows(folder: Path) -> list[Any]:
    """What a campaign has measured and decided, without what the controller's own clock says."""
    # One that was killed before it had a manifest has begun nothing; one that was killed after its end has ended.
    *_, path = sorted(path for path in (folder / "small").iterdir() if (path / "manifest.json").exists())
    assert RunFolder.open(path).changed_files() == {}, "it is sealed"
    found: list[Any] = []
    for name in ("trials.csv", "samples.csv"):
        with (path / name).open() as file:
            found.append([{**row, "run": ""} for row in csv.DictReader(file)])
    lines = map(json.loads, (path / "decisions.jsonl").read_text().splitlines())
    return [*found, [{**line, "run": "", "timing": None} for line in lines]]


def disturbed(folder: Path, chance: random.Random, longest_s: float, note: Callable[[str], None]) -> None:
    """Start a campaign, kill it once or twice, each time start it again at once, and let it end."""
    for _ in range(chance.choice((1, 1, 2))):
        campaign = started(folder)
        who, number, after_s = chance.choice(WHO), chance.choice(SIGNALS), chance.uniform(0, longest_s)
        time.sleep(after_s)
        kill(campaign, who, number, chance)
        if who == "worker":
            ended(campaign)
        elif number == signal.SIGKILL:
            campaign.join(0.01)  # what follows is begun while its workers still end
        else:
            ended(campaign)
        note(f"{who} {number.name} after {after_s:.2f} s: {campaign.exitcode}")
        if campaign.exitcode == Exit.DONE:
            return  # it was quicker
        assert campaign.exitcode in (None, -number, Exit.BAD_INPUT, Exit.STOPPED), (folder / "said").read_text()
    last = ended(started(folder))
    said = (folder / "said").read_text()
    assert last == Exit.DONE, said
    found = [path for path in (folder / "small").iterdir() if (path / "manifest.json").exists()]
    assert all(RunFolder.open(path).sealed for path in found), "none is abandoned"
    assert "Traceback" not in said


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> tuple[list[Any], float]:
    """What an undisturbed campaign leaves, and how long it takes."""
    folder = tmp_path_factory.mktemp("whole")
    began_s = time.monotonic()
    assert ended(started(folder)) == Exit.DONE, (folder / "said").read_text()
    return rows(folder), time.monotonic() - began_s


@pytest.mark.parametrize("seed", range(KILLS))
def test_a_campaign_that_is_killed_and_begun_again_at_once_has_the_rows_of_an_undisturbed_one(
    whole: tuple[list[Any], float], seed: int, tmp_path: Path
) -> None:
    told: list[str] = []
    disturbed(tmp_path, random.Random(seed), whole[1], told.append)
    assert rows(tmp_path) == whole[0], told


@pytest.mark.parametrize("largest_bytes", [0, 5_000, 40_000])
def test_a_campaign_whose_files_are_refused_says_why_with_2_and_goes_on_when_they_are_not(
    whole: tuple[list[Any], float], largest_bytes: int, tmp_path: Path
) -> None:
    (tmp_path / "said").touch()
    assert ended(started(tmp_path, largest_bytes)) == Exit.BAD_INPUT
    if largest_bytes:  # else it cannot even say so into a file
        said = (tmp_path / "said").read_text()
        assert re.fullmatch(r"ballast: .*File too large; allow larger files there .*\n", said)
    assert ended(started(tmp_path)) == Exit.DONE
    assert rows(tmp_path) == whole[0]
