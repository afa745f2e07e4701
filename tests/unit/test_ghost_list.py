"""The ghost list: how deep a page lies among the evicted, compared with a list that is simply counted through."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.xen import ghost_list
from harness.xen.ghost_list import GhostList, Stack

STEPS = st.lists(st.tuples(st.sampled_from("WRD"), st.integers(0, 12)), max_size=200)


class Naive:
    """The same, newest first, without a tree."""

    def __init__(self, most: int = 10**9) -> None:
        self.evicted: list[int] = []
        self.most = most

    def step(self, kind: str, page: int) -> int | None:
        depth = self.evicted.index(page) + 1 if page in self.evicted else None
        if depth is not None:
            self.evicted.remove(page)
        if kind == "W":
            self.evicted.insert(0, page)
            del self.evicted[self.most :]
        return depth if kind == "R" else None


def step(ghosts: GhostList, kind: str, page: int) -> int | None:
    if kind == "R":
        return ghosts.read(page)
    (ghosts.write if kind == "W" else ghosts.discard)(page)
    return None


@given(STEPS, st.sampled_from([2, 5, 10**9]))
def test_every_depth_is_that_of_a_list_counted_through(steps: list[tuple[str, int]], most: int) -> None:
    ghosts, naive = GhostList(most), Naive(most)
    for kind, page in steps:
        assert step(ghosts, kind, page) == naive.step(kind, page)
        assert len(ghosts) == len(naive.evicted)


@given(steps=STEPS)
def test_depths_stay_exact_when_slots_run_out(steps: list[tuple[str, int]]) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(ghost_list, "LEAST_SLOTS", 4)
        ghosts, naive = GhostList(), Naive()
        for kind, page in steps * 3:
            assert step(ghosts, kind, page) == naive.step(kind, page)


def test_a_large_stack_is_exact_and_never_grows_beyond_twice_its_pages() -> None:
    stack = Stack()
    for page in range(20_000):
        stack.push(page)
    for page in range(0, 20_000, 2):
        assert stack.take(page) == 20_000 - page, "all that are younger are still there"
    for _ in range(5):
        for page in range(1, 20_000, 2):
            stack.push(page)
    assert len(stack) == 10_000
    assert stack._size <= 40_000
    assert stack.take(1) == 10_000


def test_a_loop_over_more_than_fits_comes_back_from_the_depth_of_what_does_not_fit() -> None:
    ghosts, memory = GhostList(), list(range(60))
    for page in range(60, 100):  # 100 pages were touched, 60 fit: the oldest is written out for every new one
        ghosts.write(memory.pop(0))
        memory.append(page)
    depths = set()
    for at in range(1000):
        page = at % 100
        ghosts.write(memory.pop(0))
        depths.add(ghosts.read(page))
        memory.append(page)
    assert depths == {41}, "itself and the 40 that do not fit, since one left before it came"


def test_pages_that_are_evicted_again_without_a_write_are_placed_by_what_the_guest_says() -> None:
    ghosts = GhostList()
    for page in range(100):
        ghosts.write(page)
    for page in range(60):
        ghosts.read(page)
    ghosts.settle(evicted_pages=40, copied_pages=60)
    for page in range(60, 70):
        assert ghosts.read(page) == 40 - (page - 60), "oldest first"
    ghosts.settle(evicted_pages=40, copied_pages=60)
    assert ghosts.read(0) == 10, "the first that came back was the first to go again"
    assert ghosts.unplaced == 0


def test_without_what_the_guest_says_a_second_return_without_a_write_has_no_depth() -> None:
    ghosts = GhostList()
    ghosts.write(7)
    assert ghosts.read(7) == 1
    assert ghosts.read(7) is None
    assert ghosts.unplaced == 1


def test_pages_that_were_freed_unseen_make_no_depth_deeper() -> None:
    ghosts = GhostList()
    for page in range(100):
        ghosts.write(page)
    ghosts.settle(evicted_pages=50, copied_pages=0)
    assert ghosts.read(20) == 40, "half of the 80 that lie above it are there no more"
    ghosts.settle(evicted_pages=0, copied_pages=0)
    assert len(ghosts) == 0, "swap is empty"


def test_what_is_still_on_its_way_does_not_count_as_freed() -> None:
    ghosts = GhostList()
    for page in range(100):
        ghosts.write(page)
    ghosts.settle(evicted_pages=40, copied_pages=0, moving_pages=60)
    assert ghosts.read(0) == 100


@given(STEPS, st.lists(st.tuples(st.integers(-5, 30), st.integers(-5, 30), st.integers(0, 5)), min_size=1, max_size=20))
def test_whatever_a_guest_claims_the_list_stays_within_its_measure(
    steps: list[tuple[str, int]], claims: list[tuple[int, int, int]]
) -> None:
    ghosts = GhostList(most_pages=8)
    for i, (kind, page) in enumerate(steps):
        depth = step(ghosts, kind, page)
        assert depth is None or 1 <= depth <= 8
        ghosts.settle(*claims[i % len(claims)])
        assert len(ghosts) <= 8


PAGES = st.lists(st.integers(0, 40), max_size=40, unique=True)


@given(PAGES, PAGES, st.integers(0, 50))
def test_many_pages_at_once_lie_as_if_they_had_come_and_gone_one_by_one(
    before: list[int], pushed: list[int], dropped: int
) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(ghost_list, "LEAST_SLOTS", 4)
        at_once, one_by_one = Stack(), Stack()
        for page in before:
            at_once.push(page)
            one_by_one.push(page)
        at_once.push_all(pushed)
        for page in pushed:
            one_by_one.push(page)
        at_once.drop_oldest(dropped)
        for _ in range(min(dropped, len(one_by_one))):
            one_by_one.drop_oldest()
        assert [at_once.take(page) for page in range(41)] == [one_by_one.take(page) for page in range(41)]


def test_silent_evictions_are_no_more_than_there_are_copies_and_stay_within_the_measure() -> None:
    ghosts = GhostList(most_pages=50)
    for page in range(40):
        ghosts.write(page)
    for page in range(30):
        ghosts.read(page)
    for page in range(100, 140):
        ghosts.write(page)
    ghosts.evict_silently(1 << 60)
    assert len(ghosts) == 50
    assert ghosts.known == 50
