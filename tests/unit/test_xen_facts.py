"""A guest's line is taken whole or not at all, and counters become rates only where that is possible."""

from __future__ import annotations

import math
from dataclasses import fields, replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.xen.facts import LONGEST_LINE, Rates, Sample, SampleError, parse_sample, rates, traffic

FIXTURES = Path(__file__).parents[1] / "fixtures" / "xen"


EXTRAS = {
    "SReclaimable": "reclaimable_slab_kib", "Hugetlb": "huge_pages_kib", "arc_size": "arc_kib",
    "arc_c_min": "arc_min_kib", "zram_used": "zram_kib", "zram_swapped": "zram_swapped_kib",
}  # fmt: skip


def recorded(name: str) -> list[Sample]:
    return [parse_sample(line) for line in (FIXTURES / f"{name}.txt").read_bytes().splitlines(keepends=True)]


def known(figure: float | tuple[object, ...] | None) -> bool:
    return figure is not None and (isinstance(figure, tuple) or not math.isnan(figure))


def sample(**figures: float) -> Sample:
    return replace(Sample(seq=1, mono_s=10.0), **figures)


@pytest.mark.parametrize("name", ["idle", "no-swap", "thrashing", "page-ages", "extras"])
def test_every_recorded_line_is_understood_to_the_last_figure(name: str) -> None:
    untold = {"swap_used_kib", "swap_device"} if name == "no-swap" else set()
    untold |= set() if name == "extras" else {"shmem_kib", *EXTRAS.values()}  # younger than the recordings
    untold |= set() if name in ("page-ages", "extras") else {"swap_cached_kib"}  # those were recorded before
    untold |= set() if name == "page-ages" else {"page_ages"}
    for said in recorded(name):
        assert {field.name for field in fields(said) if not known(getattr(said, field.name))} == untold


def test_a_recorded_line_gives_the_figures_that_the_guest_had() -> None:
    said = recorded("thrashing")[0]
    assert said.seq == 22
    assert said.mono_s == 2095.318
    assert said.mem_total_kib == 295152
    assert said.mem_available_kib == 9328
    assert said.committed_kib == 348596
    assert said.swap_used_kib == 107264
    assert said.swapped_in_kib == 714367 * 4
    assert said.stalled_some_s == pytest.approx(69.936696)
    assert said.swap_device == 202 * 256 + 16, "xvdb"


def test_recorded_thrashing_shows_as_traffic_and_stall() -> None:
    first, *_, last = recorded("thrashing")
    seen = rates(first, last)
    passed_s = 2098.313 - 2095.318
    assert seen.swap_in_kib_s == pytest.approx((714902 - 714367) * 4 / passed_s)
    assert seen.swap_out_kib_s == pytest.approx((865821 - 865014) * 4 / passed_s)
    assert seen.major_faults_s == pytest.approx((94269 - 94194) / passed_s)
    assert seen.stall_some == pytest.approx((70.050965 - 69.936696) / passed_s)
    assert seen.stall_full == pytest.approx((46.939110 - 46.851566) / passed_s)


def test_an_idle_guest_has_rates_of_zero_and_not_unknown_ones() -> None:
    first, *_, last = recorded("idle")
    assert rates(first, last) == Rates(**{field.name: 0.0 for field in fields(Rates)})


def test_what_the_guest_does_not_say_is_unknown_and_not_zero() -> None:
    said = parse_sample(b"B1 seq=0 mono_ms=1000 MemTotal=5")
    assert said.mem_total_kib == 5
    assert math.isnan(said.swap_total_kib)
    assert math.isnan(rates(said, parse_sample(b"B1 seq=1 mono_ms=2000 MemTotal=5")).stall_some)


@pytest.mark.parametrize(
    ("line", "why"),
    [
        (b"", "begins with"),
        (b"B2 seq=1 mono_ms=1", "begins with"),
        (b"B1 mono_ms=1", "seq is missing"),
        (b"B1 seq=1", "mono_ms is missing"),
        (b"B1 seq=1 mono_ms=1 MemTotal=-5", "not a name and a number"),
        (b"B1 seq=1 mono_ms=1 MemTotal=1e9", "not a name and a number"),
        (b"B1 seq=1 mono_ms=1 MemTotal=nan", "not a name and a number"),
        (b"B1 seq=1 mono_ms=1 MemTotal=", "not a name and a number"),
        (b"B1 seq=1 mono_ms=1  MemTotal=5", "not a name and a number"),
        (b"B1 seq=1 mono_ms=1 MemTotal=" + b"9" * 16, "not a name and a number"),
        (b"B1 seq=1 mono_ms=1 MemTotal=999999999999999", "more than there can be"),
        ("B1 seq=1 mono_ms=1 MemTotal=٣".encode(), "not a name and a number"),
        (b"B1 seq=1 mono_ms=1 MemTotal=5 MemTotal=6", "there twice"),
        (b"B1 seq=1 mono_ms=1 mem_total_kib=5", "no figure"),
        (b"B1 seq=1 mono_ms=1 __class__=5", "no figure"),
        (b"B1 seq=1 mono_ms=1\nB1 seq=2 mono_ms=2\n", "not a name and a number"),
        (b"B1 " + b" " * LONGEST_LINE, "at most"),
    ],
)
def test_a_line_that_is_not_as_the_sampler_writes_it_is_refused_with_the_reason(line: bytes, why: str) -> None:
    with pytest.raises(SampleError, match=why):
        parse_sample(line)


NEGATIVE = b"18446744073709551612"
"""-4, as a kernel prints it."""


