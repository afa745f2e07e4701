"""What an experiment varies: levels of one quantity, each a change to the experiment; and guests by the number."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, Literal

from pydantic import Field

from harness.experiment.document import UNSEEN, Model
from harness.experiment.machine import LabTerms
from harness.experiment.workloads import Listed, Name

MiB = Annotated[int, Field(gt=0)]
GuestName = Annotated[str, Field(pattern=r"^[a-z][a-z0-9-]{0,30}$")]
HostName = Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]{0,62}$")]

Kind = Literal[
    "slow", "stuck", "stuck-at-times", "hidden-minimum", "hidden-maximum", "paused", "rebooting", "stale", "lying",
    "claiming", "babbling", "flooding",
]  # fmt: skip
Virtualisation = Literal["pv", "pvh"]


class Behaviour(Model):
    """How a guest treats the arbiter, where it is not obedient.

    The simulator can make guests behave in all of these ways, the lab in some (`harness.experiment.faults`).
    """

    kind: Kind
    at_s: Annotated[float, Field(ge=0)] = 0.0
    """When it begins."""
    for_s: Annotated[float, Field(gt=0)] | None = None
    """How long it lasts, of stuck-at-times how long each time; None: to the end."""
    rate_mib_s: Annotated[float, Field(gt=0)] = 4.0
    """Of slow: how fast its balloon is."""
    mib: MiB = 256
    """Of the hidden limits."""
    factor: Annotated[float, Field(gt=0)] = 2.0
    """Of lying: by how much what it says it uses and has committed exceeds the truth."""


class Guest(Model):
    """One guest: what runs in it, and the memory (MiB) that it has at first, at least and at most."""

    name: GuestName
    count: Annotated[int, Field(ge=1, le=100_000)] = 1
    """So many of the same kind, called name1, name2, …"""
    workload: Name
    parameters: Mapping[str, Any] = Field(default={}, alias="with")
    """Of the workload. After loading: all of them, defaults included."""
    min_mib: MiB
    initial_mib: MiB
    max_mib: MiB
    shares: Annotated[int, Field(gt=0)] = 1000
    type: Virtualisation | None = None
    """How Xen runs it. None: pv in the lab, and whatever it is on a host of one's own."""
    host: HostName | None = None
    """The Xen host that it is on, where the experiment has several."""
    behaviour: Behaviour | None = None

    def members(self) -> tuple[Guest, ...]:
        """Return the guests that it stands for."""
        if self.count == 1:
            return (self,)
        return tuple(
            self.model_copy(update={"name": f"{self.name}{number}", "count": 1}) for number in range(1, self.count + 1)
        )


class GuestChange(Model):
    """What is other about a guest at a level; what is left out stays."""

    count: Annotated[int, Field(ge=1, le=100_000)] | None = None
    workload: Name | None = None
    parameters: Mapping[str, Any] = Field(default={}, alias="with")
    min_mib: MiB | None = None
    initial_mib: MiB | None = None
    max_mib: MiB | None = None
    shares: Annotated[int, Field(gt=0)] | None = None
    behaviour: Behaviour | None = None

    def of(self, guest: Guest) -> Guest:
        """Return the changed guest. Another workload begins with its own parameters."""
        changes = {key: value for key in _PLAIN if (value := getattr(self, key)) is not None}
        kept = {} if self.workload not in (None, guest.workload) else guest.parameters
        return guest.model_copy(update={**changes, "parameters": {**kept, **self.parameters}})


_PLAIN = ("count", "workload", "min_mib", "initial_mib", "max_mib", "shares", "behaviour")


class Level(Model):
    """One level: where it stands on the axis, and what is other there."""

    at: float
    pool_mib: MiB | None = None
    reserve_mib: Annotated[int, Field(ge=0)] | None = None
    duration_s: Annotated[float, Field(gt=0)] | None = None
    period_s: Annotated[float, Field(gt=0)] | None = None
    lab: LabTerms | None = None
    """Its disks, as far as they are others; the processor is the same at all levels."""
    guests: Mapping[GuestName, GuestChange] = {}

    def changes(self) -> dict[str, Any]:
        """Return the keys of the experiment, other than guests, that are other here."""
        keys = ("pool_mib", "reserve_mib", "duration_s", "period_s")
        return {key: value for key in keys if (value := getattr(self, key)) is not None}


class Sweep(Model):
    """What is varied, its unit, and the levels; every policy runs at every level in every repetition."""

    name: Annotated[str, Field(pattern=rf"^[^{UNSEEN}]{{1,60}}$")]
    unit: Annotated[str, Field(pattern=rf"^[^{UNSEEN}]{{0,60}}$")] = ""
    levels: Annotated[tuple[Level, ...], Listed]
