"""Our own workloads, run for real, for a second or two each."""

from __future__ import annotations

import json
import os
import random
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator
from importlib import import_module
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from harness.experiment.workloads import WORKLOADS, load_workloads
from tests.unit.starting import go, paced, told, untold


def command(name: str, *, duration_s: float, **parameters: float | str) -> list[str]:
    workload = load_workloads(names=[name])[name]
    assert list(workload.problems(parameters)) == []
    found = workload.command(parameters, duration_s=duration_s, seed=1, directory=str(WORKLOADS))
    return [sys.executable, *found[1:]]


def start(name: str, *, duration_s: float, **parameters: float | str) -> subprocess.Popen[str]:
    return told(command(name, duration_s=duration_s, **parameters))


def finish(process: subprocess.Popen[str]) -> dict[str, Any]:
    output, errors = process.communicate(timeout=30)
    assert (process.returncode, errors) == (0, "")
    *before, last = output.splitlines()
    assert before in (["ready"], [])  # [] if the test has read it
    figures = json.loads(last)
    assert isinstance(figures, dict)
    return figures


def resident_mib(process: subprocess.Popen[str]) -> float:
    fields = Path(f"/proc/{process.pid}/statm").read_text(encoding="utf-8").split()
    return int(fields[1]) * os.sysconf("SC_PAGESIZE") / 2**20


@pytest.fixture(name="program")
def _program(monkeypatch: pytest.MonkeyPatch) -> Iterator[ModuleType]:
    """Let the modules of the workloads be imported, and undo afterwards what they do to this process."""
    monkeypatch.syspath_prepend(str(WORKLOADS))
    handlers = {number: signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGINT)}
    yield import_module("touching")
    for number, handler in handlers.items():
        signal.signal(number, handler)
    for name in ("touching", "mono", "random_touch"):
        sys.modules.pop(name, None)


def test_mono_with_ample_memory_does_what_is_asked_and_loses_nothing() -> None:
    figures = finish(start("mono", duration_s=1.5, low_mib=16, high_mib=16, rate_mib_s=1, hold_s=1, passes_per_s=10))
    assert paced(figures["passes_per_s"], 10)
    assert paced(figures["touched_mib_per_s"], 160)
    assert figures["lost_s"] < 1
    assert figures["ended"] == "deadline"


def test_mono_that_cannot_keep_the_pace_says_how_much_time_it_lost() -> None:
    figures = finish(start("mono", duration_s=1, low_mib=64, high_mib=64, rate_mib_s=1, hold_s=1, passes_per_s=100_000))
    assert figures["lost_s"] == pytest.approx(figures["elapsed_s"], rel=0.3)


def test_mono_takes_memory_and_gives_it_back() -> None:
    process = start("mono", duration_s=3, low_mib=1, high_mib=100, rate_mib_s=100, hold_s=0.3, passes_per_s=50)
    seen: list[float] = []
    while process.poll() is None and len(seen) < 200:
        seen.append(resident_mib(process))
        time.sleep(0.02)
    figures = finish(process)
    assert figures["elapsed_s"] >= 3
    peak = seen.index(max(seen))
    assert max(seen) > 90
    assert min(seen[:peak]) < 30
    assert min(seen[peak:]) < 40, "what it does not want any more is no longer resident"


def test_random_with_ample_memory_touches_at_the_pace_that_is_asked() -> None:
    figures = finish(start("random", duration_s=1.5, footprint_mib=8, law="uniform", touches_per_s=500))
    assert paced(figures["touches_per_s"], 500)
    assert figures["lost_s"] < 1


def test_random_without_a_pace_touches_as_much_as_it_can() -> None:
    figures = finish(start("random", duration_s=1, footprint_mib=8, touches_per_s=0))
    assert figures["touches_per_s"] > 10_000
    assert figures["lost_s"] == 0


