"""The two ports of the arbiter, a source of views and a host that applies plans, and the clock it lives by.

`xen`, `simulator` and `replay` implement them; the arbiter does not know which it has.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Protocol

from harness.governor import Plan
from harness.view import HostView


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """What the host made of a plan."""

    applied_kib: Mapping[str, int]
    """Guest → the target that was set."""
    failed: Mapping[str, str]
    """Guest → why its target, or its cap, could not be set."""


class Source(Protocol):
    """Where views come from."""

    def view(self) -> HostView:
        """The newest view; blocks for at most one period."""
        ...


class Host(Protocol):
    """Who carries plans out."""

    def apply(self, plan: Plan) -> Outcome:
        """Set the targets of a plan, in its order, and its caps."""
        ...

    def renew_lease(self, safe_kib: Mapping[str, int] | None = None) -> None:
        """Tell the dead-man that the arbiter lives, and what the safe targets are from now on; None: as before."""
        ...

    def restore(self, targets_kib: Mapping[str, int]) -> None:
        """Set the safe targets, whatever was asked before."""
        ...


class Clock(Protocol):
    """Real or virtual time, in seconds; monotonic."""

    def now_s(self) -> float:
        """Seconds since some fixed moment."""
        ...

    def sleep_until(self, t_s: float) -> None:
        """Return at `t_s`, or at once when it has passed."""
        ...
