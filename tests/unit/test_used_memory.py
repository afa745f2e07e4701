"""What counts as used: what could be given back does not, what could not be taken is never asked for."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from harness.governor import Governor, Limits
from harness.policies import Allocation, make, names
from harness.records import read_run
from harness.records.columns import YOUNGER
from harness.records.decision import decision_record
from harness.view import HostView
from reports.special.bruteforce import divisions
from tests.unit import synthetic_run as synthetic
from tests.unit.test_docs import section
from tests.unit.test_docs_policies import rows
from tests.unit.views import MIB, in_mib, make_view

KINDS = ("page cache", "shared memory", "reclaimable slab", "huge pages", "ARC", "zram")
BLANK = {name: np.zeros(3) for name in ("reclaimable_slab_kib", "huge_pages_kib", "arc_kib", "arc_min_kib", "zram_kib")}


def in_kib(*sizes: float) -> np.ndarray[Any, np.dtype[np.float64]]:
    return np.array(sizes) * MIB


def newcomer(**extra: float) -> HostView:
    """Two guests make way for a third: 700 MiB of the first, which has 800, are not its programs'; 48 MiB are."""
    view = make_view(
        [800, 1000], pool=800, lo=[64, 500], hi=2000, swap_fill=[0, 0],
        mem_total_kib=in_kib(800, 1000), mem_free_kib=in_kib(52, 80),
        buffers_kib=np.zeros(2), cached_kib=np.zeros(2),
    )  # fmt: skip
    return replace(view, **{name: in_kib(size, 0) for name, size in extra.items()})


@pytest.mark.parametrize(
    ("extra", "target"),
    [
        ({}, 300),
        ({"cached_kib": 700}, 73),
        ({"reclaimable_slab_kib": 700}, 73),
        ({"arc_kib": 740, "arc_min_kib": 40}, 73),
        ({"cached_kib": 300, "reclaimable_slab_kib": 300, "arc_kib": 132, "arc_min_kib": 32}, 73),
    ],
    ids=["programs", "page cache", "slab", "ARC", "all three"],
)
def test_price_takes_what_the_kernel_would_free_as_it_takes_page_cache(extra: dict[str, float], target: float) -> None:
    targets = in_mib(make("price").decide(newcomer(**extra)).targets_kib)
    assert targets == [target, 800 - target]


@pytest.mark.parametrize("kind", ["huge_pages_kib", "zram_kib"])
def test_price_leaves_a_guest_what_could_not_be_taken(kind: str) -> None:
    assert in_mib(make("price").decide(newcomer(**{kind: 700})).targets_kib) == [700, 500]


@pytest.mark.parametrize(
    "extra",
    [
        {"reclaimable_slab_kib": np.nan, "arc_kib": np.nan, "huge_pages_kib": np.nan},
        {"reclaimable_slab_kib": 749, "huge_pages_kib": 801, "zram_kib": 1 << 40},
        {"reclaimable_slab_kib": -1, "huge_pages_kib": np.inf, "arc_kib": 5000, "arc_min_kib": 0},
        {"arc_kib": 700},
        {"arc_min_kib": 0},
        {"arc_kib": 30, "arc_min_kib": 40},
    ],
)
@pytest.mark.parametrize("name", names())
def test_what_is_not_known_or_cannot_be_changes_nothing(extra: dict[str, float], name: str) -> None:
    said, plain = (make(name).decide(spoken(newcomer(**more))) for more in (extra, {}))
    np.testing.assert_array_equal(said.targets_kib, plain.targets_kib)
    assert said.reasons == plain.reasons
    view, without = newcomer(**extra), newcomer()
    for column in ("used_kib", "least_kib", "swap_on_disk_kib"):
        np.testing.assert_array_equal(getattr(view, column), getattr(without, column))


