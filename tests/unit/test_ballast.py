"""`ballast`, with numbers worked out by hand in MiB; its bound `informed`; and the mixes on which both are judged."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest

from harness.experiment.config import Experiment
from harness.experiment.files import EXPERIMENTS, load_experiment
from harness.policies import PolicyError, make
from harness.policies.informed import Informed
from harness.policies.turns import deal_in_order, kept_from_smaller
from harness.simulator import hindsight
from harness.simulator.foresight import Foresight
from harness.simulator.host import SimulatedHost
from tests.unit import simulated
from tests.unit.test_theory_ballast import view
from tests.unit.views import MIB, in_mib


def test_growth_is_served_ahead_from_who_has_most_to_spare() -> None:
    """The second grows by 20 MiB in 2 s: it needs 280 + 4 now, 20/2·(2 + 2) = 40 soon, and has 16 - 4 + 4 to spare."""
    policy = make("ballast")
    policy.decide(view([300, 300], uses=[100, 260], committed=[50, 200]))
    allocation = policy.decide(view([300, 300], uses=[100, 280], committed=[50, 220], time_s=2))
    assert in_mib(allocation.targets_kib) == [260, 340]
    assert allocation.reasons[1] == "needs 284 MiB, no more than its own, lost 0% of its time: +40 MiB"


def test_of_two_that_need_all_or_nothing_one_is_served_whole_and_stays_so() -> None:
    """Both need 300 + 200 + 4 of 804: 104 are over once the one has all, and from then on nothing is to be moved."""
    policy = make("ballast", {"protect": 0})
    policy.decide(view([402, 402], uses=[102, 102], committed=[102, 102]))
    want = {"committed": [502, 502], "swapped": [100, 100], "stall": [0.95, 0.95], "reads": [4000, 4000]}
    first = policy.decide(view([402, 402], uses=[402, 402], time_s=2, **want))  # type: ignore[arg-type]
    assert sorted(in_mib(first.targets_kib))[1] >= 506
    one, other = (506, 298) if first.targets_kib[0] > first.targets_kib[1] else (298, 506)
    want = {"committed": [502, 502], "swapped": [0, 204], "stall": [0.0, 0.97], "reads": [0, 4000]}
    if one < other:
        want = {key: row[::-1] for key, row in want.items()}
    again = policy.decide(view([one, other], uses=[min(one, 502), min(other, 502)], time_s=4, **want))  # type: ignore[arg-type]
    assert (again.targets_kib[0] > again.targets_kib[1]) == (one > other)


def test_who_can_live_with_less_is_not_taken_from_at_once() -> None:
    """It loses 0.1 of its time while it lacks 200 MiB; the other needs 200 more. A tick takes 5 % of 400 MiB."""
    policy = make("ballast")
    calm = view([400, 400], uses=[390, 390], committed=[390, 390])
    policy.decide(calm)
    now = view(
        [400, 400], uses=[400, 400], committed=[590, 590], swapped=[190, 190], stall=[0.1, 0.95], reads=[900, 4000],
        time_s=60,
    )  # fmt: skip
    assert in_mib(policy.decide(now).targets_kib)[0] >= 380


def test_who_grows_and_is_served_does_not_turn_into_one_that_can_live_with_less() -> None:
    """It stalled while it grew, and no more since it is served: that says nothing of what half of it would be worth."""
    policy = make("ballast")
    policy.decide(view([400, 400], uses=[200, 400], committed=[200, 400]))
    policy.decide(view([400, 400], uses=[200, 400], committed=[200, 440], swapped=[0, 40], stall=[0, 0.9], time_s=2))
    for tick in range(2, 6):
        now = view([300, 500], uses=[200, 500], committed=[200, 500 + 20 * tick], swapped=[0, 40], time_s=2 * tick)
        assert "served" in policy.decide(now).reasons[1]


def test_who_grows_keeps_its_cliff_while_it_rises_though_a_moment_of_reading_costs_it_nothing() -> None:
    """200 KiB/s come back from swap and it does not stall: of what it is about to use that says something at rest."""
    policy = make("ballast")
    policy.decide(view([400, 400], uses=[200, 400], committed=[200, 400]))
    policy.decide(view([400, 400], uses=[200, 400], committed=[200, 440], swapped=[0, 40], stall=[0, 0.9], time_s=2))
    for rises, then in ((20, "served"), (0, "bears")):
        for tick in range(2, 6):
            now = view(
                [300, 500], uses=[200, 500], committed=[200, 540 + rises * tick], swapped=[0, 40], reads=[0, 200],
                time_s=2 * tick if rises else 20 + 2 * tick,
            )  # fmt: skip
            reason = policy.decide(now).reasons[1]
        assert then in reason, reason


def test_who_fills_memory_of_its_own_and_stalls_lacks_that_and_not_page_cache() -> None:
    """Nothing is free, nothing swapped, and it stalls: while it commits 20 MiB more a period it is given its growth."""
    policy = make("ballast")
    policy.decide(view([300, 500], uses=[280, 100], committed=[230, 50]))
    now = view([300, 500], uses=[300, 100], committed=[250, 50], stall=[0.9, 0], time_s=2)
    allocation = policy.decide(now)
    assert allocation.reasons[0].startswith("needs 304 MiB, served")
    assert in_mib(allocation.targets_kib)[0] >= 340, "and what it will have come to need when that is there"


def test_a_leak_is_not_served_what_pushes_out_only_what_it_does_not_read() -> None:
    """It grows by 8 MiB a tick and has 100 MiB in swap; as long as none of that comes back it gets no more."""
    for reads, gets_more in ((0, False), (2000, True)):
        policy = make("ballast")
        policy.decide(view([400, 600], uses=[380, 100], committed=[330, 50]))
        for tick in range(1, 6):
            now = view(
                [400, 600], uses=[400, 100], committed=[430 + 8 * tick, 50], swapped=[100 + 8 * tick, 0],
                stall=[0.2, 0], reads=[reads, 0], writes=[8192 / 2, 0], time_s=2 * tick,
            )  # fmt: skip
            allocation = policy.decide(now)
        assert allocation.reasons[0].startswith("bears")
        assert (allocation.targets_kib[0] > 400 * MIB) == gets_more


def test_who_rises_on_a_way_that_it_has_gone_before_is_served_further_ahead() -> None:
    """It needed 600 some ticks ago; at 20 MiB a period its lead is 40, and four times that up to where it was."""
    policy = make("ballast")
    leads = {}
    for known in (False, True):
        policy.reset()
        policy.decide(view([700, 300], uses=[600 if known else 250, 100], committed=[550 if known else 200, 50]))
        policy.decide(view([300, 700], uses=[250, 100], committed=[200, 50], time_s=2))
        policy.decide(view([300, 700], uses=[270, 100], committed=[220, 50], time_s=4))
        leads[known] = in_mib(
            policy.decide(view([300, 700], uses=[290, 100], committed=[240, 50], time_s=6)).targets_kib
        )
    assert leads[False][0] == 350, "290 + 4, 40 ahead, 16 to spare"
    assert leads[True][0] == pytest.approx(290 + 4 + 160 + 12, abs=8)


def test_what_a_guest_lately_needed_is_lent_only_as_far_as_it_is_back_in_time() -> None:
    """The first needed 600 and rose by 100 MiB/s; the other, with a slope, would give back 5 % of 400 MiB a tick."""
    grown = {}
    for keep in (0.0, 1.0):
        policy, size = make("ballast", {"keep": keep, "memory_s": 3600}), 400.0
        policy.decide(view([600, 400], uses=[400, 390], committed=[350, 390]))
        policy.decide(view([600, 400], uses=[600, 390], committed=[550, 390], time_s=2))
        want = {"committed": [100, 790], "swapped": [0, 390], "stall": [0, 0.3], "reads": [0, 2000]}
        for tick in range(2, 14):
            now = view([1000 - size, size], uses=[150, size], time_s=2 * tick, **want)  # type: ignore[arg-type]
            size = float(in_mib(policy.decide(now).targets_kib)[1])
        grown[keep] = size
    assert grown[0.0] > 550, "3 % a tick"
    assert 400 < grown[1.0] < 455, "of 450 that are unused a tenth is lent, and what is nobody's"


def test_what_those_with_more_shares_lately_needed_is_kept_from_those_with_less() -> None:
    unused = np.array([10.0, 20.0, 40.0, 80.0])
    kept = kept_from_smaller(np.array([1000.0, 2000.0, 1000.0, 500.0]), unused)
    assert kept.tolist() == [20, 0, 20, 70]


def test_those_with_more_shares_are_dealt_to_first_and_equals_alike() -> None:
    nothing, high = np.zeros(4), np.full(4, 100.0)
    asks = np.array([30.0, 30.0, 10.0, 50.0])
    dealt = deal_in_order(np.array([1000.0, 2000.0, 1000.0, 500.0]), nothing, asks, high, 50.0)
    assert dealt.tolist() == [15, 30, 5, 0]


def test_who_is_served_stays_so_until_another_counts_twice_as_much() -> None:
    """Two that grow into what only one of them can have: neither has more shares, and who was served goes on."""
    flips = {}
    for hold in (0.0, 1.0):
        policy = make("ballast", {"protect": 0, "hold": hold})
        policy.decide(view([402, 402], uses=[102, 102], committed=[102, 102]))
        turns = []
        for tick in range(1, 10):
            need = [502 + 3 * (tick % 2), 502 + 3 * ((tick + 1) % 2)]
            now = view(
                [402, 402], uses=[402, 402], committed=need, swapped=[150, 150], stall=[0.9, 0.9], reads=[4000, 4000],
                time_s=2 * tick,
            )  # fmt: skip
            turns.append("served" in policy.decide(now).reasons[0])
        flips[hold] = sum(one != other for one, other in itertools.pairwise(turns))
    assert flips[0.0] > flips[1.0] == 0


def test_a_guest_that_does_not_say_what_is_available_is_held() -> None:
    now = view([300, 300], uses=[100, 100], committed=[50, math.nan])
    allocation = make("ballast").decide(now)
    assert in_mib(allocation.targets_kib)[1] == 300
    assert "committed_kib is not known" in allocation.reasons[1]


def test_informed_decides_only_where_somebody_tells_it_the_curves() -> None:
    with pytest.raises(PolicyError, match="only the simulator"):
        make("informed").decide(view([300], uses=[100], committed=[50]))


def test_informed_knows_the_present_and_nothing_that_is_to_come() -> None:
    """A footprint that is still low and about to rise is known to be low; one that rises is drawn on as it rises."""
    mono = {"low_mib": 60, "high_mib": 400, "hold_s": 10, "rate_mib_s": 20}
    host = simulated.host(simulated.experiment([simulated.guest("g1", "mono", **{"with": mono})]))
    lost = []
    for now_s in (9.0, 12.0):
        knowledge = Foresight(host.members, 120, lambda now_s=now_s: now_s)  # type: ignore[misc]
        lost.append(knowledge.lost_now(("g1",), view([260], uses=[200], committed=[0]).current_kib[:, None], 6.0)[0, 0])
    assert lost[0] < 0.01 < lost[1]


def test_no_policy_of_an_experiment_gets_more_done_than_informed_by_the_geometric_mean() -> None:
    mono = simulated.guest("g1", "mono", **{"with": {"low_mib": 60, "high_mib": 400}})
    guests = [mono, simulated.guest("g2", "random"), simulated.guest("g3")]
    experiment = simulated.experiment(guests, pool_mib=1050, policies=["static", "ballast", "informed"], duration_s=60)
    experiment = Experiment.model_validate(experiment)
    build = simulated.host

    def done(policy_name: str) -> float:
        policy = make(policy_name)
        if isinstance(policy, Informed):
            policy.called, policy.follows = hindsight.best(policy, experiment, build)
        host: SimulatedHost = build(experiment)
        hindsight.live(host, experiment, policy, lambda _: None)
        return math.prod(max(member.guest.ops, 1.0) for member in host.members)

    assert done("informed") >= max(done("static"), done("ballast")) > 0


@pytest.mark.parametrize("path", sorted(EXPERIMENTS.glob("held-out/*.yml")), ids=lambda path: path.stem)
def test_what_is_held_out_is_judged_by_the_same_policies_as_the_mixes(path) -> None:  # type: ignore[no-untyped-def]  # noqa: ANN001
    mixes = load_experiment("e09-tides")
    assert load_experiment(path).policies == mixes.policies
    assert {choice.name for choice in mixes.policies} >= {"ballast", "informed", "oracle", "unconstrained"}
