"""What the systems decide that people run today: worked numbers, to 0.01 MiB."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from harness.policies import Allocation, Policy, make
from harness.view import FloatArray, HostView
from tests.unit.views import MIB, in_mib, make_view


def mibs(*sizes: float) -> FloatArray:
    return np.array(sizes, dtype=float) * MIB


def free_view(current: list[float], free: float, **changes: Any) -> HostView:  # noqa: ANN401 - passes them on
    return make_view(current, pool=sum(current) + free, **changes)


def test_squeezed_spreads_what_can_be_had_between_the_bounds() -> None:
    view = free_view([400, 500, 300], 100, lo=[128, 256, 128], hi=[512, 1024, 512])
    allocation = make("squeezed").decide(view)
    assert in_mib(allocation.targets_kib) == pytest.approx([306.994, 613.988, 306.994], abs=0.001)
    assert allocation.reasons[0] == "47% of the way from its minimum: -93 MiB"


def test_squeezed_gives_the_maximum_to_all_when_it_can_and_the_minimum_when_it_must() -> None:
    assert in_mib(make("squeezed").decide(free_view([200, 200], 900, lo=100, hi=300)).targets_kib) == [300, 300]
    assert in_mib(make("squeezed").decide(free_view([100, 130], 30, lo=100, hi=300)).targets_kib) == [100, 100]


def test_squeezed_decides_every_ten_seconds() -> None:
    policy = make("squeezed")
    sizes = [
        in_mib(policy.decide(free_view([200], free, lo=100, hi=300, time_s=time_s)).targets_kib)[0]
        for time_s, free in ((0, 900), (2, 0), (8, 0), (10, 0))
    ]
    assert sizes == pytest.approx([300, 300, 300, 128], abs=0.02)


def qubes(current: list[float], used: list[float], free: float, hi: float | list[float] = 1000) -> Allocation:
    n = len(current)
    return make("qmemman").decide(free_view(current, free, used=used, hi=hi, swap_fill=np.zeros(n)))


def test_qmemman_spreads_plenty_by_preference() -> None:
    over = 250 / 1.00781 - 50 - (200 - 300) - (520 - 600)
    expected = [0.999 * size * (1 + over / 720) for size in (200, 520)]
    assert in_mib(qubes([300, 600], [100, 400], 250).targets_kib) == pytest.approx(expected, abs=0.01)


def test_qmemman_deals_what_a_maximum_cuts_off_in_equal_parts() -> None:
    over = 900 / 1.00781 - 50 - (200 - 300) - (520 - 600)
    shares = [0.999 * size * (1 + over / 720) for size in (200, 520)]
    expected = [shares[0] + 0.999 * (shares[1] - 700), 700]
    assert in_mib(qubes([300, 600], [100, 400], 900, hi=[4000, 700]).targets_kib) == pytest.approx(expected, abs=0.01)


def test_qmemman_counts_swap_as_used() -> None:
    view = free_view([300], 500, used=[200], hi=4000, swap_fill=[0.25], swap_total_kib=mibs(800))
    assert make("qmemman").decide(view).reasons[0].startswith("plenty, prefers 520 MiB")


def test_qmemman_lets_only_the_donors_move_when_xen_has_nothing_yet() -> None:
    allocation = qubes([600, 300], [200, 500], 20)
    assert in_mib(allocation.targets_kib) == [260, 300]
    assert allocation.state == "scarce"


def test_qmemman_shares_what_is_free_among_the_needy_once_it_is_there() -> None:
    pool = 300 / 1.00781 - 50
    expected = [0.999 * (300 + pool * 650 / 1040), 0.999 * (300 + pool * 390 / 1040)]
    assert in_mib(qubes([300, 300], [500, 300], 300).targets_kib) == pytest.approx(expected, abs=0.01)


def test_qmemman_takes_nothing_from_a_donor_that_is_nearly_there() -> None:
    assert in_mib(qubes([269, 300], [200, 500], 20).targets_kib) == [269, 300]


def test_qmemman_does_not_count_a_guest_at_its_maximum_as_needy() -> None:
    expected = [300, 0.999 * (300 + 120 / 1.00781 - 50)]
    assert in_mib(qubes([300, 300], [500, 300], 120, hi=[300, 1000]).targets_kib) == pytest.approx(expected, abs=0.01)


def test_qmemman_counts_promised_memory_as_spent() -> None:
    view = free_view([300, 600], 250, used=[100, 400], hi=1000, swap_fill=np.zeros(2))
    over = 250 / 1.00781 - 100 - 50 + 180
    expected = [0.999 * size * (1 + over / 720) for size in (200, 520)]
    targets = make("qmemman").decide(replace(view, promised_kib=100.0 * MIB)).targets_kib
    assert in_mib(targets) == pytest.approx(expected, abs=0.01)


@pytest.mark.parametrize(
    ("current", "used", "free", "acts"),
    [
        (300, 240, 36, False),  # 312 preferred: nothing gained worth 15 MiB
        (300, 240, 34, True),  # Xen is short
        (300, 280, 90, True),  # below its preference of 364, and gains more than 15 MiB
    ],
)
def test_qmemman_acts_when_xen_is_short_or_a_guest_in_need_gains(
    current: float, used: float, free: float, acts: bool
) -> None:
    allocation = qubes([current, 400], [used, 300], free)
    assert ("no change worth making" not in allocation.reasons[0]) == acts


def test_qmemman_leaves_small_changes_alone() -> None:
    allocation = qubes([400, 400], [300, 300], 60)
    assert in_mib(allocation.targets_kib) == [400, 400]
    assert "no change worth making" in allocation.reasons[0]


def proxmox(
    current: list[float], mem_free: list[float], free: float, **changes: Sequence[float] | float
) -> list[float]:
    view = free_view(current, free, mem_free_kib=mibs(*mem_free), **{"lo": 200, "hi": 1000, **changes})
    return in_mib(make("proxmox").decide(replace(view, total_kib=4096.0 * MIB)).targets_kib)


def test_proxmox_grows_the_pressed_by_shares_until_the_host_is_at_its_goal() -> None:
    assert proxmox([500, 500], [10, 10], 1000) == pytest.approx([590.4, 590.4], abs=0.01)


def test_proxmox_moves_a_guest_by_at_most_100_mib_a_round() -> None:
    assert proxmox([500, 500], [10, 400], 1500) == [600, 500]


def test_proxmox_grows_all_only_when_growing_the_pressed_moved_nothing() -> None:
    assert proxmox([1000, 500], [10, 400], 1500) == [1000, 600]


def test_proxmox_shrinks_the_roomy_when_the_host_is_too_full() -> None:
    assert proxmox([500, 500], [10, 400], 780) == pytest.approx([500, 460.8], abs=0.01)


def test_proxmox_shrinks_who_has_more_than_its_part_in_a_growing_round_too() -> None:
    """The goal is 1050 MiB, and all are roomy."""
    found = proxmox(
        [1092, 483, 541, 1453], [397, 261, 216, 583], 1050 + 4096 * 0.2, lo=[229, 451, 395, 390],
        hi=[1975, 491, 1919, 1672], shares=[1000, 1000, 2000, 2000],
    )  # fmt: skip
    assert found == pytest.approx([992, 491, 641, 1441.333], abs=0.001)


def test_proxmox_grows_nobody_in_a_shrinking_round() -> None:
    assert proxmox([900, 300], [600, 200], 619.2) == pytest.approx([800, 300], abs=0.01)


def test_proxmox_gives_by_shares_above_the_minimum() -> None:
    expected = [200 + 580.8 / 3, 200 + 580.8 * 2 / 3]
    assert proxmox([300, 500], [10, 10], 1000, shares=[1000, 2000]) == pytest.approx(expected, abs=0.01)


def test_proxmox_counts_a_guest_below_its_minimum_as_pressed_however_much_is_free() -> None:
    assert proxmox([150, 300], [140, 290], 1000) == [250, 300]


def test_proxmox_does_nothing_near_its_goal() -> None:
    assert proxmox([500, 500], [10, 400], 825) == [500, 500]


def mom(current: float, mem_free: float, host_free: float, **changes: Sequence[float] | float) -> float:
    view = free_view([current], host_free * 65536, mem_free_kib=mibs(mem_free), **{"lo": 100, "hi": 2000, **changes})
    return in_mib(make("mom").decide(view).targets_kib)[0]


@pytest.mark.parametrize(
    ("mem_free", "host_free", "expected"),
    [
        (700, 0.10, 950),  # 5 % at most
        (130, 0.10, 970),  # used 870 + 10 %
        (30, 0.10, 1000),  # used 970 + 10 % would be growth
        (102, 0.10, 1000),  # 0.2 % is not worth a step
        (30, 0.01, 950),  # critical: used 970 - 4 %
        (5, 0.02, 965),  # critical: used 995 - 3 %
        (700, 0.30, 1050),  # grows by 5 %
        (30, 0.30, 1170),  # used 970 + 20 %
    ],
)
def test_mom_gives_the_worked_numbers(mem_free: float, host_free: float, expected: float) -> None:
    assert mom(1000, mem_free, host_free) == pytest.approx(expected, abs=0.01)


def test_mom_stays_inside_the_bounds() -> None:
    assert mom(1000, 700, 0.10, lo=980) == 980
    assert mom(1000, 30, 0.30, hi=1100) == 1100


def test_mom_averages_what_guests_use_over_ten_samples() -> None:
    policy = make("mom")
    for tick, mem_free in enumerate([700] * 5 + [130] * 5):
        view = free_view([1000], 6553.6, lo=100, hi=2000, mem_free_kib=mibs(mem_free), time_s=tick * 2)
        allocation = policy.decide(view)
    assert in_mib(allocation.targets_kib) == [950]
    for tick in range(10, 21):
        view = free_view([1000], 6553.6, lo=100, hi=2000, mem_free_kib=mibs(130), time_s=tick * 2)
        allocation = policy.decide(view)
    assert in_mib(allocation.targets_kib) == [970]


@pytest.mark.parametrize(("largest", "tax"), [(900, 0.0542), (1500, 0.6521)])
def test_dynamic_baseline_leaves_a_given_amount_free_in_the_largest_guest(largest: float, tax: float) -> None:
    view = make_view([1024] * 5, pool=5120, used=[largest, 300, 300, 300, 300])
    allocation = make("dynamic-baseline", {"free_mib": 150}).decide(view)
    rest = 1024 - tax * (largest - 300) / 5
    assert in_mib(allocation.targets_kib) == pytest.approx([largest + 150, *[rest] * 4], abs=0.02)
    assert f"tax {tax:.2f}" in allocation.reasons[0]


def test_dynamic_baseline_counts_buffers_as_used() -> None:
    view = make_view([512, 512], pool=1024, used=[400, 300])
    other = replace(view, buffers_kib=mibs(0, 100), mem_free_kib=view.mem_free_kib - mibs(0, 100))
    assert in_mib(make("dynamic-baseline").decide(other).targets_kib) == [512, 512]


def test_dynamic_baselines_tax_rises_at_once_and_falls_by_a_tenth_of_the_way() -> None:
    policy = make("dynamic-baseline", {"free_mib": 150})

    def tax(largest: float) -> float:
        view = make_view([1024] * 5, pool=5120, used=[largest, 300, 300, 300, 300])
        return (1024 - in_mib(policy.decide(view).targets_kib)[1]) / ((largest - 300) / 5)

    assert [tax(size) for size in (1500, 900, 900)] == pytest.approx([0.6521, 0.5923, 0.5385], abs=0.001)


def esx(policy: Policy, free: float, *, time_s: float = 0, used: float = 300) -> Allocation:
    """A host of 65536 MiB of which this part is free; two guests fill the rest of 3296 MiB."""
    return policy.decide(free_view([800, 3296 - 65536 * free], 65536 * free, used=[used, 700], hi=4000, time_s=time_s))


def test_idle_tax_lets_everyone_have_all_while_memory_is_plenty() -> None:
    allocation = esx(make("idle-tax"), 0.045)
    assert allocation.state == "high"
    assert in_mib(allocation.targets_kib) == [4000, 4000]


def test_idle_tax_divides_at_one_price_below_the_soft_mark() -> None:
    view = make_view([324, 600, 500, 600], pool=4096, used=[300, 700, 120, 900])
    assert view.free_kib < 0.04 * 65536 * MIB
    assert in_mib(make("idle-tax").decide(view).targets_kib) == [870.25, 1170.25, 735.25, 1320.25]


def test_idle_tax_lets_nobody_grow_when_it_is_hard() -> None:
    allocation = esx(make("idle-tax"), 0.015)
    assert allocation.state == "hard"
    assert in_mib(allocation.targets_kib)[0] == 800
    assert in_mib(allocation.targets_kib)[1] < 2312


def test_idle_tax_falls_at_a_mark_and_rises_only_above_the_next_higher_one() -> None:
    policy = make("idle-tax")
    states = [
        esx(policy, free, time_s=tick * 2).state
        for tick, free in enumerate([0.05, 0.039, 0.05, 0.059, 0.061, 0.005, 0.015, 0.021, 0.039, 0.041])
    ]
    assert states == ["high", "soft", "soft", "soft", "high", "low", "low", "hard", "hard", "soft"]


def test_idle_tax_follows_rises_at_once_and_falls_slowly() -> None:
    policy = make("idle-tax", {"slow_half_life_s": 30})

    def first(time_s: float, used: float) -> float:
        return in_mib(esx(policy, 0.03, time_s=time_s, used=used).targets_kib)[0]

    rested, risen = first(0, 300), first(15, 700)
    fallen = first(45, 300)
    slow = 300 + 400 * (1 - 0.5 ** (15 / 30)) * 0.5 ** (30 / 30)
    assert risen - rested == pytest.approx(0.75 * 400 / 2, abs=0.1)
    assert fallen - rested == pytest.approx(0.75 * (slow - 300) / 2, abs=0.1)


def test_idle_tax_follows_the_fast_average_where_it_is_the_larger() -> None:
    policy = make("idle-tax", {"slow_half_life_s": 3000, "fast_half_life_s": 30})
    rested, _, fallen = (
        in_mib(esx(policy, 0.03, time_s=time_s, used=used).targets_kib)[0]
        for time_s, used in ((0, 300), (15, 700), (30, 300))
    )
    fast = 400 * (1 - 0.5**0.5) * 0.5**0.5
    assert fallen - rested == pytest.approx(0.75 * fast / 2, abs=0.1)


def test_idle_tax_decides_every_fifteen_seconds_or_when_a_mark_is_crossed() -> None:
    policy = make("idle-tax")
    first = in_mib(esx(policy, 0.03).targets_kib)
    assert in_mib(esx(policy, 0.03, time_s=14, used=700).targets_kib) == first
    assert in_mib(esx(policy, 0.03, time_s=15, used=700).targets_kib) != first
    assert esx(policy, 0.015, time_s=16).state == "hard"
