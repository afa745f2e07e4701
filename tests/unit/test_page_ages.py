"""The ages of a guest's pages: from the kernel's generations, by the sampler's line, to the view."""

from __future__ import annotations

import math
import os
import shutil
import signal
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.xen.client import SAMPLER
from harness.xen.facts import GENERATIONS, LARGEST_KIB, LONGEST_LINE, SampleError, parse_sample
from harness.xen.page_ages import histogram, touched_kib

MIB = 1024
LINE = b"B1 seq=0 mono_ms=1000 ages="
LAB = ((0.0, 39 * MIB, 2 * MIB), (15.0, 0.0, 1 * MIB), (30.0, 80 * MIB, 30 * MIB))
RECORDED = """\
memcg     1 /
 node     0
          1     900000      19924        7600
          2       2500          0         256
          3       1500       9000         512
          4        500       1396           0
memcg     7 /system.slice
 node     0
          5      40000        100           0
          6       2400          0         200
"""
"""In the kernel's form; the first group with what the lab measured, 80 MiB touched once and 40 MiB always."""

perl = pytest.mark.skipif(shutil.which("perl") is None, reason="needs perl, which every Debian and Ubuntu guest has")


def test_a_generation_is_read_with_its_age_and_its_sizes() -> None:
    said = parse_sample(LINE + b"0:256:512,15000:0:1")
    assert said.page_ages == ((0.0, 1024.0, 2048.0), (15.0, 0.0, 4.0))


def test_a_guest_that_does_not_tell_ages_has_none() -> None:
    assert parse_sample(b"B1 seq=0 mono_ms=1000").page_ages is None
    assert math.isnan(touched_kib(None, 30))


@pytest.mark.parametrize(
    "words",
    [b"", b"1", b"1:2", b"1:2:3:4", b"1:2:3,", b",1:2:3", b"-1:2:3", b"1:2:1e3", b"1:2:99999999999",
     b"1:2:3 ages=1:2:3",     b"1:2:3 1:2:3", b",".join([b"1:2:3"] * (GENERATIONS + 1))],
)  # fmt: skip
def test_ages_that_are_not_as_the_sampler_writes_them_are_refused(words: bytes) -> None:
    with pytest.raises(SampleError):
        parse_sample(LINE + words)


@given(st.lists(st.tuples(*[st.integers(0, 10**10 - 1)] * 3), min_size=1, max_size=GENERATIONS))
def test_whatever_generations_a_guest_claims_the_sizes_can_be_added_up(claimed: list[tuple[int, int, int]]) -> None:
    line = LINE + b",".join(b"%d:%d:%d" % generation for generation in claimed)
    if len(line) > LONGEST_LINE:
        return
    generations = parse_sample(line).page_ages
    assert generations is not None
    assert sum(kib for _, kib in histogram(generations)) <= LARGEST_KIB
    assert touched_kib(generations, 30) <= LARGEST_KIB


def test_touched_is_what_is_not_known_to_have_been_idle_for_the_window() -> None:
    assert histogram(LAB) == ((0.0, 41 * MIB), (15.0, 1 * MIB), (30.0, 110 * MIB))
    assert touched_kib(LAB, 30) == 42 * MIB
    assert touched_kib(LAB, 60) == 152 * MIB, "nobody knows yet"


