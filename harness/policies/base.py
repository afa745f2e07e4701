"""What every policy shares: its answer, its parameters, its treatment of the unknown, and two small memories."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from types import MappingProxyType
from typing import ClassVar, Protocol, cast, overload

import numpy as np
from pydantic import BaseModel, ConfigDict

from harness.view import BoolArray, FloatArray, HostView

MIB = 1024.0
"""KiB in a MiB."""


class PolicyError(ValueError):
    """A policy or a parameter that does not exist or does not fit; the message says what does."""


class Params(BaseModel):
    """Parameters of a policy. Every field says its unit, its range, its default and where that comes from."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)


class NoParams(Params):
    """A policy without parameters."""


class Reasons(Sequence[str]):
    """One reason a guest, put into words only when somebody reads them: most ticks nobody does at once."""

    def __init__(self, texts: Iterable[str], count: int) -> None:
        self._texts, self._count, self._read = texts, count, False

    def _said(self) -> tuple[str, ...]:
        if not self._read:
            self._texts, self._read = tuple(self._texts), True
        return cast("tuple[str, ...]", self._texts)

    def __len__(self) -> int:
        return self._count

    def __iter__(self) -> Iterator[str]:
        yield from self._said()

    @overload
    def __getitem__(self, at: int) -> str: ...
    @overload
    def __getitem__(self, at: slice) -> tuple[str, ...]: ...
    def __getitem__(self, at: int | slice) -> str | tuple[str, ...]:
        return self._said()[at]

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Sequence) and self._said() == tuple(other)

    __hash__ = None  # type: ignore[assignment]  # like every sequence that is compared by what it holds

    def __repr__(self) -> str:
        return repr(self._said())


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Allocation:
    """What a policy wants: one target and one reason per guest, in the order of the view it was given."""

    targets_kib: FloatArray
    """NaN only for a guest whose current memory is unknown too."""
    reasons: Sequence[str]
    state: str | None = None


class Policy(Protocol):
    """A policy: pure but for its own small state, which `reset` clears at the start of every trial."""

    name: ClassVar[str]

    @property
    def params(self) -> Params:
        """The parameters in force."""
        ...

    def decide(self, view: HostView) -> Allocation:
        """Decide once for the guests of the view."""
        ...

    def reset(self) -> None:
        """Forget everything seen so far."""
        ...


Decide = Callable[[HostView], Allocation]

HOST_NEEDS = ("free_kib", "reserve_kib", "promised_kib")
GUEST_NEEDS = ("current_kib", "min_kib", "max_kib", "shares")


def among_known(
    view: HostView,
    decide: Decide,
    *,
    needs: Sequence[str] = (),
    host: Sequence[str] = HOST_NEEDS,
    without: Mapping[str, BoolArray] = MappingProxyType({}),
) -> Allocation:
    """Decide among the guests whose `needs`, bounds and shares are known; the others are held, out of the pool.

    A held guest keeps what it has and its reason says what is not known; where a figure of the host is not known
    all are. `without` maps further reasons to the guests that they hold. So `decide` never meets NaN, never has to
    invent a number, and always has a guest.
    """
    if _all_known(view, needs, host) and not any(lacking.any() for lacking in without.values()):
        return decide(view)
    faults = _faults(view, needs, host)
    for fault, lacking in without.items():
        faults = [old or (fault if lacks else None) for old, lacks in zip(faults, lacking, strict=True)]
    known = np.array([fault is None for fault in faults], dtype=bool)
    targets = view.current_kib.copy()
    held = zip(view.current_kib, faults, strict=True)
    if not known.any():
        texts = (f"held at {mib(size)}: {fault}" for size, fault in held)
        return Allocation(targets_kib=targets, reasons=Reasons(texts, len(view)))
    inner = decide(view.select(known))
    targets[known] = inner.targets_kib
    decided = iter(inner.reasons)
    texts = (f"held at {mib(size)}: {fault}" if fault else next(decided) for size, fault in held)
    return Allocation(targets_kib=targets, reasons=Reasons(texts, len(view)), state=inner.state)


def _all_known(view: HostView, needs: Sequence[str], host: Sequence[str]) -> bool:
    """Whether nothing is missing for anybody: a sum with anything unknown in it is unknown."""
    guests = sum(float(getattr(view, name).sum()) for name in (*needs, *GUEST_NEEDS))
    if math.isnan(guests + sum(getattr(view, name) for name in host)) or len(view) == 0:
        return False
    return bool((view.min_kib <= view.max_kib).all() and (view.shares > 0).all())


