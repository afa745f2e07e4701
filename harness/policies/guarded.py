"""A policy whose faults stay its own: what it raises, and an answer that is none, is its failure, with the place."""

from __future__ import annotations

import traceback
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import cast

import numpy as np

from harness.policies.base import Allocation, Params, Policy, PolicyError, Reasons
from harness.view import HostView

PROJECT = Path(__file__).parents[2]


class PolicyFailedError(RuntimeError):
    """A policy raised an exception; the message says which, of what kind and where."""


def guarded(policy: Policy) -> Policy:
    """Put a policy behind a guard; it decides as it would alone.

    What it raises in `decide` and `reset`, and when its reasons are put into words, becomes a PolicyFailedError.
    """
    return cast("Policy", _Guarded(policy=policy))  # its name is that of an instance, not of a class


@dataclass(frozen=True, slots=True, kw_only=True)
class _Guarded:
    policy: Policy

    @property
    def name(self) -> str:
        """The policy's."""
        return self.policy.name

    @property
    def params(self) -> Params:
        """The policy's."""
        return self.policy.params

    def reset(self) -> None:
        """Let the policy forget."""
        with blamed(self.name):
            self.policy.reset()

    def decide(self, view: HostView) -> Allocation:
        """Let the policy decide, and look whether that is an answer."""
        with blamed(self.name):
            allocation = self.policy.decide(view)
            if fault := _fault(allocation, view):
                raise PolicyError(fault)
            reasons = allocation.reasons
            return replace(allocation, reasons=Reasons(self._read(reasons), len(reasons)))

    def _read(self, reasons: Sequence[str]) -> Iterator[str]:
        with blamed(self.name):
            yield from reasons


@contextmanager
def blamed(policy: str) -> Iterator[None]:
    """What is raised in here is the fault of this policy.

    Raises:
        PolicyFailedError: instead.

    """
    try:
        yield
    except Exception as error:
        said = f"the policy {policy} raised {type(error).__name__}: {error} ({_place(error)})"
        raise PolicyFailedError(said) from error


def _fault(allocation: object, view: HostView) -> str:
    """What is wrong with an answer, as far as nobody could go on with it."""
    if not isinstance(allocation, Allocation):
        return f"the answer is no allocation but {type(allocation).__name__}"
    count = len(view)
    if np.shape(allocation.targets_kib) != (count,) or len(allocation.reasons) != count:
        return f"{len(allocation.targets_kib)} targets and {len(allocation.reasons)} reasons for {count} guests"
    without = ~np.isfinite(allocation.targets_kib) & np.isfinite(view.current_kib)
    if without.any():
        at = int(np.argmax(without))
        return f"the target of {view.names[at]} is {allocation.targets_kib[at]}"
    return ""


def _place(error: Exception) -> str:
    """The file, line and function where it was raised: of our own, where a library did it on our behalf."""
    frames = traceback.extract_tb(error.__traceback__)
    ours = [frame for frame in frames if frame.filename.startswith(f"{PROJECT}/harness/")]
    frame = next((frame for frame in reversed(ours) if frame.filename != __file__), frames[-1])
    name = frame.filename.removeprefix(f"{PROJECT}/")
    return f"{name}:{frame.lineno} in {frame.name}"
