"""The lab's faults: each waits for the word, comes at its time, and ends when that is over."""

from __future__ import annotations

import math
import os
import subprocess
from collections.abc import Sequence
from pathlib import Path

import pytest

from harness.experiment.faults import FAULTS
from harness.experiment.sweep import Behaviour
from harness.xen.facts import SampleError, parse_sample, traffic

PROGRAMS = ("xl", "xenstore-chmod", "pkill", "sleep", "mv", "install")

IMPOSTOR_COMES = [
    "mv /usr/bin/perl /usr/bin/perl.own", "install -m 644 /proc/self/fd/0 /run/impostor.pl",
    "install -m 755 /proc/self/fd/0 /usr/bin/perl", "pkill -KILL -f ^perl - ",
]  # fmt: skip
IMPOSTOR_GOES = [
    "mv -f /usr/bin/perl.own /usr/bin/perl",
    "pkill -KILL -f ^(/usr/bin/perl.own /run/impostor.pl|yes$)",
]


def told(time_s: int) -> str:
    """What the true sampler says at a time."""
    return (
        f"B1 seq={time_s - 5} mono_ms={time_s * 1000} Buffers=1000 Cached=9000 Committed_AS=120000 MemAvailable=200000 "
        "MemFree=190000 MemTotal=300000 SwapFree=8 SwapTotal=10 oom_kill=0 pswpin=3 pswpout=4 pgmajfault=5 "
        "psi_some_us=7 psi_full_us=6"
    )


def done_by(kind: str, tmp_path: Path, said: str = "go\n", **times: float) -> list[str]:
    """What a fault does, in its order, as programs see it that only take notes."""
    for name in PROGRAMS:
        (tmp_path / name).write_text(f'#!/bin/sh\necho {name} "$@" >>"{tmp_path}/log"\n[ "$1" != domid ] || echo 7\n')
        (tmp_path / name).chmod(0o755)
    (tmp_path / "log").touch()
    behaviour = Behaviour(kind=kind, **times)
    argv = FAULTS[behaviour.kind].command(behaviour, "db [old]")
    path = {**os.environ, "PATH": f"{tmp_path}:{os.environ['PATH']}"}
    subprocess.run(argv, input=said, text=True, env=path, check=False, capture_output=True)
    return (tmp_path / "log").read_text().splitlines()


@pytest.mark.parametrize(
    ("kind", "begins", "ends"),
    [
        ("paused", ["xl pause db [old]"], ["xl unpause db [old]"]),
        ("rebooting", ["xl destroy db [old]"], ["xl create -q /etc/xen/ballast/db [old].cfg"]),
        ("stale", ["pkill -STOP -f ^perl - "], ["pkill -CONT -f ^perl - "]),
        (
            "stuck",
            ["xl domid db [old]", "xenstore-chmod /local/domain/7/memory/target n0"],
            ["xl domid db [old]", "xenstore-chmod /local/domain/7/memory/target n0 r7"],
        ),
        *((kind, IMPOSTOR_COMES, IMPOSTOR_GOES) for kind in ("lying", "claiming", "babbling", "flooding")),
    ],
)
def test_a_fault_comes_at_its_time_and_ends(kind: str, begins: list[str], ends: list[str], tmp_path: Path) -> None:
    assert done_by(kind, tmp_path, at_s=4, for_s=2.5) == ["sleep 4", *begins, "sleep 2.5", *ends]


def said_by(kind: str, tmp_path: Path, true: Sequence[str] = (told(5),)) -> list[bytes]:
    """What the arbiter hears of a guest where an impostor answers to the sampler's name."""
    perl, fault = tmp_path / "perl.own", FAULTS[Behaviour(kind=kind).kind]
    perl.write_text("#!/bin/sh\ncat >/dev/null\ncat <<END\n" + "\n".join(true) + "\nEND\n")
    perl.chmod(0o755)
    script = tmp_path / "impostor.pl"
    script.write_text(fault.text.replace("/usr/bin/perl.own", str(perl)))
    argv = ["perl", str(script), kind, "2", "-", "1"]
    return subprocess.run(argv, input=b"", capture_output=True, check=True, timeout=20).stdout.split(b"\n")[:-1]


def test_a_liar_says_it_uses_and_has_committed_so_many_times_what_it_does(tmp_path: Path) -> None:
    (line,) = said_by("lying", tmp_path)
    said = parse_sample(line)
    assert (said.mem_total_kib, said.mem_available_kib, said.mem_free_kib) == (300_000, 100_000, 100_000)
    assert (said.buffers_kib, said.cached_kib, said.committed_kib) == (0, 0, 240_000)


def test_one_who_babbles_says_what_is_no_sample_and_then_that_it_boots_and_kills(tmp_path: Path) -> None:
    nonsense, line = said_by("babbling", tmp_path)
    assert nonsense.startswith(b"\x1b[2J")
    with pytest.raises(SampleError):
        parse_sample(nonsense)
    said = parse_sample(line)
    assert (said.oom_kills, said.mono_s, math.isnan(said.swap_free_kib)) == (1, 0.001, True)


def test_one_who_claims_has_lost_all_its_time_and_is_silent_then(tmp_path: Path) -> None:
    first, second = map(parse_sample, said_by("claiming", tmp_path, [told(seconds) for seconds in range(5, 13)]))
    assert second.seq - first.seq == 5
    between = traffic(first, second)
    assert between.stall_some_s == between.stall_full_s == 5
    assert between.swap_in_kib == between.swap_out_kib == 2**20


def test_one_without_an_end_stays(tmp_path: Path) -> None:
    assert done_by("paused", tmp_path, at_s=4) == ["sleep 4", "xl pause db [old]"]


def test_without_the_word_nothing_is_done(tmp_path: Path) -> None:
    """The trial ended before it began, and the connection with it."""
    assert done_by("paused", tmp_path, said="", for_s=2) == []
