"""An experiment: who shares how much memory, what runs, which policies are compared, how often."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, Literal

from pydantic import Field, model_validator

from harness import policies
from harness.experiment.document import UNSEEN, Model
from harness.experiment.machine import LabTerms
from harness.experiment.signals import Signal
from harness.experiment.sweep import Guest, GuestName, HostName, MiB, Sweep
from harness.experiment.workloads import Listed, Name, Value, argument
from harness.statistics import ENOUGH

Label = Annotated[str, Field(pattern=rf"^[^{UNSEEN}]{{1,80}}$")]
Ratio = Annotated[float, Field(gt=0)]
Figure = Literal[
    "solver", "states", "knee", "swap-weight", "pareto", "collapse", "bandwidth", "fairness", "scaling", "twins", "lie",
    "approach",
]  # fmt: skip
"""Figures that a report draws only where an experiment asks for them."""


class Margin(Model):
    """A claim that an interval can show: guests lose less than this against the baseline."""

    percent: Annotated[float, Field(gt=0, lt=100)]
    guests: Annotated[tuple[GuestName, ...], Listed] = ()
    """Which; none named: all, and then it is not asked who is better."""


class Judgement(Model):
    """What a claim comes to: which comparisons must lie where. An interval shows or refutes it."""

    policies: Literal["all", "any"] | Annotated[tuple[Label, ...], Listed] = "all"
    """All of them, any one of them, or all of these labels; bounds that nobody could run are none of them."""
    over: Annotated[tuple[Label, ...], Listed] = ()
    """Labels that they are held against; none: the baseline."""
    guests: Literal["each"] | Annotated[tuple[GuestName, ...], Listed] = ()
    """Each for itself, or these; none: the geometric mean over all of them."""
    levels: Literal["any"] | Annotated[tuple[float, ...], Listed] = ()
    """Of the sweep: any one of them, or all of these; none: all."""
    at_least: Annotated[float, Field(gt=0)] = 1.0
    """How many times as well they must do; 1: better at all."""
    at_most: Annotated[float, Field(gt=0)] | None = None


class Reported(Model):
    """A figure that somebody else has published of what a comparison here asks."""

    by: Annotated[str, Field(pattern=rf"^[^{UNSEEN}]{{1,200}}$")]
    """Whose it is, and where it stands."""
    policy: Label
    over: Label | None = None
    """Label that it is held against; None: the baseline."""
    guest: GuestName | None = None
    """None: the geometric mean over all of them."""
    beside: GuestName | None = None
    """The guest of the same trial that this one is held against, in place of another policy."""
    level: float | None = None
    """Of the sweep; None: every one."""
    times: Annotated[tuple[Ratio, Ratio], Listed]
    """How many times as well they have it, from and to; one figure stands twice."""


class Until(Model):
    """How narrow the intervals must be for a run to repeat no more; ends of a ratio, so their middle is √(low·high)."""

    within_percent: Annotated[float, Field(gt=0, lt=100)]
    """Each must reach at most so far from its middle: √(high / low) - 1."""
    at_most: Annotated[int, Field(ge=ENOUGH, le=10_000)]
    """Repetitions, narrow or not; with fewer than six there is no interval at all."""


class HostTerms(Model):
    """What is other about one of several hosts; what is left out is the experiment's."""

    pool_mib: MiB | None = None
    reserve_mib: Annotated[int, Field(ge=0)] | None = None


class PolicyChoice(Model):
    """A policy with its parameters. In the file: its name, or a mapping of name, label and parameters."""

    name: str
    label: Label
    """What it is called in every table and figure."""
    params: Mapping[str, Any] = {}
    """As given; the policy itself has the defaults of the others."""

    @model_validator(mode="before")
    @classmethod
    def _from_file(cls, said: object) -> object:
        if isinstance(said, str):
            return {"name": said, "label": said}
        if isinstance(said, Mapping) and "params" not in said:
            params = {key: value for key, value in said.items() if key not in ("name", "label")}
            label = said.get(
                "label", " ".join([str(said.get("name")), *(f"{k}={_short(v)}" for k, v in params.items())])
            )
            return {**{key: said[key] for key in ("name",) if key in said}, "label": label, "params": params}
        return said

    def make(self) -> policies.Policy:
        """Return a fresh policy."""
        return policies.make(self.name, self.params)