def spoken(view: HostView) -> HostView:
    """The same with what every policy needs to know."""
    rates = ("swap_in_kib_s", "swap_out_kib_s", "refault_kib_s", "stall_some", "stall_full")
    known = {name: np.zeros(len(view)) for name in rates} | {"committed_kib": view.mem_total_kib}
    return replace(
        view, **known, mem_available_kib=view.mem_free_kib, active_kib=view.mem_total_kib,
        page_ages=(((1.0, 1e5),),) * len(view), ghost_returns=((),) * len(view),
    )  # fmt: skip


def test_a_part_is_taken_off_only_while_there_is_something_left_to_take_it_off() -> None:
    view = newcomer(reclaimable_slab_kib=600, arc_kib=200, arc_min_kib=20)
    assert view.used_kib[0] == (748 - 600) * MIB, "with 180 of the ARC it would be below 0: one of the two is wrong"


def test_the_least_of_a_guest_is_what_cannot_be_taken_and_at_most_its_maximum() -> None:
    assert in_mib(newcomer(huge_pages_kib=400, zram_kib=100).least_kib) == [500, 500]
    assert in_mib(replace(newcomer(huge_pages_kib=400), max_kib=in_kib(300, 2000)).least_kib) == [300, 500]
    assert in_mib(newcomer(huge_pages_kib=400, zram_kib=400).least_kib) == [64, 500], "more than it uses"


@pytest.mark.parametrize("swap", [True, False])
def test_no_guest_gets_less_than_its_huge_pages_take_whatever_is_asked_for(swap: bool) -> None:
    view = replace(newcomer(huge_pages_kib=600), mem_available_kib=in_kib(790, 100), target_kib=in_kib(800, 1000))
    plan = Governor(Limits(allow_swap=swap)).plan(view, Allocation(targets_kib=in_kib(10, 900), reasons=("", "")))
    (step,) = (step for step in plan.steps if step.guest == "g1")
    assert step.target_kib == 600 * MIB
    assert "its huge pages and zram take 600 MiB" in step.reason


def test_what_zfs_could_give_is_available_to_the_governor_too() -> None:
    view = replace(newcomer(arc_kib=640, arc_min_kib=40), mem_available_kib=in_kib(52, 80))
    plan = Governor().plan(view, Allocation(targets_kib=in_kib(200, 1000), reasons=("", "")))
    (step,) = (step for step in plan.steps if step.guest == "g1")
    assert step.target_kib == 164 * MIB, "800 - 52 and a margin of 16, and 600 less than that"


def test_swap_on_zram_raises_no_price_and_swap_on_a_disk_does() -> None:
    def target(on_zram: float) -> float:
        view = make_view([500, 500], pool=1000, used=[300, 300], swap_fill=[0.5, 0])
        return in_mib(make("price").decide(replace(view, zram_swapped_kib=in_kib(on_zram, 0))).targets_kib)[0]

    assert target(512) == 500
    assert target(256) > 500
    assert target(0) == target(float("nan")) > target(256)


def test_a_run_from_before_there_were_these_columns_is_read_and_they_are_unknown(tmp_path: Path) -> None:
    path = synthetic.write_run(tmp_path / "run", blocks=1).path
    samples = path / "samples.csv"
    lines = [line.rsplit(",", len(YOUNGER) - 1)[0] for line in samples.read_text().splitlines()]
    samples.write_text("\n".join(lines) + "\n")
    assert lines[0].endswith(",shmem_kib,state")
    read = read_run(path).samples
    assert len(read) == len(lines) - 1
    assert read[list(YOUNGER[1:])].isna().all(axis=None)
    assert read["mem_total_kib"].notna().all()


def test_the_exact_division_counts_as_the_policies_do() -> None:
    """What the solver's report holds decisions against is worked out from the recorded views on its own."""
    for extra in ({}, {"reclaimable_slab_kib": 700}, {"arc_kib": 740, "arc_min_kib": 40}, {"huge_pages_kib": 700},
                  {"zram_kib": 600, "reclaimable_slab_kib": 100}, {"arc_kib": 740}):  # fmt: skip
        view = newcomer(**extra)
        for name in ("price", "equal"):
            policy = make(name, {"swap_weight": 0} if name == "price" else {})
            record = decision_record(policy, view.names, policy.decide(view))
            (division,) = divisions([{"view": view.to_json(), "decision": record}])
            np.testing.assert_allclose(division.recorded_kib, division.exact_kib, atol=1)
            assert division.violations == 0