def _faults(view: HostView, needs: Sequence[str], host: Sequence[str]) -> list[str | None]:
    """Per guest, what keeps it out of a decision; None where nothing does."""
    for name in host:
        if math.isnan(getattr(view, name)):
            return [f"the host's {name} is not known"] * len(view)
    faults: list[str | None] = [None] * len(view)
    for i in np.flatnonzero(view.min_kib > view.max_kib):
        faults[i] = "its min_kib is above its max_kib"
    for i in np.flatnonzero(view.shares <= 0):
        faults[i] = "its shares are not above 0"
    for name in (*needs, *GUEST_NEEDS):
        for i in np.flatnonzero(np.isnan(getattr(view, name))):
            faults[i] = f"its {name} is not known"
    return faults


def mib(kib: float) -> str:
    """A size for people: `352 MiB`, `3.5 MiB`; `unknown` for NaN."""
    if math.isnan(kib):
        return "unknown"
    return f"{kib / MIB:.0f} MiB" if abs(kib) >= 10 * MIB or kib % MIB == 0 else f"{kib / MIB:.1f} MiB"


def changes(view: HostView, targets_kib: FloatArray) -> Iterator[str]:
    """Per guest, what its target means to it: `+112 MiB`, `-3.5 MiB (its minimum)`, `unchanged`."""
    sizes = (column.tolist() for column in (view.current_kib, targets_kib, view.min_kib, view.max_kib))
    for current, target, low, high in zip(*sizes, strict=True):
        bound = " (its minimum)" if target <= low else " (its maximum)" if target >= high else ""
        if abs(target - current) < 1:
            yield "unchanged" + bound
        else:
            yield f"{'-' if target < current else '+'}{mib(abs(target - current))}{bound}"


@dataclass(slots=True)
class Average:
    """Exponential averages, one per guest name; the first sample of a guest is its average."""

    time_s: float = math.nan
    names: tuple[str, ...] = ()
    averages: FloatArray = field(default_factory=lambda: np.empty(0))
    forgotten: dict[str, float] = field(default_factory=dict)
    """Averages of guests that were not in the last view."""

    def update(self, view: HostView, samples: FloatArray, tau_s: float) -> FloatArray:
        """Take in one sample per guest and return the averages; without a time to average over, the samples."""
        elapsed_s = view.time_s - self.time_s
        kept = math.exp(-elapsed_s / tau_s) if tau_s > 0 and elapsed_s >= 0 else 0.0
        if view.names != self.names:
            self._regroup(view.names, samples)
        self.averages = samples + (self.averages - samples) * kept
        self.time_s = view.time_s
        return self.averages

    def _regroup(self, names: tuple[str, ...], samples: FloatArray) -> None:
        """Other guests take part than last time."""
        self.forgotten |= zip(self.names, self.averages.tolist(), strict=True)
        self.names, self.averages = names, samples
        if self.forgotten:
            old = [self.forgotten.pop(name, sample) for name, sample in zip(names, samples.tolist(), strict=True)]
            self.averages = np.array(old)


JITTER_S = 0.1
"""A tick this early still counts as on time, so that a policy of 10 s in ticks of 2 s does not slip to 12 s."""


@dataclass(slots=True)
class Pace:
    """Lets a policy decide every `interval_s` and repeats its last answer in between."""

    interval_s: float
    seen: HostView | None = None
    last: Allocation | None = None

    def decide(self, view: HostView, decide: Decide, *, at_once: bool = False) -> Allocation:
        """Decide when it is due, when guests or bounds are others, when time ran backwards, or at once; else repeat."""
        if not at_once and self.last is not None and self.seen is not None and _same_guests(view, self.seen):
            elapsed_s = view.time_s - self.seen.time_s
            if 0 <= elapsed_s < self.interval_s - JITTER_S:
                ago = f" (decided {elapsed_s:.0f} s ago)"
                texts = (reason + ago for reason in self.last.reasons)
                return replace(self.last, reasons=Reasons(texts, len(view)))
        self.seen, self.last = view, decide(view)
        return self.last


def _same_guests(one: HostView, other: HostView) -> bool:
    return one.names == other.names and all(
        np.array_equal(getattr(one, bound), getattr(other, bound)) for bound in ("min_kib", "max_kib")
    )
