"""The words of a verdict: what an interval, the band of the A/A test, and the facts of a lab are called."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st
from matplotlib.figure import Figure

from reports import lab, statistics, strip, tables, words
from reports.words import Verdict


@given(st.floats(1, 5), st.floats(0.2, 5), st.floats(1, 3))
def test_a_difference_inside_the_band_is_never_called_one(band: float, low: float, wide: float) -> None:
    row = {"n": 6, "speedup": low, "low": low, "high": low * wide, "band": band}
    inside = row["low"] <= band and row["high"] >= 1 / band
    assert (words.verdict(row) in (Verdict.BETTER, Verdict.WORSE)) == (not inside)
    assert words.verdict(row | {"band": math.nan}) == words.verdict(row | {"band": 1.0})


@pytest.mark.parametrize(
    ("low", "high", "expected"),
    [
        (1.021, 1.1, Verdict.BETTER),
        (1.02, 1.1, Verdict.NOISE),
        (1.001, 1.5, Verdict.NOISE),
        (0.99, 1.5, Verdict.OPEN),
        (0.5, 0.99, Verdict.NOISE),
        (0.5, 0.98, Verdict.WORSE),
    ],
)
def test_an_interval_must_leave_out_all_of_the_band(low: float, high: float, expected: Verdict) -> None:
    assert words.verdict({"n": 6, "speedup": 1.0, "low": low, "high": high, "band": 1.02}) is expected


def test_work_that_stopped_is_worse_unless_it_stops_at_times_under_the_same_policy_too() -> None:
    row = {"n": 6, "speedup": 0.0, "low": 0.0, "high": 0.0}
    assert words.verdict(row | {"band": 1.02}) is Verdict.WORSE
    assert words.verdict(row | {"band": math.inf}) is Verdict.NOISE


def test_a_difference_that_does_not_hold_among_all_comparisons_may_be_chance() -> None:
    row = {"n": 6, "speedup": 1.2, "low": 1.1, "high": 1.3, "band": 1.02}
    assert words.verdict(row | {"wilcoxon_p_holm": 0.031}) is Verdict.BETTER
    assert words.verdict(row | {"wilcoxon_p_holm": 0.0625}) is Verdict.CHANCE
    assert words.verdict(row | {"wilcoxon_p_holm": math.nan}) is Verdict.CHANCE
    assert words.verdict(row | {"low": 1.01, "wilcoxon_p_holm": 0.0625}) is Verdict.NOISE


def test_what_is_no_result_is_not_called_one() -> None:
    row = {"n": 6, "speedup": 0.97, "low": 0.97, "high": 0.97}
    assert words.verdict(row) is Verdict.WORSE
    assert words.verdict(row | {"observations": 1}) is Verdict.OBSERVATION
    assert words.verdict(row | {"undecided": 1.0}) is Verdict.HELD
    assert words.verdict(row | {"undecided": 0.9}) is Verdict.WORSE
    assert words.estimate(row | {"observations": 1}).endswith("(n = 6, all the same, which is one observation)")
    assert words.estimate(row | {"observations": 4}).endswith("(n = 6, of which 4 differ)")


def test_a_ratio_and_its_inverse_deviate_alike() -> None:
    assert statistics.deviations([2.0, 0.5, 1.0, math.nan]).tolist() == [1.0, 1.0, 0.0]
    assert statistics.band([1.1, 0.8]) == 1.25
    assert math.isinf(statistics.band([1.0, 0.0]))
    assert math.isnan(statistics.band([]))


@pytest.mark.parametrize(
    ("share", "text"),
    [
        (0.003, "0.30 %"),
        (0.00341, "0.35 %"),
        (0.0, "0.00 %"),
        (0.02, "2.0 %"),
        (0.0204, "2.1 %"),
        (1.5, f"2.50{words.TIMES}"),
    ],
)
def test_a_deviation_is_rounded_up_since_it_is_said_to_be_at_most_that(share: float, text: str) -> None:
    assert words.deviation(share) == text


def test_the_strip_lies_where_the_band_is() -> None:
    axes = Figure().subplots()
    strip.across(axes, 1.25, "y", (0.1, 10))
    (patch,) = axes.patches
    box = patch.get_extents().transformed(axes.transData.inverted())
    assert (box.y0, box.y1) == (pytest.approx(0.8), pytest.approx(1.25))
    strip.across(axes, math.nan, "y", (0.1, 10))
    assert len(axes.patches) == 1
    strip.across(axes, math.inf, "y", (0.1, 10))
    assert axes.patches[-1].get_extents().transformed(axes.transData.inverted()).y1 == pytest.approx(10)


@pytest.mark.parametrize(
    ("facts", "line"),
    [
        ({}, ""),
        ({"lab": False, "memory_mib": 4096}, ""),
        ({"lab": True}, "Lab."),
        (
            {"lab": True, "accelerator": "tcg", "accelerator_why": "no /dev/kvm", "memory_mib": 2200},
            "Lab: 2200 MiB of memory; QEMU with tcg (no /dev/kvm).",
        ),
        (
            {"lab": True, "lab_clock": "instructions", "processor_mips": 250.0,
             "disks": {"swap": {"latency_ms": 2, "mb_per_s": 100}, "data": {"depth": 1}, "none": None}},
            "Lab in virtual time: one emulated processor of 250 MIPS; swap disk 2 ms a request, 100 MB/s; "
            "data disk depth 1.",
        ),
        ({"lab": True, "lab_clock": "real", "accelerator": "kvm"}, "Lab in real time: QEMU with kvm."),
    ],
)  # fmt: skip
def test_what_the_lab_was_is_told_from_what_the_manifest_has(facts: dict[str, object], line: str) -> None:
    assert lab.told(facts) == line


def test_the_sentence_on_page_one_names_no_more_guests_than_can_be_read() -> None:
    assert words.some([f"g{n} 1 %" for n in range(8)], "speedup").endswith("g5 1 % and 2 more in tables/speedup.csv")
    assert words.some(["a", "b", "c"], "speedup") == "a, b and c"


def test_a_number_has_a_minus_and_an_exponent_that_can_be_printed() -> None:
    minus, sign = words.MINUS, words.TIMES
    numbers = [words.number(value) for value in (-0.619, -1234.5, 9.654e-5)]
    assert numbers == [f"{minus}0.619", f"{minus}1,234", f"9.65{sign}10⁻⁵"]
    assert words.points(-0.5) == f"{minus}0.50"
    assert tables.escaped(numbers[0]) == r"\ensuremath{-}0.619"
    assert tables.escaped(numbers[2]) == r"9.65\ensuremath{\times}10\ensuremath{^{-}}\ensuremath{^{5}}"
