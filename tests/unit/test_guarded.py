"""A policy behind a guard decides as it would alone; whatever is wrong with it is its own failure, with the place."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from harness import policies
from harness.policies.base import Allocation, Reasons
from harness.policies.guarded import PolicyFailedError, blamed, guarded
from harness.view import HostView
from tests.unit.views import make_view

VIEW = make_view([400, 200, 100], pool=800, lo=50, hi=500)


class Odd:
    """Answers what it is told to."""

    name = "odd"
    params = policies.make("static").params

    def __init__(self, answer: Callable[[], Any]) -> None:
        self.answer = answer

    def decide(self, view: HostView) -> Any:  # noqa: ANN401
        return self.answer()

    def reset(self) -> None:
        self.answer()


def allocation(targets: object, reasons: object = ("a", "b", "c")) -> Callable[[], Allocation]:
    return lambda: Allocation(targets_kib=np.array(targets, dtype=float), reasons=reasons)  # type: ignore[arg-type]


@pytest.mark.parametrize("name", policies.names())
def test_a_policy_that_is_well_decides_behind_its_guard_as_it_does_alone(name: str) -> None:
    alone, watched = policies.make(name), guarded(policies.make(name))
    watched.reset()
    wanted, found = alone.decide(VIEW), watched.decide(VIEW)
    np.testing.assert_array_equal(found.targets_kib, wanted.targets_kib)
    assert (tuple(found.reasons), found.state) == (tuple(wanted.reasons), wanted.state)
    assert (watched.name, watched.params) == (alone.name, alone.params)


@pytest.mark.parametrize(
    ("answer", "said"),
    [
        (lambda: 1 // 0, r"ZeroDivisionError: .* \(tests/unit/test_guarded\.py:\d+ in <lambda>\)"),
        (lambda: None, "the answer is no allocation but NoneType"),
        (allocation([1, 2]), "2 targets and 3 reasons for 3 guests"),
        (allocation([1, 2, 3], ("a",)), "3 targets and 1 reasons for 3 guests"),
        (allocation([[1, 2, 3]]), "1 targets and 3 reasons for 3 guests"),
        (allocation([1, np.nan, 3]), "the target of g2 is nan"),
        (allocation([1, 2, np.inf]), "the target of g3 is inf"),
    ],
)
def test_whatever_is_wrong_with_a_decision_is_told_with_policy_exception_and_place(
    answer: Callable[[], Any], said: str
) -> None:
    with pytest.raises(PolicyFailedError, match=rf"the policy odd raised \w+: {said}|{said}") as failed:
        guarded(Odd(answer)).decide(VIEW)
    assert re.search(r"\((harness|tests)/[\w/]+\.py:\d+ in [\w<>]+\)$", str(failed.value))


def test_reasons_that_cannot_be_put_into_words_are_the_policys_failure_when_they_are_read() -> None:
    texts = (str(1 // number) for number in (1, 2, 0))
    found = guarded(Odd(allocation([1, 2, 3], Reasons(texts, 3)))).decide(VIEW)
    with pytest.raises(PolicyFailedError, match="odd raised ZeroDivisionError"):
        list(found.reasons)


def test_a_fault_of_a_library_is_placed_where_the_policy_called_it() -> None:
    with pytest.raises(PolicyFailedError, match=r"test_guarded\.py:\d+ in |numpy"):
        guarded(Odd(lambda: np.zeros(2) + np.zeros(3))).decide(VIEW)


def test_ctrl_c_is_nobodys_fault() -> None:
    with pytest.raises(KeyboardInterrupt), blamed("odd"):
        raise KeyboardInterrupt