@pytest.mark.parametrize("key", ["SwapFree", "MemAvailable", "pswpout", "oom_kill"])
def test_a_kernels_negative_number_is_unknown_and_the_line_lives(key: str) -> None:
    said = parse_sample(
        b"B1 seq=1 mono_ms=1000 MemTotal=500 SwapTotal=90 %s=%s pgmajfault=7" % (key.encode(), NEGATIVE)
    )
    assert (said.mem_total_kib, said.swap_total_kib, said.major_faults) == (500, 90, 7)
    unknown = {field.name for field in fields(said) if not known(getattr(said, field.name))}
    assert {"SwapFree": "swap_free_kib", "MemAvailable": "mem_available_kib", "pswpout": "swapped_out_kib",
            "oom_kill": "oom_kills"}[key] in unknown  # fmt: skip


def test_more_free_than_there_is_as_a_32_bit_kernel_has_it_is_unknown() -> None:
    said = parse_sample(b"B1 seq=1 mono_ms=1000 MemTotal=500 MemFree=400 SwapTotal=90 SwapFree=4294967292")
    assert math.isnan(said.swap_free_kib)
    assert said.mem_free_kib == 400


LINE = b"B1 seq=1 mono_ms=1000 MemTotal=5000 SwapTotal=5000 "


def test_what_refines_used_memory_is_read_in_kib_whatever_it_is_told_in() -> None:
    said = parse_sample(
        LINE + b"SReclaimable=70 Hugetlb=2048 arc_size=1049600 arc_c_min=10000 zram_used=4096 zram_swapped=11"
    )
    assert [getattr(said, name) for name in EXTRAS.values()] == [70, 2048, 1025, 9, 4, 11]


@pytest.mark.parametrize("key", EXTRAS)
@pytest.mark.parametrize(
    "figure",
    [b"-5", b"nan", b"1e3", b"text", b"", b"=", b"5kB", NEGATIVE, b"9" * 15, b"9" * 18, b"9" * 400, b"5121000000"],
)
def test_what_refines_used_memory_and_cannot_be_is_unknown_and_the_line_lives(key: str, figure: bytes) -> None:
    said = parse_sample(LINE + key.encode() + b"=" + figure + b" MemFree=9")
    assert (said.mem_total_kib, said.mem_free_kib) == (5000, 9)
    assert math.isnan(getattr(said, EXTRAS[key]))
    assert {name for name in EXTRAS.values() if known(getattr(said, name))} == set()


@pytest.mark.parametrize("key", ["seq", "mono_ms"])
def test_a_line_without_a_moment_is_no_sample(key: str) -> None:
    line = {"seq": b"1", "mono_ms": b"1"} | {key: NEGATIVE}
    with pytest.raises(SampleError, match="more than there can be"):
        parse_sample(b"B1 " + b" ".join(name.encode() + b"=" + number for name, number in line.items()))


HOSTILE = st.binary(max_size=200) | st.binary(max_size=200).map(lambda tail: b"B1 seq=1 mono_ms=1 " + tail)


@given(HOSTILE)
def test_no_bytes_whatever_do_more_than_be_refused_in_a_few_words(line: bytes) -> None:
    try:
        said = parse_sample(line)
    except SampleError as error:
        refusal = str(error)
    else:
        refusal = ""
        figures = (getattr(said, field.name) for field in fields(said) if field.name != "page_ages")
        assert all(math.isnan(figure) or figure >= 0 for figure in figures)
    assert len(refusal) < 300, "a guest must not write our logs full"


def test_a_guest_that_was_rebooted_has_no_rates_until_the_next_sample() -> None:
    before, after = sample(mono_s=500.0, major_faults=10.0), sample(mono_s=3.0, major_faults=90.0)
    assert all(math.isnan(getattr(rates(before, after), field.name)) for field in fields(Rates))
    assert math.isnan(traffic(before, after).major_faults)


def test_a_counter_that_goes_backward_is_unknown_and_the_others_are_not() -> None:
    before = sample(mono_s=1.0, major_faults=10.0, swapped_in_kib=10.0)
    after = sample(mono_s=2.0, major_faults=9.0, swapped_in_kib=30.0)
    seen = rates(before, after)
    assert math.isnan(seen.major_faults_s)
    assert seen.swap_in_kib_s == 20.0


def test_the_share_of_stall_is_by_the_guests_own_clock_and_at_most_one() -> None:
    before = sample(mono_s=10.0, stalled_some_s=1.0, stalled_full_s=0.0)
    half = rates(before, sample(mono_s=14.0, stalled_some_s=3.0, stalled_full_s=0.0))
    assert half.stall_some == 0.5
    assert half.stall_full == 0.0
    assert rates(before, sample(mono_s=11.0, stalled_some_s=900.0)).stall_some == 1.0


def test_a_kernel_that_counts_only_file_refaults_still_has_a_rate() -> None:
    before, after = sample(mono_s=1.0, refaulted_file_kib=4.0), sample(mono_s=2.0, refaulted_file_kib=12.0)
    assert rates(before, after).refault_kib_s == 8.0


def test_oom_kills_and_traffic_add_up_over_a_whole_trial() -> None:
    begin, end = (
        sample(mono_s=1.0, oom_kills=2.0, swapped_out_kib=0.0),
        sample(mono_s=99.0, oom_kills=5.0, swapped_out_kib=8.0),
    )
    assert traffic(begin, end).oom_kills == 3
    assert traffic(begin, end).swap_out_kib == 8