def test_leak_grows_by_its_rate_to_its_most_and_touches_at_its_pace_all_the_while() -> None:
    process = untold(command("leak", duration_s=4, live_mib=8, touches_per_s=500, rate_mib_s=20, most_mib=50))
    before_mib = resident_mib(process)
    assert before_mib > 8, "what it works on is there before the word"
    began_s = time.monotonic()
    go(process)
    grown: list[float] = []
    while process.poll() is None:
        grown.append(resident_mib(process) - before_mib)
        assert grown[-1] < 20 * (time.monotonic() - began_s) + 2
        time.sleep(0.02)
    figures = finish(process)
    assert {int(mib // 10) for mib in grown} >= {0, 1, 2, 3, 4}, "step by step"
    assert max(grown) == pytest.approx(50, abs=2)
    assert figures["leaked_mib"] == 50
    assert paced(figures["touches_per_s"], 500)
    assert figures["lost_s"] < 1


def test_leak_that_is_ended_says_how_far_it_got() -> None:
    figures = finish(start("leak", duration_s=1.2, live_mib=1, touches_per_s=100, rate_mib_s=5, most_mib=100))
    assert 4 <= figures["leaked_mib"] <= 5 * figures["elapsed_s"]


@pytest.mark.parametrize("name", ["mono", "random", "leak"])
@pytest.mark.parametrize("sent", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_ends_the_run_and_what_was_done_is_reported(name: str, sent: signal.Signals) -> None:
    process = untold(command(name, duration_s=60))
    go(process)
    time.sleep(0.5)
    process.send_signal(sent)
    figures = finish(process)
    assert figures["ended"] == "signal"
    assert 0 < figures["elapsed_s"] < 5


@pytest.mark.parametrize("name", ["mono", "random", "leak"])
def test_the_clock_starts_with_the_word_however_long_that_takes(name: str) -> None:
    process = untold(command(name, duration_s=0.5))
    time.sleep(2)
    assert process.poll() is None
    go(process)
    figures = finish(process)
    assert figures["ended"] == "deadline"
    assert 0.5 <= figures["elapsed_s"] < 2


@pytest.mark.parametrize("name", ["mono", "random", "leak", "idle"])
@pytest.mark.parametrize("word", ["", "stop\n"])
def test_without_the_word_there_is_no_run(name: str, word: str) -> None:
    output, errors = (process := told(command(name, duration_s=60), word.encode())).communicate(timeout=30)
    assert (process.returncode, output) == (1, "ready\n")
    assert errors.startswith("failed: it was never told to go; by hand: echo go | ")


@pytest.mark.parametrize("name", ["mono", "random", "leak", "idle"])
@pytest.mark.parametrize("sent", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_before_the_word_ends_it_without_a_result(name: str, sent: signal.Signals) -> None:
    process = untold(command(name, duration_s=60))
    process.send_signal(sent)
    process.wait(20)  # its input still open
    output, errors = process.communicate(timeout=30)
    assert (process.returncode, output, errors) == (1, "", "failed: it was told to stop before it was told to go\n")


def test_random_has_filled_its_footprint_before_it_is_ready_and_mono_takes_its_own_in_the_run() -> None:
    filled = untold(command("random", duration_s=60, footprint_mib=64))
    bare = untold(command("mono", duration_s=60, low_mib=64, high_mib=64))
    assert resident_mib(filled) > 64 > resident_mib(bare)
    for process in (filled, bare):
        process.kill()
        process.communicate(timeout=10)


@pytest.mark.parametrize("name", ["mono", "random", "leak"])
def test_what_is_printed_holds_every_metric_that_the_file_promises(name: str) -> None:
    output = json.dumps(finish(start(name, duration_s=0.3)))
    assert all(metric.read(output) >= 0 for metric in load_workloads(names=[name])[name].metrics)


def test_the_wave_holds_low_rises_holds_high_and_falls(program: ModuleType) -> None:
    footprint_mib = import_module("mono").footprint_mib
    wave = [footprint_mib(time_s, 60, 360, 15.0, 8.0) for time_s in (0, 7.9, 18, 28, 32, 35.9, 46, 55.9, 57, 74)]
    assert wave == [60, 60, 210, 360, 360, 360, 210, 62, 60, 210]
    assert footprint_mib(5.0, 60, 60, 15.0, 0.0) == 60


def test_zipf_prefers_few_pages_and_uniform_none(program: ModuleType) -> None:
    popularity = import_module("random_touch").Popularity
    top = {}
    for law in ("uniform", "zipf"):
        drawn = Counter(popularity(law, 1.0, 1000, seed=1).draw(20_000))
        top[law] = sum(count for _, count in drawn.most_common(10)) / 20_000
    expected = sum(1 / rank for rank in range(1, 11)) / sum(1 / rank for rank in range(1, 1001))
    assert top["zipf"] == pytest.approx(expected, rel=0.05)
    assert top["uniform"] < 0.03


def test_the_same_seed_touches_the_same_pages(program: ModuleType) -> None:
    popularity = import_module("random_touch").Popularity
    draws = [popularity("zipf", 1.2, 500, seed=seed).draw(50) for seed in (1, 1, 2)]
    assert draws[0] == draws[1] != draws[2]


def test_pages_are_touched_in_chunks_of_one_size_however_slowly_they_come(
    program: ModuleType, monkeypatch: pytest.MonkeyPatch
) -> None:
    now = [0.0]
    monkeypatch.setattr(program.time, "monotonic", lambda: now[0])
    memory = program.Memory(program.Run(1000.0))
    chunks = []
    for first, last in memory._chunks():
        chunks.append((first, last))
        now[0] += 0.005 * (last - first)  # 5 ms a page: a guest that waits for its swap disk
    assert chunks == [(0, 64), (64, 128), (128, 192), (192, 256)]


def test_what_is_laid_out_before_the_word_has_no_deadline(program: ModuleType, monkeypatch: pytest.MonkeyPatch) -> None:
    now = [0.0]
    monkeypatch.setattr(program.time, "monotonic", lambda: now[0])
    run = program.Run(1.0)
    now[0] = 100.0
    assert run.check() == 100.0
    run.start()
    assert (run.start_s, run.deadline_s, run.elapsed_s) == (100.0, 101.0, 0.0)


def test_a_deadline_ends_a_pass_in_its_middle(program: ModuleType, monkeypatch: pytest.MonkeyPatch) -> None:
    now = [0.0]
    monkeypatch.setattr(program.time, "monotonic", lambda: now[0])
    run = program.Run(1.0)
    memory = program.Memory(run)
    memory.resize(1)
    run.start()
    for _, last in memory._chunks():
        now[0] = 0.99 if last < program.SEGMENT_PAGES else 1.0
    with pytest.raises(program.Over):
        memory.touch(0, random.randrange(1, 255))
    assert memory.touched_pages == 0