def mixed(kind: str) -> HostView:
    """A short host, on which the second guest lacks memory and 300 MiB of the first are of one kind."""
    extra = 300 * MIB * np.array([1.0, 0.0, 0.0])
    free, cached, more = in_kib(40, 40, 40), in_kib(60, 60, 160), dict(BLANK)
    available, total = free + cached, in_kib(1000, 1000, 1000)
    match kind:
        case "free":
            free, available = free + extra, available + extra
        case "page cache":
            cached, available = cached + extra, available + extra
        case "shared memory":
            cached, more["shmem_kib"] = cached + extra, extra
        case "reclaimable slab":
            available, more["reclaimable_slab_kib"] = available + extra, extra
        case "huge pages":
            more["huge_pages_kib"] = extra
        case "ARC":
            more |= {"arc_kib": extra + in_kib(32, 0, 0), "arc_min_kib": in_kib(32, 0, 0)}
        case "zram":
            more["zram_kib"] = extra
    view = make_view(
        [1000, 1000, 1000], lo=200, hi=2000, swap_fill=[0, 0.4, 0], mem_total_kib=total, mem_free_kib=free,
        mem_available_kib=available, buffers_kib=np.zeros(3), cached_kib=cached, committed_kib=in_kib(1200, 1200, 1200),
        swap_in_kib_s=in_kib(0, 50, 0), swap_out_kib_s=np.zeros(3), refault_kib_s=np.zeros(3),
        stall_some=np.array([0, 0.9, 0]), stall_full=np.zeros(3), **more,
    )  # fmt: skip
    return replace(
        view, total_kib=5000.0 * MIB, free_kib=500.0 * MIB, reserve_kib=350.0 * MIB, promised_kib=150.0 * MIB,
        page_ages=(((1.0, 1e3),),) * 3, ghost_returns=((),) * 3,
    )  # fmt: skip


def counted(name: str, kind: str) -> str:
    """Whether a policy treats memory of a kind as it treats programs', or as it treats free memory."""
    said, programs, free = (make(name).decide(mixed(one)).targets_kib.tolist() for one in (kind, "programs", "free"))
    if said == programs == free:
        return "-"
    return "used" if said == programs else "free" if said == free else "between"


def floor(name: str) -> str:
    """Whether it leaves a guest its huge pages where it would give it less without them."""

    def target(huge_mib: float) -> float:
        policy, extra = make(name), in_kib(1, 0, 0) * huge_mib
        view = replace(
            mixed("programs"),
            min_kib=in_kib(8, 8, 8),
            total_kib=3000.0 * MIB,
            free_kib=140.0 * MIB,
            reserve_kib=77.0 * MIB,
        )
        policy.decide(replace(view, current_kib=in_kib(500, 900, 900)))
        tight = replace(
            view, time_s=60.0, current_kib=in_kib(704, 400, 400), mem_total_kib=in_kib(704, 400, 400),
            mem_free_kib=in_kib(4, 4, 4), cached_kib=np.zeros(3), mem_available_kib=in_kib(650, 4, 4),
            committed_kib=in_kib(100, 1200, 1200), swap_in_kib_s=in_kib(0, 200, 0),
            promised_kib=500.0 * MIB, huge_pages_kib=extra,
        )  # fmt: skip
        return float(policy.decide(tight).targets_kib[0])

    with_pages, without = target(700), target(0)
    return "never below" if without >= 700 * MIB else "huge pages and zram" if with_pages >= 700 * MIB else "lo"


@pytest.mark.parametrize("name", names())
def test_the_page_says_what_each_policy_counts_as_used(name: str) -> None:
    said = {cells[0].strip("`"): cells[1:] for cells in rows(section("policies.md", "What counts as used"))}
    assert sorted(said) == sorted(names())
    assert said[name] == [*(counted(name, kind) for kind in KINDS), floor(name)]
