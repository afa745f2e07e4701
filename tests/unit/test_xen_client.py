"""The guest's side: the sampler on this machine's own /proc, and commands that arrive as they were given."""

from __future__ import annotations

import math
import shutil
import subprocess
import threading
import time
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from harness.xen.client import SAMPLER, GuestClient
from harness.xen.facts import LONGEST_LINE, parse_sample
from harness.xen.machine import Machine
from harness.xen.process import command_line

perl = pytest.mark.skipif(shutil.which("perl") is None, reason="needs perl, which every Debian and Ubuntu guest has")


def sampler(period: str = "0.1") -> subprocess.Popen[bytes]:
    process = subprocess.Popen(["perl", "-", period], stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    assert process.stdin
    process.stdin.write(SAMPLER.read_bytes() + b"__END__\n")
    process.stdin.flush()
    return process


@perl
def test_the_sampler_says_what_proc_says_once_a_period_and_ends_with_its_input() -> None:
    process = sampler()
    assert process.stdin
    assert process.stdout
    lines = [process.stdout.readline() for _ in range(5)]
    process.stdin.close()
    assert process.wait(5) == 0
    process.stdout.close()
    said = [parse_sample(line) for line in lines]
    meminfo = dict(line.split()[:2] for line in Path("/proc/meminfo").read_text().splitlines())
    assert said[0].mem_total_kib == int(meminfo["MemTotal:"])
    assert not math.isnan(said[0].major_faults)
    assert said[-1].seq >= 4
    assert said[-1].mono_s - said[0].mono_s >= 0.39
    assert max(map(len, lines)) < LONGEST_LINE / 4


@perl
def test_the_sampler_told_now_speaks_at_once_and_from_then_on_at_whole_periods_after() -> None:
    process = sampler("2")
    assert process.stdin
    assert process.stdout
    first = parse_sample(process.stdout.readline())
    process.stdin.write(b"whatever\nno")
    process.stdin.flush()
    time.sleep(0.7)
    process.stdin.write(b"w\nno")
    process.stdin.flush()
    told, next_one = (parse_sample(process.stdout.readline()) for _ in range(2))
    process.stdin.close()
    assert process.wait(5) == 0
    process.stdout.close()
    assert [first.seq, told.seq, next_one.seq] == [0, 1, 2]
    assert told.mono_s - first.mono_s == pytest.approx(0.7, abs=0.3)
    assert next_one.mono_s - told.mono_s == pytest.approx(2, abs=0.2)


@perl
def test_the_sampler_ends_when_nobody_listens_any_more() -> None:
    process = sampler()
    assert process.stdin
    assert process.stdout
    process.stdout.readline()
    process.stdout.close()
    assert process.wait(5) == 0
    process.stdin.close()


@perl
def test_the_sampler_holds_its_files_open_and_starts_no_process() -> None:
    process = sampler()
    assert process.stdin
    assert process.stdout
    process.stdout.readline()
    descriptors = Path(f"/proc/{process.pid}/fd")
    held = {path.readlink() for path in descriptors.iterdir()}
    children = Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text()
    time.sleep(0.3)
    assert {path.readlink() for path in descriptors.iterdir()} == held
    assert {Path("/proc/meminfo"), Path("/proc/vmstat")} <= held
    assert children == ""
    process.stdin.close()
    process.stdout.close()
    process.wait(5)


MEMINFO = "MemTotal: 1000 kB\nMemFree: 100 kB\n"
ARCSTATS = """13 1 0x01 147 39984 5284 99
name                            type data
hits                            4    7
c_min                           4    1048576
size                            4    5242880
hdr_size                        4    4096
"""
SWAPS = "Filename Type Size Used Priority\n"


def read_in(kernel: Path, **files: str) -> bytes:
    """The first line of a sampler in whose kernel there are these files of /proc and /sys, and no others of theirs."""
    text = SAMPLER.read_bytes()
    for name, path in (
        ("meminfo", "/proc/meminfo"),
        ("swaps", "/proc/swaps"),
        ("arcstats", "/proc/spl/kstat/zfs/arcstats"),
        ("zram", "/sys/block"),
    ):
        text = text.replace(path.encode(), bytes(kernel / name))
    for name, content in files.items():
        path = kernel / name.replace("__", "/")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(content)
    with subprocess.Popen(["perl", "-", "0.1"], stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        assert process.stdin
        assert process.stdout
        process.stdin.write(text + b"__END__\n")
        process.stdin.flush()
        line = process.stdout.readline()
        process.stdin.close()
    return line


@perl
def test_the_sampler_leaves_out_what_its_kernel_has_as_a_negative_number(tmp_path: Path) -> None:
    meminfo = "MemTotal: 1000 kB\nSwapTotal: 500 kB\nSwapFree: 18446744073709551612 kB\n"
    line = read_in(tmp_path, meminfo=meminfo)
    assert b"SwapFree" not in line
    assert (parse_sample(line).mem_total_kib, parse_sample(line).swap_total_kib) == (1000, 500)


@perl
def test_the_sampler_tells_of_a_plain_kernel_its_slab_and_nothing_of_what_is_not_there(tmp_path: Path) -> None:
    said = parse_sample(read_in(tmp_path, meminfo=MEMINFO + "SReclaimable:    70 kB\nSUnreclaim:  50 kB\n"))
    assert said.reclaimable_slab_kib == 70
    others = (said.huge_pages_kib, said.arc_kib, said.arc_min_kib, said.zram_kib, said.zram_swapped_kib)
    assert all(map(math.isnan, others))


@perl
@pytest.mark.parametrize(
    ("told", "expected"),
    [
        ("HugePages_Total:       3\nHugePages_Free:        1\nHugepagesize:       2048 kB\n", 6144),
        ("HugePages_Total:       3\nHugepagesize:       2048 kB\nHugetlb:         8192 kB\n", 8192),
        ("HugePages_Total:       0\nHugepagesize:       2048 kB\nHugetlb:            0 kB\n", 0),
    ],
    ids=["of one size", "of all sizes", "none"],
)
def test_the_sampler_tells_what_is_set_aside_for_huge_pages(tmp_path: Path, told: str, expected: float) -> None:
    meminfo = MEMINFO.replace("1000 kB", "100000 kB") + told
    assert parse_sample(read_in(tmp_path, meminfo=meminfo)).huge_pages_kib == expected


@perl
def test_the_sampler_tells_the_cache_of_zfs_and_its_least(tmp_path: Path) -> None:
    said = parse_sample(read_in(tmp_path, meminfo=MEMINFO.replace("1000 kB", "9000 kB"), arcstats=ARCSTATS))
    assert (said.arc_kib, said.arc_min_kib) == (5120, 1024)


@perl
def test_the_sampler_adds_up_zram_and_its_swap_is_swap_too(tmp_path: Path) -> None:
    swaps = SWAPS + "/dev/zram0  partition  4000  300  100\n/dev/null  partition  5000  40  -2\n"
    stat = "  8192000  2000000  {}  0  2105344  12  0  0  0\n"
    said = parse_sample(
        read_in(
            tmp_path, meminfo=MEMINFO + "SwapTotal: 9000 kB\nSwapFree: 8660 kB\n", swaps=swaps,
            zram__zram0__mm_stat=stat.format(102400), zram__zram1__mm_stat=stat.format(51200),
            zram__sda__mm_stat=stat.format(4096),
        )
    )  # fmt: skip
    assert (said.zram_kib, said.zram_swapped_kib, said.swap_used_kib) == (150, 300, 340)
    assert said.swap_device == Path("/dev/null").stat().st_rdev, "the disk that dom0 knows, though zram comes first"


@settings(max_examples=30, deadline=None)
@given(st.lists(st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"])), max_size=4))
def test_the_shell_of_the_guest_gives_a_command_exactly_the_words_that_we_gave(words: list[str]) -> None:
    argv = ["printf", "%s\\0", *words]
    done = subprocess.run(["sh", "-c", command_line(argv)], capture_output=True, check=True)
    pid, _, output = done.stdout.partition(b"\n")
    assert pid.isdigit()
    assert output == b"".join(word.encode() + b"\0" for word in words or [""])


def test_a_command_that_is_killed_says_so_by_its_status() -> None:
    done = subprocess.run(["sh", "-c", command_line(["sh", "-c", "kill -9 $$"])], capture_output=True, check=False)
    assert done.returncode == 128 + 9


def client() -> GuestClient:
    return GuestClient(Machine(name="g1", address="a", key_file=Path("k"), known_hosts=Path("h")), events=tell)


told: list[tuple[str, str]] = []


def tell(event: str, guest: str, detail: str) -> None:
    told.append((event, detail))


def test_a_client_keeps_the_newest_two_samples_of_the_same_boot_and_tells_of_reboot_and_oom() -> None:
    guest = client()
    told.clear()
    assert math.isnan(guest.age_s(1.0))
    for line in (b"B1 seq=0 mono_ms=5000 oom_kill=0", b"B1 seq=1 mono_ms=6000 oom_kill=2"):
        guest._receive(line)
    assert guest.previous
    assert guest.newest
    assert (guest.previous.sample.seq, guest.newest.sample.seq) == (0, 1)
    guest._receive(b"B1 seq=0 mono_ms=100 oom_kill=0")
    assert guest.previous is None
    assert [event for event, _ in told] == ["oom_kill", "rebooted"]


def test_rates_are_not_taken_over_the_moment_between_a_sample_and_one_that_came_out_of_turn() -> None:
    guest = client()
    for line in (b"B1 seq=0 mono_ms=5000", b"B1 seq=1 mono_ms=6000", b"B1 seq=2 mono_ms=6010"):
        guest._receive(line)
    assert guest.previous
    assert guest.newest
    assert (guest.previous.sample.seq, guest.newest.sample.seq) == (0, 2)
    guest._receive(b"B1 seq=3 mono_ms=7010")
    assert (guest.previous.sample.seq, guest.newest.sample.seq) == (2, 3)


def test_one_can_wait_for_a_sample_that_is_younger_than_a_moment() -> None:
    guest = client()
    guest._receive(b"B1 seq=0 mono_ms=5000")
    assert guest.newest
    arrived_s = guest.newest.arrived_s
    assert guest.wait_for_sample(0)
    assert not guest.wait_for_sample(0.02, after_s=arrived_s)
    later = threading.Timer(0.05, guest._receive, [b"B1 seq=1 mono_ms=6000"])
    later.start()
    assert guest.wait_for_sample(10, after_s=arrived_s)
    later.join()


def test_a_guest_that_should_tell_ages_and_does_not_is_told_of_once() -> None:
    guest = client()
    guest.aging_s = 15.0
    told.clear()
    for line in (b"B1 seq=0 mono_ms=5000", b"B1 seq=1 mono_ms=6000"):
        guest._receive(line)
    assert [event for event, _ in told] == ["no_page_ages"]


def test_a_guest_that_tells_ages_no_more_is_told_of() -> None:
    guest = client()
    guest.aging_s = 15.0
    told.clear()
    for line in (b"B1 seq=0 mono_ms=5000 ages=0:1:1", b"B1 seq=1 mono_ms=6000", b"B1 seq=2 mono_ms=7000"):
        guest._receive(line)
    assert told == [("no_page_ages", "what looked at them in the guest was killed")]


def test_a_guest_that_sends_nonsense_is_told_of_ever_more_rarely() -> None:
    guest = client()
    told.clear()
    for _ in range(1000):
        guest._receive(b"nonsense")
    assert guest.bad_lines == 1000
    assert len(told) == 10
    assert guest.newest is None
