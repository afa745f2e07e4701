"""Whose time it is, and waiting by it."""

from __future__ import annotations

import time

import pytest

from harness.clocks import LOOK_S, SystemClock, wait_for
from harness.xen.clock import STEP_S, Dom0Clock


class Dom0:
    """A machine whose time goes only while it is asked to wait for a moment, and then at once."""

    def __init__(self, clock: Dom0Clock, *, stepping: bool) -> None:
        self.clock, self.stepping, self.asked_s = clock, stepping, []  # type: ignore[var-annotated]
        self.away = 0

    def until(self, moment_s: float) -> None:
        if self.away:
            self.away -= 1
            raise ConnectionError("dom0 is away")
        self.heard_s = self.clock.now_s()
        self.asked_s.append(moment_s)
        self.clock.told(moment_s, stepping=self.stepping)


def followed(*, stepping: bool) -> tuple[Dom0Clock, Dom0]:
    clock = Dom0Clock()
    dom0 = Dom0(clock, stepping=stepping)
    clock.follow(dom0, 100.0)
    clock.told(100.0, stepping=stepping)
    return clock, dom0


def test_a_machine_that_stands_still_has_a_clock_that_does() -> None:
    clock, _ = followed(stepping=True)
    time.sleep(0.02)
    assert clock.now_s() == 100.0


def test_a_sleep_takes_steps_of_the_machines_own_time_and_ends_at_its_moment() -> None:
    clock, dom0 = followed(stepping=True)
    began_s = time.monotonic()
    clock.sleep_until(460.1)  # six minutes of it take no time here
    assert clock.now_s() == 460.1
    assert dom0.asked_s[:2] == [100.0 + STEP_S, 100.0 + 2 * STEP_S]
    assert time.monotonic() - began_s < 30


def test_what_is_heard_while_a_step_is_taken_counts_as_heard_at_its_end() -> None:
    clock, dom0 = followed(stepping=True)
    clock.sleep_until(100.1)
    assert dom0.heard_s == 100.1


def test_a_machine_that_goes_on_by_itself_is_taken_to_go_as_the_controllers_clock() -> None:
    clock, dom0 = followed(stepping=False)
    time.sleep(0.05)
    assert 100.05 <= clock.now_s() < 101
    clock.sleep_until(102)
    assert dom0.asked_s[-1] == 102


def test_time_never_goes_back_when_an_answer_says_that_it_was_later_than_it_is() -> None:
    clock, _ = followed(stepping=False)
    time.sleep(0.05)
    before_s = clock.now_s()
    clock.told(100.0)
    assert clock.now_s() >= before_s


def test_a_dom0_that_cannot_be_asked_delays_and_does_not_end_the_wait() -> None:
    clock, dom0 = followed(stepping=True)
    dom0.away = 1
    clock.sleep_until(101)
    assert clock.now_s() >= 101


def test_before_the_first_answer_it_is_zero() -> None:
    assert Dom0Clock().now_s() == 0.0


@pytest.mark.parametrize("looks", [0, 3])
def test_what_is_waited_for_is_seen_soon_after_it_came(looks: int) -> None:
    clock, _ = followed(stepping=True)
    left = [looks]

    def come() -> bool:
        left[0] -= 1
        return left[0] < 0

    assert wait_for(clock, come, 60)
    assert clock.now_s() == 100 + looks * LOOK_S


def test_a_wait_ends_at_its_limit() -> None:
    clock, _ = followed(stepping=True)
    assert not wait_for(clock, lambda: False, 1.1)
    assert clock.now_s() == pytest.approx(101.1)
    assert not wait_for(SystemClock(), lambda: False, 0.01)
