"""What Xen says about itself and its domains, as the agent in dom0 tells it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any


class StateError(ValueError):
    """What dom0 says of itself cannot be read."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Domain:
    """What Xen says about one domain; KiB."""

    domid: int
    current_kib: int
    """What it has."""
    max_kib: int | None
    """What it may have at this moment."""
    static_max_kib: int | None
    """What it was created for; it can never have more."""
    target_kib: int | None
    """Where its balloon is told to go."""
    paused: bool
    dying: bool
    """Ending, ended or crashed."""
    disks_kib: Mapping[str, tuple[int, int]]
    """What was ever read from and written to each of its disks, by device number, where dom0 itself serves them."""
    hvm: bool | None = None
    """By the processor's virtualisation (PVH or HVM), not paravirtual; None: dom0 cannot tell."""


@dataclass(frozen=True, slots=True, kw_only=True)
class HostState:
    """What Xen says about itself; domains by the names that Xen has for them."""

    total_kib: int
    free_kib: int
    domains: Mapping[str, Domain]
    others: tuple[Domain, ...] = ()
    """Those that have no name by which they could be asked for: being built, or several of one name."""

    @classmethod
    def told(cls, said: Mapping[str, Any]) -> HostState:
        """Read the agent's answer to `state`.

        Raises:
            StateError: it is none.

        """
        try:
            domains = {name: _domain(facts) for name, facts in said["domains"].items()}
            others = tuple(_domain(facts) for facts in said.get("others", ()))
            return cls(
                total_kib=_kib(said["total_kib"]), free_kib=_kib(said["free_kib"]), domains=domains, others=others
            )
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            raise StateError(
                f"dom0's agent tells no state that can be read ({type(error).__name__}: {error})"
            ) from error


def _domain(facts: Mapping[str, Any]) -> Domain:
    disks = {number: (read, written) for number, (read, written) in facts["disks_kib"].items()}
    _kib(facts["domid"])
    _kib(facts["current_kib"])
    return Domain(**{**{name: facts[name] for name in Domain.__slots__}, "disks_kib": disks})


def _kib(number: object) -> int:
    if not isinstance(number, int):
        raise TypeError(f"{str(number)[:40]} is no whole number")
    return number
