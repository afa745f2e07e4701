"""Ghost returns: from what dom0 saw on a swap disk to how much came back from what depth."""

from __future__ import annotations

import math
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.xen import ghost_list, swap_trace
from harness.xen.domains import Domain
from harness.xen.facts import Sample
from harness.xen.host import HostError
from harness.xen.swap_trace import Histogram, SwapTrace, depth_class, pages, swap_disk

MIB = 1024
XVDB = 202 * 256 + 16
PAGES_MIB = 256


def domain(domid: int = 1, disks: tuple[int, ...] = (XVDB,)) -> Domain:
    return Domain(
        domid=domid, current_kib=1, max_kib=None, static_max_kib=None, target_kib=None, paused=False, dying=False,
        disks_kib={str(disk): (0, 0) for disk in disks},
    )  # fmt: skip


def sample(*, used_mib: float = math.nan, cached_mib: float = math.nan, device: float = XVDB) -> Sample:
    return Sample(
        seq=0, mono_s=0, swap_used_kib=used_mib * MIB, swap_cached_kib=cached_mib * MIB, swap_device=device
    )  # fmt: skip


@dataclass
class FakeHost:
    """dom0, which says what it is told to."""

    events: dict[str, str] = field(default_factory=dict)
    failed: dict[str, str] = field(default_factory=dict)
    lost: int = 0
    away: bool = False
    asked: list[Mapping[str, int]] = field(default_factory=list)

    def trace(self, disks: Mapping[str, int]) -> dict[str, Any]:
        if self.away:
            raise HostError("dom0 is away")
        self.asked.append(disks)
        told = {name: self.events.pop(name, "") for name in disks if name not in self.failed}
        return {"events": told, "failed": self.failed, "lost": self.lost}


class Scene:
    """A trace of one guest, in intervals of 2 s."""

    def __init__(self) -> None:
        self.host, self.told, self.now_s = FakeHost(), list[tuple[str, str, str]](), 0.0
        self.trace = SwapTrace(self.host, lambda *event: self.told.append(event))  # type: ignore[arg-type]

    def returns(self, events: str = "", *, domid: int = 1, **said: float) -> Any:  # noqa: ANN401  # a curve or None
        self.host.events["g1"] = events
        self.now_s += 2.0
        return self.trace.returns({"g1": (sample(**said), domain(domid))}, self.now_s).get("g1")


def mib(kind: str, start: int, size: int) -> str:
    """A mebibyte-sized event of the tracer."""
    return f"{kind}{start * 2048}+{size * 2048}"


def test_what_is_read_back_stands_at_the_depth_of_what_was_evicted_after_it() -> None:
    scene = Scene()
    assert scene.returns() is None, "nothing is known before the first interval"
    assert scene.returns(" ".join([mib("W", 1, 1), mib("W", 100, 30)])) == ()
    assert scene.returns("R2048+8") == ((31 * MIB, 2.0),), "4 KiB in 2 s, from under the 30 MiB and its own"


def test_a_loop_comes_back_from_one_depth_in_full() -> None:
    scene = Scene()
    scene.returns()
    scene.returns(mib("W", 0, 40))
    ((depth, rate),) = scene.returns(" ".join(f"R{page * 8}+8 W{(10_240 + page) * 8}+8" for page in range(256)))
    assert depth == 40 * MIB
    assert rate == 512


@given(st.text(max_size=200) | st.from_regex(r"([WRD][0-9]{1,20}\+[0-9]{1,4} )*", fullmatch=True))
def test_no_text_whatever_makes_other_pages_than_it_says(text: str) -> None:
    for kind, page in pages(text):
        assert kind in "WRD"
        assert page >= 0


