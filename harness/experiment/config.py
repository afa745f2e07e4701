"""The experiment file: who shares how much memory, what runs, which policies are compared, how often."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Annotated, Any

from pydantic import Field, ValidationError, model_validator

from harness import policies
from harness.experiment.document import ConfigError, Document, Key, Model, Problem, instead, problems
from harness.experiment.signals import Signal
from harness.experiment.workloads import WORKLOADS, Listed, Name, Value, Workload, argument, load_workload

EXPERIMENTS = Path(__file__).parents[2] / "experiments"

RESERVED = frozenset({"all", "controller", "dom0", "localhost", "ungrouped", "xen"})
"""Names that Ansible, Xen or the inventory give to something else."""

MiB = Annotated[int, Field(gt=0)]
GuestName = Annotated[str, Field(pattern=r"^[a-z][a-z0-9-]{0,30}$")]
Label = Annotated[str, Field(pattern=r"^[^\x00-\x1f\x7f]{1,80}$")]


class Guest(Model):
    """One guest: what runs in it, and the memory (MiB) that it has at first, at least and at most."""

    name: GuestName
    workload: Name
    parameters: Mapping[str, Any] = Field(default={}, alias="with")
    """Of the workload. After loading: all of them, defaults included."""
    min_mib: MiB
    initial_mib: MiB
    max_mib: MiB
    shares: Annotated[int, Field(gt=0)] = 1000


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
    pool_mib: MiB
    """What all guests share."""
    reserve_mib: Annotated[int, Field(ge=0)] = 0
    """What Xen keeps free besides."""
    guests: Annotated[tuple[Guest, ...], Listed]
    policies: Annotated[tuple[PolicyChoice, ...], Listed]
    signals: Annotated[tuple[Signal, ...], Listed] = ()
    """What is measured besides, whatever the policy."""
    repetitions: Annotated[int, Field(ge=1, le=10_000)] = 1
    """Blocks: each holds every policy once."""
    duration_s: Annotated[float, Field(gt=0)]
    """A trial lasts at most this long; a workload with a fixed amount of work may end sooner."""
    period_s: Annotated[float, Field(gt=0)] = 2.0
    """From one tick of the arbiter to the next."""
    seed: Annotated[int, Field(ge=0)] = 1

    def resolved(self) -> dict[str, Any]:
        """Return the experiment as plain data with every default filled in: itself a valid experiment file."""
        plain = self.model_dump(mode="json", by_alias=True)
        plain["signals"] = [signal.model_dump(mode="json", exclude_none=True) for signal in self.signals]
        plain["policies"] = [
            {"name": choice.name, "label": choice.label, **choice.make().params.model_dump(mode="json")}
            for choice in self.policies
        ]
        return plain


def load_experiment(name: str | Path, *, experiments: Path = EXPERIMENTS, workloads: Path = WORKLOADS) -> Experiment:
    """Read an experiment: the path of a file, or the name of one in `experiments`.

    Raises:
        ConfigError: there is none, or it has problems: all of them, each with file, line, key and remedy.

    """
    document = Document(find(name, experiments))
    experiment = document.parse(Experiment)
    library: dict[str, Workload] = {}
    found = list(_faults(experiment))
    found += [
        fault for index, guest in enumerate(experiment.guests) for fault in _work(index, guest, workloads, library)
    ]
    found += [fault for index, choice in enumerate(experiment.policies) for fault in _policy(index, choice)]
    if found:
        raise document.error(found)
    guests = tuple(
        guest.model_copy(update={"parameters": library[guest.workload].fill(guest.parameters)})
        for guest in experiment.guests
    )
    return experiment.model_copy(update={"guests": guests})


def find(name: str | Path, experiments: Path = EXPERIMENTS) -> Path:
    """Return the file of an experiment, which is a path or a name.

    Raises:
        ConfigError: there is no such file; the message lists the experiments that there are.

    """
    plain_name = isinstance(name, str) and "/" not in name and not name.endswith((".yml", ".yaml"))
    path = experiments / f"{name}.yml" if plain_name else Path(name)
    if path.is_file():
        return path
    raise ConfigError(f"{path}: no such experiment; {instead(path.stem, names(experiments))} (in {experiments})")


def names(experiments: Path = EXPERIMENTS) -> tuple[str, ...]:
    """Return the names of the experiments in a folder."""
    return tuple(sorted(path.stem for path in experiments.glob("*.yml")))


def _faults(experiment: Experiment) -> Iterator[Problem]:
    """What is wrong with the parts of an experiment taken together."""
    for key, entries in (("guests", experiment.guests), ("policies", experiment.policies)):
        if not entries:
            yield (key,), "is empty; give at least one"
    for index, guest in enumerate(experiment.guests):
        yield from (((("guests", index, *key)), said) for key, said in _bounds(guest))
    yield from _repeated("guests", "name", [guest.name for guest in experiment.guests])
    yield from _repeated("policies", "label", [choice.label for choice in experiment.policies])
    yield from _repeated("signals", "name", [signal.name for signal in experiment.signals])
    for what in ("min_mib", "initial_mib"):
        total = sum(getattr(guest, what) for guest in experiment.guests)
        if total > experiment.pool_mib:
            said = f"is {experiment.pool_mib}, and the guests' {what} add up to {total}; raise it or lower theirs"
            yield ("pool_mib",), said
    if experiment.period_s > experiment.duration_s:
        yield ("period_s",), f"is {experiment.period_s:g}, longer than duration_s {experiment.duration_s:g}; lower it"


def _bounds(guest: Guest) -> Iterator[Problem]:
    if guest.name in RESERVED:
        yield ("name",), f"{guest.name} means something else to Xen or Ansible; choose another name"
    if guest.min_mib > guest.max_mib:
        yield ("min_mib",), f"is {guest.min_mib}, above max_mib {guest.max_mib}; swap or correct them"
    elif not guest.min_mib <= guest.initial_mib <= guest.max_mib:
        yield (
            ("initial_mib",),
            f"is {guest.initial_mib}; must be from min_mib {guest.min_mib} to max_mib {guest.max_mib}",
        )


def _repeated(key: str, what: str, values: list[str]) -> Iterator[Problem]:
    counts = Counter(values)
    for index, value in enumerate(values):
        if counts[value] > 1 and value in values[:index]:
            yield (key, index, what), f"{value} is the {what} of {key}[{values.index(value)}] too; give another"


def _work(index: int, guest: Guest, folder: Path, library: dict[str, Workload]) -> Iterator[Problem]:
    """Check what a guest runs; `library` takes in the workload."""
    at: Key = ("guests", index)
    if guest.workload not in library:
        path = folder / f"{guest.workload}.yml"
        if not path.is_file():
            there = [file.stem for file in folder.glob("*.yml")]
            yield (*at, "workload"), f"there is no workload {guest.workload}; {instead(guest.workload, there)}"
            return
        library[guest.workload] = load_workload(path)
    for key, said in library[guest.workload].problems(guest.parameters):
        yield (*at, "with", *key), said


def _policy(index: int, choice: PolicyChoice) -> Iterator[Problem]:
    at: Key = ("policies", index)
    if choice.name not in policies.names():
        yield (*at, "name"), f"there is no policy {choice.name}; {instead(choice.name, policies.names())}"
        return
    model = policies.params_of(choice.name)
    try:
        model.model_validate(choice.params)
    except ValidationError as error:
        yield from (((*at, *key), said) for key, said in problems(model, error))


def _short(value: object) -> str:
    return argument(value) if isinstance(value, Value) else str(value)
