"""A policy that raises does not end the service, nor one that answers for other guests, nor a fallback that raises."""

from __future__ import annotations

from collections.abc import Callable
from typing import ClassVar

import numpy as np
import pytest

from harness.policies import Allocation, make
from harness.policies.base import NoParams, Reasons
from harness.service.fallback import LONGEST_PAUSE_S, Steadfast
from harness.view import HostView
from tests.unit.views import MIB, make_view


class Moody:
    """A policy that does as it is told to at each moment."""

    name: ClassVar[str] = "moody"

    def __init__(self, does: Callable[[HostView], Allocation]) -> None:
        self.params, self.does, self.resets, self.asked = NoParams(), does, 0, 0

    def decide(self, view: HostView) -> Allocation:
        self.asked += 1
        return self.does(view)

    def reset(self) -> None:
        self.resets += 1


def grows(view: HostView) -> Allocation:
    return Allocation(targets_kib=view.current_kib + MIB, reasons=("grows",) * len(view))


def raises(_: HostView) -> Allocation:
    raise RuntimeError("cannot")


def too_few(view: HostView) -> Allocation:
    return Allocation(targets_kib=view.current_kib[1:], reasons=("?",) * (len(view) - 1))


def speechless(view: HostView) -> Allocation:
    return Allocation(targets_kib=view.current_kib, reasons=Reasons((1 / 0 for _ in view.names), len(view)))  # type: ignore[misc]


def view_at(time_s: float) -> HostView:
    return make_view([300, 200], pool=600, lo=100, hi=500, time_s=time_s)


class Heard:
    """Events, each as one text."""

    def __init__(self) -> None:
        self.events: list[str] = []

    def __call__(self, event: str, guest: str, detail: str) -> None:
        self.events.append(f"{event} {detail}")


@pytest.mark.parametrize("does", [raises, too_few, speechless])
def test_whatever_is_wrong_with_a_policy_its_fallback_decides(does: Callable[[HostView], Allocation]) -> None:
    heard = Heard()
    policy = Steadfast(Moody(does), make("equal"), heard)
    allocation = policy.decide(view_at(0))
    assert (allocation.targets_kib / MIB).tolist() == [300, 300]
    assert policy.decided.name == "equal"
    assert heard.events[0].startswith("policy_failed the policy moody raised ")


def test_it_is_tried_again_from_its_beginning_with_growing_pauses_and_then_it_decides_again() -> None:
    heard, moody = Heard(), Moody(raises)
    policy = Steadfast(moody, make("static"), heard)
    asked = []
    for time_s in range(2000):
        before = moody.asked
        policy.decide(view_at(float(time_s)))
        if moody.asked > before:
            asked.append(time_s)
    pauses = np.diff(asked).tolist()
    assert pauses == [10, 20, 40, 80, 160, 320, 600, 600]
    assert pauses[-1] == LONGEST_PAUSE_S
    assert moody.resets == len(asked)
    moody.does = grows
    for time_s in range(2000, 3100):
        allocation = policy.decide(view_at(float(time_s)))
    assert policy.decided.name == moody.name
    assert allocation.reasons == ("grows", "grows")
    assert moody.resets == len(asked) + 1, "once more, when it came back"
    assert [event.split()[0] for event in heard.events] == ["policy_failed"] * len(asked) + ["policy_resumed"]
    moody.does = raises
    policy.decide(view_at(3100))
    assert "again in 10 s" in heard.events[-1], "it had done well for long enough"


def test_everybody_keeps_what_he_has_where_the_fallback_raises_too_and_that_is_told_once() -> None:
    heard = Heard()
    policy = Steadfast(Moody(raises), Moody(raises), heard)
    for time_s in range(5):
        allocation = policy.decide(view_at(float(time_s)))
    assert (allocation.targets_kib / MIB).tolist() == [300, 200]
    assert policy.decided.name == "hold"
    assert [event.split()[0] for event in heard.events] == ["policy_failed", "fallback_failed"]


def test_an_error_of_any_length_is_told_in_short() -> None:
    def shouts(_: HostView) -> Allocation:
        raise RuntimeError("x" * 10**6)

    heard = Heard()
    Steadfast(Moody(shouts), make("static"), heard).decide(view_at(0))
    assert len(heard.events[0]) < 700


def test_a_stop_is_no_fault_of_the_policy() -> None:
    def stops(_: HostView) -> Allocation:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        Steadfast(Moody(stops), make("static"), Heard()).decide(view_at(0))