def test_an_event_without_end_is_followed_only_so_far(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(swap_trace, "MOST_PAGES", 100)
    scene = Scene()
    scene.returns("W0+9999999999")
    assert len(scene.trace._guests["g1"].ghosts) <= 101
    assert [event for event, _, _ in scene.told] == ["trace_lost"]


@given(st.floats(0, 3e6))
def test_a_class_of_the_histogram_is_never_wider_than_a_mebibyte_or_an_eighth_of_the_depth(depth_kib: float) -> None:
    found = depth_class(depth_kib)
    assert found <= depth_class(depth_kib * 1.001)
    assert depth_class(depth_kib + max(MIB, depth_kib / 8)) > found


def test_there_are_about_seventy_classes_for_what_is_remembered() -> None:
    assert depth_class(2 * MIB * MIB - 4) == 71


def test_a_class_stands_at_its_deepest_return() -> None:
    histogram = Histogram()
    for depth_kib in (100, 900, 500):
        histogram.add(depth_kib)
    assert histogram.curve(2.0) == ((900, 6.0),)


def test_evictions_that_the_disk_does_not_show_are_spread_over_the_interval() -> None:
    scene = Scene()
    scene.returns()
    scene.returns(mib("W", 0, 100), used_mib=100, cached_mib=0)
    for start in (0, 20, 40, 60, 80, 0, 20, 40):  # 100 MiB in a loop, only read: 60 fit, and the disk sees no eviction
        curve = scene.returns(mib("R", start, 20), used_mib=100, cached_mib=60)
    assert curve[0][0] == pytest.approx(40 * MIB, rel=0.02)
    assert sum(rate for _, rate in curve) == 20 * MIB / 2, "every page that came back has a depth"


def test_a_guest_that_was_created_anew_starts_anew() -> None:
    scene = Scene()
    scene.returns()
    scene.returns("W8+8")
    assert scene.returns("R8+8", domid=2) is None
    assert scene.returns("R8+8", domid=2) == ()


def test_a_guest_without_a_swap_disk_is_not_asked_for() -> None:
    scene = Scene()
    assert scene.returns(device=math.nan) is None
    assert scene.returns(device=3.0) is None
    assert scene.host.asked == [{}, {}]


def test_a_partition_is_looked_for_on_its_disk() -> None:
    assert swap_disk(sample(device=XVDB + 1), domain()) == XVDB
    assert swap_disk(sample(device=XVDB + 1), domain(disks=(XVDB + 1,))) == XVDB + 1
    assert swap_disk(sample(device=XVDB + 1), domain(disks=())) is None


def test_what_cannot_be_traced_is_said_once_and_again_when_it_is_back() -> None:
    scene = Scene()
    for failed in ({"g1": "no blkback"}, {"g1": "no blkback"}, {}, {"g1": "no blkback"}):
        scene.host.failed = failed
        scene.returns()
    assert scene.told == [("trace_failed", "g1", "no blkback")] * 2


def test_when_dom0_is_away_nothing_is_known_and_afterwards_rates_cover_the_whole_time() -> None:
    scene = Scene()
    scene.returns()
    scene.returns("W8+8")
    scene.host.away = True
    assert scene.returns() is None
    scene.host.away = False
    assert scene.returns("R8+8") == ((4.0, 1.0),), "4 KiB in the 4 s since dom0 was heard last"


def test_lost_events_are_told_ever_more_rarely() -> None:
    scene = Scene()
    scene.host.lost = 1
    for _ in range(9):
        scene.returns()
    assert len(scene.told) == 4


def took_s(scene: Scene, events: str, **said: float) -> float:
    """Of the processor's time, for one interval."""
    began_s = time.process_time()
    scene.returns(events, **said)
    return time.process_time() - began_s


def test_what_an_interval_takes_does_not_depend_on_what_the_guest_claims_to_have_in_swap() -> None:
    scene = Scene()
    scene.returns()
    scene.returns(mib("W", 0, 100) + " " + mib("R", 0, 50))
    assert took_s(scene, "R2048+8", used_mib=2**30, cached_mib=0) < 0.5


def test_a_guest_that_moves_much_is_followed_by_a_part_of_its_pages_and_its_depths_stay_true() -> None:
    scene = Scene()
    scene.returns()
    for start in range(0, 2048, 128):
        scene.returns(mib("W", start, 128))
    guest = scene.trace._guests["g1"]
    assert guest.every > 1
    assert guest.ghosts.known <= ghost_list.MOST_PAGES
    curve = scene.returns(mib("R", 1024, 64))
    assert curve[-1][0] == pytest.approx(1024 * MIB, rel=0.02)
    assert sum(rate for _, rate in curve) == pytest.approx(64 * MIB / 2, rel=0.05)
    assert scene.told == [], "nothing was lost"
    scene.returns(used_mib=0, cached_mib=0)
    assert guest.every == 1, "swap is empty: every page is followed again"


def test_a_guest_that_swaps_the_very_pages_that_are_followed_takes_no_more_than_a_measure() -> None:
    scene = Scene()
    scene.returns()
    chosen = [page for page in range(2_000_000) if (page * swap_trace.SPREAD & swap_trace.WORD) >> 40 & 15 == 0]
    events = " ".join(f"W{page * 8}+8" for page in chosen)
    assert took_s(scene, events) < 3
    guest = scene.trace._guests["g1"]
    for _ in range(4):
        scene.returns(events)
    assert guest.ghosts.known <= ghost_list.MOST_PAGES