@contextmanager
def sampler(kernel: Path, aging_s: str) -> Iterator[subprocess.Popen[bytes]]:
    """The sampler, with a line every tenth of a second."""
    command = ["perl", "-", "0.1", aging_s, str(kernel), str(kernel)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        assert process.stdin
        process.stdin.write(SAMPLER.read_bytes() + b"__END__\n")
        process.stdin.flush()
        yield process


def lines(process: subprocess.Popen[bytes], count: int) -> list[bytes]:
    assert process.stdout
    return [process.stdout.readline() for _ in range(count)]


def end(process: subprocess.Popen[bytes]) -> None:
    assert process.stdin
    process.stdin.close()
    assert process.wait(5) == 0


def as_it_was(kernel: Path) -> bool:
    settings = kernel / "mm/lru_gen/enabled", kernel / "watermark_boost_factor"
    return [path.read_text() for path in settings] == ["0x0000\n", "15000\n"]


def sampled(kernel: Path, count: int, aging_s: str) -> list[bytes]:
    with sampler(kernel, aging_s) as process:
        said = lines(process, count)
        boosted = (kernel / "watermark_boost_factor").read_text().splitlines()[0]
        assert boosted == ("15000" if parse_sample(said[0]).page_ages is None else "0"), (
            "kswapd would take all the time"
        )
        end(process)
        return said


def looker(process: subprocess.Popen[bytes]) -> int:
    return int(Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text())


@pytest.fixture
def kernel(tmp_path: Path) -> Path:
    (tmp_path / "mm/lru_gen").mkdir(parents=True)
    (tmp_path / "mm/lru_gen/enabled").write_text("0x0000\n")
    (tmp_path / "watermark_boost_factor").write_text("15000\n")
    (tmp_path / "debug").mkdir()
    (tmp_path / "debug/lru_gen").write_text(RECORDED)
    return tmp_path


@perl
def test_the_sampler_adds_up_groups_and_dates_pages_by_the_generation_that_came_after_theirs(kernel: Path) -> None:
    first, *_, last = (parse_sample(line).page_ages for line in sampled(kernel, 22, "2"))
    assert last == (
        (0.0, 4.0 * (9000 + 1396 + 100), 4.0 * (512 + 200)),
        (1.0, 0.0, 4.0 * 256),
        (2.0, 4.0 * 19924, 4.0 * 7600),
    )
    assert first == ((0.0, 4.0 * (19924 + 9000 + 1396 + 100), 4.0 * (7600 + 256 + 512 + 200)),), "nobody looked before"


@perl
def test_the_sampler_turns_the_generations_on_ages_every_group_and_leaves_all_as_it_was(kernel: Path) -> None:
    sampled(kernel, 4, "0.2")
    told = (kernel / "debug/lru_gen").read_text().removeprefix(RECORDED).splitlines()
    assert told[:2] == ["+ 1 0 4 1 1", "+ 7 0 6 1 1"]
    assert as_it_was(kernel)


@perl
def test_lines_do_not_wait_while_the_kernel_looks(kernel: Path) -> None:
    """Where Xen writes every page's entry for the guest, looking takes seconds; who is stopped takes longer."""
    with sampler(kernel, "1") as process:
        lines(process, 1)
        os.kill(looker(process), signal.SIGSTOP)
        assert all(parse_sample(line).page_ages for line in lines(process, 20))
        assert (kernel / "debug/lru_gen").read_text() == RECORDED
        os.kill(looker(process), signal.SIGCONT)


@perl
def test_a_guest_is_looked_at_for_a_twentieth_of_its_time_at_most(kernel: Path) -> None:
    with sampler(kernel, "1") as process:
        lines(process, 1)
        os.kill(looker(process), signal.SIGSTOP)
        lines(process, 20)  # it is asked to look meanwhile, and takes a second for it
        os.kill(looker(process), signal.SIGCONT)
        lines(process, 25)
    assert (kernel / "debug/lru_gen").read_text().removeprefix(RECORDED).count("+ 1 0 ") == 1


@perl
def test_what_a_killed_looker_saw_is_not_told_for_ever(kernel: Path) -> None:
    with sampler(kernel, "0.2") as process:
        assert parse_sample(lines(process, 1)[0]).page_ages
        os.kill(looker(process), signal.SIGKILL)
        assert parse_sample(lines(process, 9)[-1]).page_ages is None


@perl
def test_a_killed_sampler_leaves_the_kernel_as_it_was(kernel: Path) -> None:
    with sampler(kernel, "0.2") as process:
        lines(process, 1)
        before = looker(process)
        process.kill()
    deadline_s = time.monotonic() + 10
    while Path(f"/proc/{before}").exists() and time.monotonic() < deadline_s:
        time.sleep(0.05)
    assert as_it_was(kernel)


@perl
def test_a_sampler_that_follows_another_looks_when_the_kernel_is_as_it_was(kernel: Path) -> None:
    """The looker of the first is in the kernel for seconds, and sets back at its end what the second would have set."""
    with sampler(kernel, "0.2") as first:
        lines(first, 1)
        old = looker(first)
        os.kill(old, signal.SIGSTOP)
        first.kill()
    with sampler(kernel, "0.2") as second:
        assert not any(parse_sample(line).page_ages for line in lines(second, 5)), "but lines come"
        os.kill(old, signal.SIGCONT)
        assert any(parse_sample(lines(second, 1)[0]).page_ages for _ in range(100))
        assert (kernel / "watermark_boost_factor").read_text().splitlines()[0] == "0"
        end(second)
    assert as_it_was(kernel)


@perl
def test_a_sampler_that_waits_for_another_ends_when_it_is_told_to(kernel: Path) -> None:
    with sampler(kernel, "0.2") as first:
        lines(first, 1)
        os.kill(looker(first), signal.SIGSTOP)
        with sampler(kernel, "0.2") as second:
            assert not any(parse_sample(line).page_ages for line in lines(second, 2))
            end(second)
        os.kill(looker(first), signal.SIGCONT)
        end(first)
    assert as_it_was(kernel)


@perl
def test_without_being_asked_or_without_such_a_kernel_the_sampler_tells_no_ages(kernel: Path) -> None:
    assert parse_sample(sampled(kernel, 1, "0")[0]).page_ages is None
    assert (kernel / "mm/lru_gen/enabled").read_text() == "0x0000\n"
    (kernel / "debug/lru_gen").unlink()
    assert parse_sample(sampled(kernel, 1, "60")[0]).page_ages is None
