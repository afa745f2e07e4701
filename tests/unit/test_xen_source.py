"""The view of the real host: what Xen says and what the guests say, each no older and no more than it is."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
import pytest

from harness.view import HostView
from harness.xen.client import Received
from harness.xen.domains import Domain, HostState
from harness.xen.facts import Sample
from harness.xen.host import HostError
from harness.xen.machine import Machine
from harness.xen.source import Terms, XenSource

MIB = 1024
XVDB = 202 * 256 + 16


def domain(domid: int, current_mib: float, **facts: object) -> Domain:
    plain = Domain(
        domid=domid, current_kib=int(current_mib * MIB), max_kib=None, static_max_kib=800 * MIB,
        target_kib=int(current_mib * MIB), paused=False, dying=False, disks_kib={},
    )  # fmt: skip
    return replace(plain, **facts)  # type: ignore[arg-type]


@dataclass
class FakeHost:
    """Xen as it is told to be."""

    domains: Mapping[str, Domain]
    free_kib: int = 500 * MIB
    reachable: bool = True
    others: tuple[Domain, ...] = ()

    def state(self) -> HostState:
        if not self.reachable:
            raise HostError("dom0 is away")
        return HostState(total_kib=2000 * MIB, free_kib=self.free_kib, domains=dict(self.domains), others=self.others)


@dataclass
class FakeClient:
    """A guest that says what it is told to."""

    name: str
    newest: Received | None = None
    previous: Received | None = None
    machine: Machine = field(init=False)

    def __post_init__(self) -> None:
        self.machine = Machine(
            name=self.name, address="a", key_file=Path("k"), known_hosts=Path("h"), domain=f"{self.name}.xen"
        )

    def says(self, at_s: float, **figures: float) -> None:
        self.previous = self.newest
        said = replace(Sample(seq=0, mono_s=at_s), **figures)  # type: ignore[arg-type]
        self.newest = Received(sample=said, arrived_s=at_s)

    def age_s(self, now_s: float) -> float:
        return math.nan if self.newest is None else now_s - self.newest.arrived_s


class Scene:
    """Two guests of 300 and 400 MiB on a host with 500 MiB free, and a clock that is moved by hand."""

    def __init__(self, *, pool_mib: float | None = None) -> None:
        self.now_s = 100.0
        self.host = FakeHost({"Domain-0": domain(0, 320), "g1.xen": domain(1, 300), "g2.xen": domain(2, 400)})
        self.clients = [FakeClient("g1"), FakeClient("g2")]
        self.source = XenSource(
            self.host,  # type: ignore[arg-type]
            self.clients,  # type: ignore[arg-type]
            {name: Terms(min_kib=100 * MIB, max_kib=1000 * MIB) for name in ("g1", "g2")},
            reserve_kib=64 * MIB,
            pool_kib=None if pool_mib is None else pool_mib * MIB,
            clock=lambda: self.now_s,
        )

    def has(self, name: str, **facts: object) -> None:
        self.host.domains = {**self.host.domains, name: replace(self.host.domains[name], **facts)}  # type: ignore[arg-type]


def test_what_a_guest_has_is_what_xen_gives_it_and_not_what_it_says() -> None:
    scene = Scene()
    scene.clients[0].says(99.0, balloon_current_kib=7.0, mem_total_kib=250.0 * MIB)
    view = scene.source.view()
    assert view.current_kib.tolist() == [300 * MIB, 400 * MIB]
    assert view.mem_total_kib[0] == 250 * MIB


def test_a_guest_that_has_said_nothing_is_unknown_in_all_it_would_say() -> None:
    view = Scene().source.view()
    for column in (view.age_s, view.mem_total_kib, view.stall_some, view.swap_in_kib_s):
        assert np.isnan(column).all()
    assert view.current_kib[0] == 300 * MIB


def test_without_a_pool_the_guests_share_what_xen_has() -> None:
    assert Scene().source.view().pool_kib == (300 + 400 + 500 - 64) * MIB
    assert Scene().source.view().total_kib == 2000 * MIB


def test_the_guests_never_share_more_than_the_pool_however_much_xen_has() -> None:
    scene = Scene(pool_mib=900)
    assert scene.source.view().pool_kib == 900 * MIB
    assert scene.source.view().total_kib == (900 + 64) * MIB
    scene.has("g1.xen", current_kib=450 * MIB)
    assert scene.source.view().pool_kib == 900 * MIB
    scene.host.free_kib = 100 * MIB
    assert scene.source.view().pool_kib == (450 + 400 + 100 - 64) * MIB


@pytest.mark.parametrize("bystander", ["Windows 10", None])
def test_what_bystanders_of_any_name_and_of_none_were_promised_is_not_shared(bystander: str | None) -> None:
    scene = Scene()
    other = domain(9, 0, target_kib=300 * MIB)
    if bystander is None:
        scene.host.others = (other,)
    else:
        scene.host.domains = {**scene.host.domains, bystander: other}
    assert scene.source.view().pool_kib == (300 + 400 + 500 - 64 - 300) * MIB


def test_what_other_domains_were_promised_is_not_shared() -> None:
    scene = Scene()
    scene.host.domains = {**scene.host.domains, "other": domain(9, 100, target_kib=150 * MIB)}
    view = scene.source.view()
    assert view.promised_kib == 50 * MIB
    assert view.pool_kib == (300 + 400 + 500 - 64 - 50) * MIB


def test_what_other_domains_were_promised_costs_the_pool_only_what_lies_inside_it() -> None:
    scene = Scene(pool_mib=900)
    scene.host.domains = {**scene.host.domains, "other": domain(9, 100, target_kib=150 * MIB)}
    assert scene.source.view().pool_kib == 900 * MIB
    scene.host.free_kib = 290 * MIB
    assert scene.source.view().pool_kib == (300 + 400 + 290 - 64 - 50) * MIB


def test_what_the_guests_of_the_view_are_promised_is_theirs_to_share() -> None:
    scene = Scene()
    scene.has("g1.xen", target_kib=350 * MIB)
    assert scene.source.view().promised_kib == 0


def test_a_guest_may_have_no_more_than_it_was_created_for() -> None:
    assert Scene().source.view().max_kib.tolist() == [800 * MIB, 800 * MIB]


def test_a_guest_that_is_not_there_or_about_to_go_has_an_unknown_size() -> None:
    scene = Scene()
    scene.has("g1.xen", dying=True)
    scene.host.domains = {name: it for name, it in scene.host.domains.items() if name != "g2.xen"}
    assert np.isnan(scene.source.view().current_kib).all()


def test_a_guest_is_paused_when_xen_says_so_and_of_one_that_is_not_there_nobody_knows() -> None:
    scene = Scene()
    assert scene.source.view().paused.tolist() == [0, 0]
    scene.has("g1.xen", paused=True)
    scene.has("g2.xen", dying=True, paused=True)
    np.testing.assert_array_equal(scene.source.view().paused, [1, np.nan])


def test_the_age_of_a_sample_is_counted_by_the_controllers_clock() -> None:
    scene = Scene()
    scene.clients[0].says(97.5)
    assert scene.source.view().age_s[0] == 2.5


def test_rates_cover_all_that_happened_since_the_view_before() -> None:
    scene = Scene()
    guest = scene.clients[0]
    for at_s, faults in ((96.0, 0.0), (97.0, 10.0)):
        guest.says(at_s, major_faults=faults)
    assert scene.source.view().major_faults_s[0] == 10.0, "the first view has two samples to compare"
    for at_s, faults in ((98.0, 110.0), (99.0, 110.0)):
        guest.says(at_s, major_faults=faults)
    assert scene.source.view().major_faults_s[0] == 50.0, "the sample between the two views is not forgotten"
    assert scene.source.view().major_faults_s[0] == 50.0, "no new sample, no new rate"


def test_dom0_sees_a_silent_guests_swap_traffic_on_its_disk() -> None:
    scene = Scene()
    guest = scene.clients[0]
    guest.says(100.0, swapped_in_kib=0.0, swap_device=float(XVDB + 1))
    scene.has("g1.xen", disks_kib={str(XVDB): (1000, 5000), "51712": (0, 0)})
    scene.source.view()
    scene.now_s = 102.0
    scene.has("g1.xen", disks_kib={str(XVDB): (5000, 5600), "51712": (9, 9)})
    view = scene.source.view()
    assert view.swap_in_kib_s[0] == 2000
    assert view.swap_out_kib_s[0] == 300
    assert math.isnan(view.swap_in_kib_s[1])
    guest.says(103.0, swapped_in_kib=30.0, swap_device=float(XVDB + 1))
    assert scene.source.view().swap_in_kib_s[0] == 10, "as soon as it speaks, its own word counts"


def test_when_dom0_is_away_the_last_state_counts_and_grows_old() -> None:
    scene = Scene()
    scene.clients[0].says(100.0)
    scene.source.view()
    scene.host.reachable = False
    scene.now_s = 108.0
    scene.clients[0].says(108.0)
    view = scene.source.view()
    assert view.current_kib[0] == 300 * MIB
    assert view.age_s[0] == 8.0, "what Xen said is 8 s old, so the whole row is"


def test_a_host_that_cannot_be_asked_at_all_is_an_error_at_once() -> None:
    with pytest.raises(HostError):
        XenSource(FakeHost({}, reachable=False), [], {}, reserve_kib=0)  # type: ignore[arg-type]


class FakeTrace:
    """A trace that tells what it was asked about."""

    def __init__(self) -> None:
        self.asked: list[set[str]] = []

    def returns(self, known: Mapping[str, object], now_s: float) -> dict[str, tuple[tuple[float, float], ...]]:
        self.asked.append(set(known))
        return {"g1.xen": ((4.0, 1.0),), "g2.xen": ()}


def test_without_signals_the_view_has_none() -> None:
    scene = Scene()
    scene.clients[0].says(99.0, swap_device=XVDB)
    view = scene.source.view()
    assert view.page_ages == view.ghost_returns == (None, None)
    assert np.isnan(view.active_kib).all()


def test_the_ages_that_a_guest_tells_are_in_the_view_with_what_it_touched_within_the_window() -> None:
    scene = Scene()
    scene.clients[0].says(99.0, page_ages=((0.0, 30.0, 10.0), (30.0, 80.0, 0.0)))  # type: ignore[arg-type]
    view = scene.source.view()
    assert view.page_ages == (((0.0, 40.0), (30.0, 80.0)), None)
    assert view.active_kib[0] == 40
    assert np.isnan(view.active_kib[1])


def test_what_came_back_is_in_the_view_also_when_it_was_nothing_and_in_its_record() -> None:
    scene, trace = Scene(), FakeTrace()
    scene.source._trace = trace  # type: ignore[assignment]
    scene.clients[0].says(99.0, swap_device=XVDB)
    view = scene.source.view()
    assert trace.asked == [{"g1.xen"}], "of the other nobody knows yet where it swaps"
    assert view.ghost_returns == (((4.0, 1.0),), ())
    again = HostView.from_json(view.to_json())
    assert again.ghost_returns == view.ghost_returns, "traced and nothing came back is not the same as not traced"
    scene.host.reachable = False
    assert scene.source.view().ghost_returns == (None, None)
