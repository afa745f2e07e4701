"""A guest may send what it likes; only whole, recent lines get in, at a bounded rate."""

from __future__ import annotations

from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from harness.xen.facts import LONGEST_LINE
from harness.xen.intake import BURST_BYTES, BYTES_S, Intake


def test_lines_come_out_whole_however_they_were_cut() -> None:
    intake = Intake()
    assert intake.take(b"B1 se") == []
    assert intake.take(b"q=1\nB1 seq=2\nB1") == [b"B1 seq=1", b"B1 seq=2"]
    assert intake.take(b" seq=3\n") == [b"B1 seq=3"]
    assert intake.dropped_lines == 0


@given(st.lists(st.integers(0, 300), max_size=8))
def test_one_line_at_a_time_nothing_is_lost(cuts: list[int]) -> None:
    stream = b"".join(b"line %d\n" % i for i in range(30))
    places = [0, *sorted(min(cut, len(stream)) for cut in cuts), len(stream)]
    intake = Intake()
    taken = [line for start, end in pairwise(places) for line in intake.take(stream[start:end])]
    assert taken == sorted(taken, key=lambda line: int(line.split()[1]))
    assert len(taken) + intake.dropped_lines == 30
    assert taken[-1] == b"line 29"


def test_of_a_burst_only_the_newest_two_lines_are_read() -> None:
    intake = Intake()
    assert intake.take(b"1\n2\n3\n4\n5\n") == [b"4", b"5"]
    assert intake.dropped_lines == 3


def test_a_line_without_end_is_not_kept_in_memory_and_does_not_stop_those_after_it() -> None:
    intake = Intake()
    for _ in range(1000):
        assert intake.take(b"x" * LONGEST_LINE) == []
    assert intake.take(b"tail\nB1 seq=1\n") == [b"B1 seq=1"]
    assert intake.dropped_lines == 1


def test_a_guest_that_keeps_to_its_measure_is_never_kept_waiting() -> None:
    intake = Intake()
    for second in range(1000):
        assert intake.pause_s(float(second)) == 0
        intake.take(b"x" * 450 + b"\n")


def test_a_guest_that_floods_is_read_no_faster_than_its_measure() -> None:
    intake = Intake()
    now_s, taken = 0.0, 0
    while now_s < 100:
        now_s += intake.pause_s(now_s) + 0.001
        intake.take(b"x\n" * 2048)
        taken += 4096
    assert taken <= BURST_BYTES + 101 * BYTES_S
