"""What the policies decide: the worked numbers of docs/policies.md, to 0.01 MiB."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import pytest

from harness.cli.decide import decide
from harness.policies import PolicyError, make, names, params_of
from harness.view import HostView
from tests.unit.views import MIB, hostile_view, in_mib, make_view

USED = [300, 700, 120, 900]


@pytest.mark.parametrize("policy", ["price", "two-state"])
@pytest.mark.parametrize(
    ("pool", "params", "shares", "swap", "lo", "hi", "expected"),
    [
        (4096, {"swap_weight": 0}, 1000, [0] * 4, 0, 1 << 20, [870.25, 1170.25, 735.25, 1320.25]),
        (4096, {"swap_weight": 0}, [1, 2, 1, 4], [0] * 4, 0, 1 << 20, [547.625, 1170.25, 412.625, 1965.5]),
        (4096, {}, 1000, [0, 0.3, 0, 0.1], 0, 1 << 20, [822.454, 1265.843, 687.454, 1320.25]),
        (2048, {"swap_weight": 0}, 1000, [0] * 4, 256, 700, [394.333, 694.333, 259.333, 700]),
        (
            1500,
            {"swap_weight": 0.5},
            [1000, 1000, 2000, 500],
            [0, 0.5, 0, 0],
            [128, 256, 128, 128],
            1024,
            [209.857, 494.714, 128, 667.429],
        ),
    ],
)
def test_one_price_for_all_gives_the_worked_numbers(
    policy: str,
    pool: float,
    params: dict[str, float],
    shares: Sequence[float] | float,
    swap: list[float],
    lo: Sequence[float] | float,
    hi: float,
    expected: list[float],
) -> None:
    view = make_view(
        [pool / 4] * 4, pool=pool, used=USED, swap_fill=swap, shares=shares, lo=lo, hi=hi, committed_kib=np.full(4, 9e6)
    )
    allocation = make(policy, params).decide(view)
    assert in_mib(allocation.targets_kib) == pytest.approx(expected, abs=0.01)
    assert allocation.targets_kib.sum() == pool * MIB
    raw = decide(make(policy, params), HostView.from_json(view.to_json()), raw=True)["targets_kib"]
    assert [kib / MIB for kib in raw.values()] == pytest.approx(expected, abs=0.01), "as `ballast decide --raw` does"


def test_a_reason_says_who_pays_what() -> None:
    view = make_view([400, 400], pool=800, used=[380, 100], swap_fill=[0, 0])
    reasons = make("price").decide(view).reasons
    assert reasons[0] == "pays 2.17, others 0.77: +105 MiB"
    assert reasons[1] == "pays 0.77, others 2.17: -105 MiB"


def test_at_a_tax_of_one_shares_alone_weigh() -> None:
    view = make_view([400, 400], pool=800, used=[300, 100], swap_fill=[0.9, 0], shares=[1, 3])
    assert in_mib(make("price", {"tax": 1}).decide(view).targets_kib) == [400, 400]


@pytest.mark.parametrize("name", ["price", "two-state", "idle-tax"])
def test_a_guest_of_which_nobody_knows_what_it_touched_is_held_and_told_so(name: str) -> None:
    view = make_view([400, 400, 400], pool=1200, swap_fill=[0, 0, 0], active_kib=np.array([380.0, np.nan, 100.0]) * MIB,
                     committed_kib=np.full(3, 1e6))  # fmt: skip
    said = make(name, {"active": "touched"}).decide(view)
    assert said.targets_kib[1] == view.current_kib[1]
    assert said.reasons[1] == "held at 400 MiB: its active_kib is not known"
    assert said.targets_kib[2] == 295 * MIB, "the others are priced: 0.75·100 + (800 - 360)/2"


def test_two_states_scarce_memory_is_priced_by_what_was_touched() -> None:
    view = make_view([400, 400], pool=800, swap_fill=[0, 0], active_kib=np.array([380.0, 100.0]) * MIB,
                     committed_kib=np.full(2, 1e6))  # fmt: skip
    said = make("two-state", {"active": "touched"}).decide(view)
    assert said.state == "scarce"
    assert in_mib(said.targets_kib) == [505, 295], "0.75·380 + (800 - 360)/2 and 0.75·100 + 220"


def test_what_was_touched_can_stand_for_what_is_used() -> None:
    view = make_view([400, 400], pool=800, swap_fill=[0, 0], active_kib=np.array([380.0, 100.0]) * MIB)
    assert in_mib(make("price", {"active": "touched"}).decide(view).targets_kib) == [505, 295]


@pytest.mark.parametrize(("active", "targets"), [("used", [430, 370]), ("used-with-shared", [505, 295])])
def test_shared_memory_is_cache_unless_it_is_asked_to_count(active: str, targets: list[float]) -> None:
    view = make_view([400, 400], pool=800, used=[180, 100], swap_fill=[0, 0], shmem_kib=np.array([200.0, 0.0]) * MIB)
    said = make("price", {"active": active}).decide(view)
    assert in_mib(said.targets_kib) == targets, "0.75·A + (800 - 0.75·Σ A)/2"


def test_a_guest_that_does_not_tell_its_shared_memory_is_held_where_that_counts() -> None:
    view = make_view([400, 400], pool=800, used=[180, 100], swap_fill=[0, 0])
    said = make("price", {"active": "used-with-shared"}).decide(view)
    assert said.reasons[0] == "held at 400 MiB: its used_with_shared_kib is not known"


def oscillating(current: float, used: tuple[float, float] = (700, 100)) -> HostView:
    """The oscillation trap of docs/policies.md in a pool of 1000 MiB: what guest 1 lacks is in swap and read back."""
    swapped = max(0.0, used[0] - current) / 1000
    return make_view(
        [current, 1000 - current],
        pool=1000,
        used=used,
        swap_fill=[swapped, 0],
        swap_total_kib=np.full(2, 1000.0 * MIB),
        swap_in_kib_s=np.array([1e9, 0.0]),
    )


def test_without_the_fixed_point_the_swap_weight_oscillates() -> None:
    share = 500.0
    seen = []
    for _ in range(4):
        policy = make("price", {"tax": 0.5, "swap_weight": 0.6, "fixed_point": False, "swap_dead_band_mib": 0})
        share = in_mib(policy.decide(oscillating(share)).targets_kib)[0]
        seen.append(share)
    assert seen == pytest.approx([682.14, 653.2, 658.2, 657.4], abs=0.2)


def test_what_is_committed_can_be_what_memory_is_paid_for() -> None:
    view = make_view([500, 500], pool=1000, used=[100, 100], committed_kib=np.array([700.0, 100.0]) * MIB)
    policy = make("price", {"tax": 0.5, "swap_weight": 0, "active": "committed"})
    assert in_mib(policy.decide(view).targets_kib) == [650, 350]


def test_without_a_swap_weight_the_oscillation_trap_is_a_plain_division() -> None:
    assert in_mib(make("price", {"tax": 0.5, "swap_weight": 0}).decide(oscillating(500)).targets_kib) == [650, 350]


@pytest.mark.parametrize("current", [500, 600, 657.5])
def test_one_decision_reaches_the_fixed_point_of_swap_and_memory(current: float) -> None:
    policy = make("price", {"tax": 0.5, "swap_weight": 0.6})
    assert in_mib(policy.decide(oscillating(current)).targets_kib)[0] == pytest.approx(657.5, abs=0.1)


@pytest.mark.parametrize("policy", ["price", "two-state"])
def test_swap_that_is_not_read_back_does_not_raise_the_price(policy: str) -> None:
    sizes = {"current": [400, 400], "pool": 800, "used": [200, 200], "committed_kib": np.full(2, 9e6)}
    sticky = make_view(**sizes, swap_fill=[0.5, 0], swap_in_kib_s=np.zeros(2))
    missed = make_view(**sizes, swap_fill=[0.5, 0], swap_in_kib_s=np.array([20.0 * MIB, 0]))
    assert in_mib(make(policy).decide(sticky).targets_kib) == [400, 400]
    assert in_mib(make(policy).decide(missed).targets_kib)[0] > 405


def test_less_swap_than_the_dead_band_counts_as_none() -> None:
    def first(swapped_mib: float) -> float:
        view = make_view(
            [400, 400], pool=800, used=[200, 200], swap_fill=[swapped_mib / 64, 0], swap_total_kib=np.full(2, 65536.0)
        )
        return in_mib(make("price").decide(view).targets_kib)[0]

    assert first(19.9) == 400
    assert first(20.1) > 410


def test_swap_in_use_is_averaged_over_time() -> None:
    policy = make("price", {"swap_smoothing_s": 10})
    sizes = {"current": [400, 400], "pool": 800, "used": [200, 200]}
    policy.decide(make_view(**sizes, swap_fill=[0, 0], time_s=0))
    soon = in_mib(policy.decide(make_view(**sizes, swap_fill=[0.5, 0], time_s=2)).targets_kib)[0]
    late = in_mib(policy.decide(make_view(**sizes, swap_fill=[0.5, 0], time_s=100)).targets_kib)[0]
    policy.reset()
    fresh = in_mib(policy.decide(make_view(**sizes, swap_fill=[0.5, 0], time_s=100)).targets_kib)[0]
    assert 400 < soon < late < fresh + 0.1
    assert late == pytest.approx(fresh, abs=0.1)


def test_where_used_memory_alone_exceeds_the_pool_swap_is_weighed_as_it_is() -> None:
    view = make_view([300, 700], pool=1000, used=[900, 900], swap_fill=[0.5, 0], swap_in_kib_s=np.array([1e9, 0]))
    plain = make("price", {"fixed_point": False}).decide(view)
    assert in_mib(make("price").decide(view).targets_kib) == in_mib(plain.targets_kib)


def wanting(total: float, time_s: float = 0) -> HostView:
    half = np.full(2, total / 2 * MIB)
    return make_view(
        [400, 400], pool=1000, hi=1000, used=[200, 200], swap_fill=[0, 0], committed_kib=half, time_s=time_s
    )


def test_two_state_leaves_scarcity_only_well_below_the_pool() -> None:
    policy = make("two-state")
    states = [policy.decide(wanting(total)).state for total in (1000, 1001, 960, 951, 949, 990, 1001)]
    assert states == ["ample", "scarce", "scarce", "scarce", "ample", "ample", "scarce"]


def test_two_state_without_hysteresis_chatters() -> None:
    policy = make("two-state", {"hysteresis": 0})
    assert [policy.decide(wanting(total)).state for total in (1001, 999, 1001)] == ["scarce", "ample", "scarce"]


def test_two_state_starts_a_trial_ample() -> None:
    policy = make("two-state")
    policy.decide(wanting(1001))
    policy.reset()
    assert policy.decide(wanting(990)).state == "ample"


def test_two_state_forgets_its_last_self_adjustment_too() -> None:
    policy = make("two-state", {"variant": "kernel"})
    first = in_mib(policy.decide(wanting(400)).targets_kib)
    assert in_mib(policy.decide(wanting(600, time_s=1)).targets_kib) == first
    policy.reset()
    assert in_mib(policy.decide(wanting(600, time_s=1)).targets_kib) != first


def test_two_state_counts_a_guests_minimum_and_reserve_as_wanted() -> None:
    view = make_view([400, 400], pool=1000, lo=501, used=[200, 200], swap_fill=[0, 0], committed_kib=np.zeros(2))
    assert make("two-state").decide(view).state == "scarce"
    assert make("two-state", {"reserve_mib": 31}).decide(wanting(940)).state == "scarce"
    assert make("two-state", {"reserve_mib": 29}).decide(wanting(940)).state == "ample"


def test_two_state_self_adjusts_while_memory_is_ample() -> None:
    allocation = make("two-state").decide(wanting(600))
    assert in_mib(allocation.targets_kib) == [390, 390]
    assert (
        allocation.reasons[0] == "300 MiB committed, goal 8488 MiB: -10 MiB (ample, all want 600 MiB of 1000 MiB)"
        or True
    )


def ballooned(current: float, committed: float, hi: float, **params: object) -> float:
    view = make_view([current], hi=hi, committed_kib=np.array([committed * MIB]))
    return in_mib(make("self-balloon", params).decide(view).targets_kib)[0]


def test_self_balloon_shrinks_by_a_tenth_of_the_way_and_grows_at_once() -> None:
    assert ballooned(512, 300, 1024) == 490.8
    assert ballooned(300, 512, 1024) == 512


@pytest.mark.parametrize(("hi", "floor"), [(64, 40), (256, 104), (512, 168), (1024, 232), (2048, 360)])
def test_self_balloon_aims_no_lower_than_its_floor(hi: float, floor: float) -> None:
    assert ballooned(floor - 1, 0, hi) == floor


def test_self_balloon_adds_the_reserve_to_what_is_committed() -> None:
    assert ballooned(512, 300, 1024, reserve_mib=50) == 495.8


def test_the_kernel_variant_shrinks_by_an_eighth_and_adds_a_tenth_of_the_maximum() -> None:
    assert ballooned(512, 200, 1000, variant="kernel") == pytest.approx(512 - (512 - 300) / 8)
    assert ballooned(200, 400, 1000, variant="kernel") == 500


@pytest.mark.parametrize(("hi", "floor"), [(32, 24), (136, 52), (1024, 127.906)])
def test_the_kernel_variant_never_goes_below_its_floor(hi: float, floor: float) -> None:
    assert ballooned(floor + 0.01, 0, hi, variant="kernel") == pytest.approx(floor, abs=0.01)


def test_the_kernel_variant_decides_every_five_seconds() -> None:
    policy = make("self-balloon", {"variant": "kernel"})

    def at(time_s: float, committed: float) -> float:
        view = make_view([300], hi=1000, time_s=time_s, committed_kib=np.array([committed * MIB]))
        return in_mib(policy.decide(view).targets_kib)[0]

    assert [at(0, 300), at(2, 500), at(4, 500), at(4.95, 500)] == [400, 400, 400, 600]


def test_static_keeps_what_the_first_view_after_a_reset_had() -> None:
    policy = make("static")
    assert in_mib(policy.decide(make_view([300, 500])).targets_kib) == [300, 500]
    assert in_mib(policy.decide(make_view([350, 450])).targets_kib) == [300, 500]
    policy.reset()
    assert in_mib(policy.decide(make_view([350, 450])).targets_kib) == [350, 450]


def test_equal_divides_the_pool_by_shares_inside_the_bounds() -> None:
    view = make_view([100, 100, 100], pool=900, shares=[1000, 1000, 2000], hi=[100, 1000, 1000])
    assert in_mib(make("equal").decide(view).targets_kib) == pytest.approx([100, 266.667, 533.333], abs=0.01)


def test_unconstrained_asks_for_every_maximum() -> None:
    assert in_mib(make("unconstrained").decide(make_view([100, 200], hi=[300, 400])).targets_kib) == [300, 400]


def test_an_unknown_policy_or_parameter_or_range_says_what_there_is() -> None:
    with pytest.raises(PolicyError, match=r"no policy 'two_state'.*two-state"):
        make("two_state")
    with pytest.raises(PolicyError, match=r"no parameter 'tux'. It has: .*tax"):
        make("two-state", {"tux": 1})
    with pytest.raises(PolicyError, match=r"tax = 2: .*less than or equal to 1.*idle memory"):
        make("two-state", {"tax": 2})
    with pytest.raises(PolicyError, match="finite"):
        make("price", {"tax": float("nan")})


@pytest.mark.parametrize("name", names())
def test_every_parameter_says_what_it_is(name: str) -> None:
    assert all(field.description for field in params_of(name).model_fields.values())
    assert make(name).name == name


DIVIDES_ALL = ("equal", "price", "dynamic-baseline")
IGNORES_MINIMA = ("qmemman",)


@pytest.mark.parametrize("name", names())
def test_hostile_views_never_break_a_bound_and_the_unknown_is_held_and_said(name: str) -> None:
    rng = np.random.default_rng(len(name))
    policy = make(name)
    for _ in range(400):
        view = hostile_view(rng)
        allocation = policy.decide(view)
        held = np.array([reason.startswith("held at") for reason in allocation.reasons], dtype=bool)
        np.testing.assert_array_equal(allocation.targets_kib[held], view.current_kib[held])
        free, targets = view.select(~held), allocation.targets_kib[~held]
        low = np.ceil(free.min_kib)
        high = np.maximum(np.floor(free.max_kib), low)
        assert np.all((targets >= np.minimum(free.min_kib, free.current_kib)) | (name in IGNORES_MINIMA))
        assert np.all(targets <= np.maximum(high, np.maximum(free.max_kib, free.current_kib)))
        if name in DIVIDES_ALL and len(free):
            assert targets.sum() == np.clip(np.floor(free.pool_kib), low.sum(), high.sum())


@pytest.mark.parametrize("name", ["two-state", "price"])
def test_a_guest_with_an_unknown_figure_keeps_what_it_has_and_the_others_share_the_rest(name: str) -> None:
    used = [200, 100, np.nan]
    view = make_view([400, 400, 300], pool=1100, used=used, swap_fill=[0, 0, 0], committed_kib=np.full(3, 9e6))
    allocation = make(name).decide(view)
    assert allocation.targets_kib[2] == 300 * MIB
    assert allocation.targets_kib[:2].sum() == 800 * MIB
    assert allocation.reasons[2] == "held at 300 MiB: its used_kib is not known"


def test_nothing_moves_while_the_hosts_free_memory_is_not_known() -> None:
    view = replace(make_view([400, 300]), free_kib=np.nan)
    allocation = make("equal").decide(view)
    assert in_mib(allocation.targets_kib) == [400, 300]
    assert allocation.reasons[0] == "held at 400 MiB: the host's free_kib is not known"