class Experiment(Model):
    """One experiment, read and checked."""

    name: Name
    claim: str = ""
    """What it is to show or refute, in a sentence."""
    baseline: Label | None = None
    """The policy that the report compares the others with; None: `static`."""
    repeat_baseline: bool = True
    """In the lab it runs twice in every block, so that the report can say how much one policy differs from itself."""
    loses_at_most: Margin | None = None
    """What the claim allows guests to lose; the report then judges that."""
    judged_by: Annotated[tuple[Judgement, ...], Listed] = ()
    """What else the claim comes to; without it, `loses_at_most` or `figures` the report gives no verdict."""
    reported: Annotated[tuple[Reported, ...], Listed] = ()
    """What others have published of it; the report says whether it is reproduced."""
    only_measured: Annotated[str, Field(pattern=rf"^[^{UNSEEN}]{{1,200}}$")] | None = None
    """Why a simulated run can say nothing of the claim; None: it can."""
    pool_mib: MiB
    """What all guests share; where they are on several hosts, those of each."""
    reserve_mib: Annotated[int, Field(ge=0)] = 0
    """What Xen keeps free besides."""
    hosts: Mapping[HostName, HostTerms] = {}
    """Of the hosts that the guests name, those that have another pool or reserve."""
    guests: Annotated[tuple[Guest, ...], Listed]
    policies: Annotated[tuple[PolicyChoice, ...], Listed]
    shadows: Annotated[tuple[PolicyChoice, ...], Listed] = ()
    """Policies that decide beside the acting one in every trial and move nothing."""
    signals: Annotated[tuple[Signal, ...], Listed] = ()
    """What is measured besides, whatever the policy."""
    repetitions: Annotated[int, Field(ge=1, le=10_000)] = 1
    """Blocks: each holds every policy once; with `repeat_until` the least number of them."""
    repeat_until: Until | None = None
    """Repeat beyond that until every policy's interval against the baseline is narrow enough; None: not at all."""
    duration_s: Annotated[float, Field(gt=0)]
    """A trial lasts at most this long; a workload with a fixed amount of work may end sooner."""
    period_s: Annotated[float, Field(gt=0)] = 2.0
    """From one tick of the arbiter to the next."""
    take_mib_s: Annotated[float, Field(gt=0)] | None = None
    """The most that the governor takes from a guest in a second; None: all that a policy wants."""
    seed: Annotated[int, Field(ge=0)] = 1
    sweep: Sweep | None = None
    """What is varied besides the policy."""
    figures: Annotated[tuple[Figure, ...], Listed] = ()
    lab: LabTerms = LabTerms()
    """What the lab is like; refused on hosts of one's own, which are what they are."""
    machine: Mapping[str, float] = {}
    """What a simulated machine costs where that is another than it was measured; a real one costs what it does."""

    def at(self, level: int | None = None, policy: str | None = None) -> Experiment:
        """Return the experiment as it is at a level: its own guests, each by itself, and no sweep.

        Under the policy `unconstrained` the pool is all that the guests may have, and they have it from the start.
        """
        chosen = None if level is None or self.sweep is None else self.sweep.levels[level]
        changed = chosen.changes() if chosen else {}
        if chosen is not None and chosen.lab is not None:
            changed["lab"] = self.lab.but(chosen.lab)
        of = chosen.guests if chosen else {}
        guests = [of[guest.name].of(guest) if guest.name in of else guest for guest in self.guests]
        members = tuple(member for guest in guests for member in guest.members())
        if policy == "unconstrained":
            pool = changed.get("pool_mib", self.pool_mib)
            changed["pool_mib"] = max(pool, sum(guest.max_mib for guest in members))
            members = tuple(member.model_copy(update={"initial_mib": member.max_mib}) for member in members)
        return self.model_copy(update={**changed, "guests": members, "sweep": None})

    def parts(self) -> dict[str, Experiment]:
        """Return the experiment of each host, by its name; of guests that name none it is one, and called nothing.

        Memory does not cross hosts, so each part is an experiment of its own, with its own arbiter.
        """
        names = dict.fromkeys(guest.host or "" for guest in self.guests)
        return {name: self._on(name) for name in names} if any(names) else {"": self}

    def _on(self, host: str) -> Experiment:
        guests = tuple(guest for guest in self.guests if guest.host == host)
        own = self.hosts[host].model_dump(exclude_none=True) if host in self.hosts else {}
        return self.model_copy(update={**own, "guests": guests, "hosts": {}})

    def place(self, level: int | None) -> float | None:
        """Where a level stands on the axis of the sweep."""
        return None if level is None or self.sweep is None else self.sweep.levels[level].at

    def levels(self) -> tuple[Experiment, ...]:
        """Return the experiment at each of its levels; where nothing is varied, as it is."""
        return (self.at(),) if self.sweep is None else tuple(map(self.at, range(len(self.sweep.levels))))

    def envelope(self) -> Experiment:
        """Return what the machines must have room for: every guest of any level at its largest, the largest pool."""
        every = [self.at(level, choice.name) for level in range(len(self.levels())) for choice in self.policies]
        every.sort(key=lambda one: -sum(guest.initial_mib for guest in one.guests))  # provisioned with most memory
        guests: dict[str, Guest] = {}
        for guest in (guest for experiment in every for guest in experiment.guests):
            known = guests.setdefault(guest.name, guest)
            guests[guest.name] = known.model_copy(update={"max_mib": max(known.max_mib, guest.max_mib)})
        largest = {key: max(getattr(one, key) for one in every) for key in ("pool_mib", "reserve_mib", "duration_s")}
        return self.model_copy(update={**largest, "guests": tuple(guests.values()), "sweep": None})

    @property
    def most_repetitions(self) -> int:
        """How many repetitions there can be."""
        return self.repetitions if self.repeat_until is None else self.repeat_until.at_most

    def compared_with(self) -> PolicyChoice | None:
        """Return the baseline: what has its label, or else the one policy of that name; None where there is neither."""
        wanted = self.baseline or "static"
        labelled = [choice for choice in self.policies if choice.label == wanted]
        named = [choice for choice in self.policies if choice.name == wanted]
        return labelled[0] if labelled else named[0] if len(named) == 1 else None

    def resolved(self) -> dict[str, Any]:
        """Return the experiment as plain data with every default filled in: itself a valid experiment file."""
        may_be_left_out = (
            "machine",
            "hosts",
            "baseline",
            "loses_at_most",
            "judged_by",
            "reported",
            "only_measured",
            "take_mib_s",
            "repeat_until",
        )
        unsaid = {key for key in may_be_left_out if not getattr(self, key)}
        unsaid |= {"lab"} - self.model_fields_set
        plain = self.model_dump(mode="json", by_alias=True, exclude=unsaid)
        if self.sweep is not None:
            plain["sweep"] = self.sweep.model_dump(mode="json", by_alias=True, exclude_none=True, exclude_defaults=True)
        plain["guests"] = [guest.model_dump(mode="json", by_alias=True, exclude_none=True) for guest in self.guests]
        plain["signals"] = [signal.model_dump(mode="json", exclude_none=True) for signal in self.signals]
        for key, choices in (("policies", self.policies), ("shadows", self.shadows)):
            plain[key] = [
                {"name": choice.name, "label": choice.label, **choice.make().params.model_dump(mode="json")}
                for choice in choices
            ]
        return plain


def _short(value: object) -> str:
    return argument(value) if isinstance(value, Value) else str(value)
