"""What runs in the guests: one YAML a workload, read here for the role, the trial and the simulator alike."""

from __future__ import annotations

import hashlib
import json
import math
import re
from collections.abc import Iterable, Iterator, Mapping
from itertools import chain
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import Field

from harness.experiment.document import ConfigError, Document, Model, Problem, instead, shown
from harness.experiment.metrics import Key, Metric

WORKLOADS = Path(__file__).parents[2] / "workloads"

Value = int | float | str | bool
"""What a parameter can be."""

Argv = tuple[str, ...]
"""A command as a list: the items reach the program as they are, and no shell ever reads them."""

GIVEN: Mapping[str, str] = {
    "duration_s": "how long the trial lasts, in seconds",
    "seed": "the trial's seed: the same for every policy of a block",
    "dir": "the folder in the guest that holds the workload's files",
    "data": "the folder in the guest for what preparing makes and a run writes; other preparations, another folder",
}
"""Placeholders that every command may use beside the workload's own parameters."""

WORKLOAD_DIR = "/usr/local/lib/ballast/workloads"
DATA_DIR = "/var/lib/ballast"
"""`{dir}` in every guest, and what `{data}` lies in."""

TYPES: Mapping[str, tuple[type, ...]] = {"int": (int,), "float": (int, float), "str": (str,), "bool": (bool,)}
_PLACEHOLDER = re.compile(r"\{([a-z_][a-z0-9_]*)\}")

Listed = Field(strict=False)  # YAML has lists where the models have tuples
Name = Annotated[str, Field(pattern=r"^[a-z0-9]([a-z0-9-]{0,30}[a-z0-9])?$")]


class Parameter(Model):
    """One number, text or switch of a workload, with its default and range."""

    type: Literal["int", "float", "str", "bool"]
    default: Any
    unit: str = ""
    description: str
    min: float | None = None
    max: float | None = None
    choices: Annotated[tuple[Any, ...], Listed] = ()

    def fault(self, value: object) -> str | None:
        """What is wrong with a value; None if nothing is."""
        fits = isinstance(value, TYPES[self.type]) and isinstance(value, bool) == (self.type == "bool")
        if not fits or (isinstance(value, float) and not math.isfinite(value)):
            kind = {"int": "a whole number", "float": "a number", "str": "text", "bool": "true or false"}[self.type]
            return f"must be {kind}{f' ({self.unit})' if self.unit else ''}, and is {shown(value)}"
        if self.choices and value not in self.choices:
            return f"{shown(value)} is not one of {', '.join(map(str, self.choices))}"
        if isinstance(value, int | float):
            if self.min is not None and value < self.min:
                return f"must be at least {argument(self.min)} {self.unit}".rstrip() + f", and is {shown(value)}"
            if self.max is not None and value > self.max:
                return f"must be at most {argument(self.max)} {self.unit}".rstrip() + f", and is {shown(value)}"
        return None


class Workload(Model):
    """A workload as its file describes it."""

    name: Name
    what: str
    packages: Annotated[tuple[str, ...], Listed] = ()
    files: Annotated[tuple[str, ...], Listed] = ()
    """Our own sources, beside the YAML; the role copies them to `{dir}`."""
    prepare: Annotated[tuple[Annotated[Argv, Listed], ...], Listed] = ()
    """Commands that make ready what a run needs, once per guest; repeating them must do no harm."""
    run: Annotated[Argv, Listed]
    parameters: Mapping[Key, Parameter] = {}
    metrics: Annotated[tuple[Metric, ...], Listed] = ()
    """The first is the headline. None: the guest is there for the others' sake."""
    likes_mib: float | str
    """Memory with which it is unhindered: a number, or a sum such as `"{footprint_mib} * 1.5 + 24"`."""
    disk_mib: float | str = 0
    """What its packages and its data take on the guest's disk: a number, or such a sum."""
    time_limit_s: float | None = None
    """For a fixed amount of work: after this it has failed. None: it ends by itself after `duration_s`."""
    simulator: Mapping[str, Any] = {}
    """Its model in the simulator, in the simulator's own words."""

    def problems(self, values: Mapping[str, object]) -> Iterator[Problem]:
        """What is wrong with the parameters that an experiment gives."""
        for key, value in values.items():
            parameter = self.parameters.get(key)
            if parameter is None:
                yield (key,), f"{self.name} has no such parameter; {instead(key, self.parameters)}"
            elif (fault := parameter.fault(value)) is not None:
                yield (key,), fault

    def fill(self, values: Mapping[str, Value]) -> dict[str, Value]:
        """Return all parameters: those given, and the defaults of the others."""
        return {key: values.get(key, parameter.default) for key, parameter in self.parameters.items()}

    def command(self, values: Mapping[str, Value], *, duration_s: float, seed: int, directory: str) -> Argv:
        """Return the command of a run. Every placeholder becomes (part of) a single item, whatever it holds."""
        given: dict[str, Value] = {"duration_s": duration_s, "seed": seed, "dir": directory, "data": self.data(values)}
        known = self.fill(values) | given
        return tuple(_filled(item, known) for item in self.run)

    def preparations(self, values: Mapping[str, Value], *, directory: str) -> tuple[Argv, ...]:
        """Return the commands that make ready what a run needs."""
        return self._prepared(values, directory, self.data(values))

    def data(self, values: Mapping[str, Value]) -> str:
        """Return the folder for what preparing makes: the same for the same preparations only."""
        prepared = json.dumps(self._prepared(values, "", ""))
        return f"{DATA_DIR}/{self.name}-{hashlib.sha256(prepared.encode()).hexdigest()[:8]}"

    def _prepared(self, values: Mapping[str, Value], directory: str, data: str) -> tuple[Argv, ...]:
        known = self.fill(values) | {"dir": directory, "data": data}
        return tuple(tuple(_filled(item, known) for item in argv) for argv in self.prepare)

    def wanted_mib(self, values: Mapping[str, Value]) -> float:
        """Return the memory in MiB with which it is unhindered."""
        return _sum(self.likes_mib, self.fill(values))

    def taken_mib(self, values: Mapping[str, Value]) -> float:
        """Return what it takes on the guest's disk, in MiB."""
        return _sum(self.disk_mib, self.fill(values))

    def modelled(self, values: Mapping[str, Value]) -> dict[str, Any]:
        """Return the words of its model in the simulator; `"{footprint_mib} + 24"` is a number there."""
        known = self.fill(values)
        return {key: _word(value, known) for key, value in self.simulator.items()}

    def faults(self, folder: Path) -> Iterator[Problem]:
        """What is wrong with the file beyond its form."""
        if not self.run:
            yield ("run",), "is empty; give the command as a list"
        yield from self._placeholder_faults()
        for name, parameter in self.parameters.items():
            if (fault := parameter.fault(parameter.default)) is not None:
                yield ("parameters", name, "default"), fault
        for index, metric in enumerate(self.metrics):
            for key, said in metric.faults():
                yield ("metrics", index, *key), said
        for index, file in enumerate(self.files):
            if Path(file).name != file or not (folder / file).is_file():
                yield ("files", index), f"there is no file {file} in {folder}; add it or correct the name"

    def _placeholder_faults(self) -> Iterator[Problem]:
        own = {*self.parameters}
        prepare = _placeholders(*(item for argv in self.prepare for item in argv))
        run = _placeholders(*self.run)
        sums = {key: _placeholders(str(getattr(self, key))) for key in ("likes_mib", "disk_mib")}
        places = {
            "run": (run, own | {*GIVEN}),
            "prepare": (prepare, own | {"dir", "data"}),
            **{key: (used, own) for key, used in sums.items()},
        }
        for place, (used, known) in places.items():
            for name in sorted(used - known):
                yield (place,), f"{{{name}}} is no parameter; {instead(name, known)}"
        for name in sorted(own & {*GIVEN}):
            yield ("parameters", name), "is given by the trial; choose another name"
        simulated = _placeholders(json.dumps(dict(self.simulator), default=str))
        for name in sorted(own - run - prepare - simulated - {*chain(*sums.values())}):
            yield ("parameters", name), "is used nowhere; put it into run or remove it"
        for key, used in sums.items():
            if used <= own:
                try:
                    _sum(getattr(self, key), self.fill({}))
                except ValueError:
                    yield (key,), 'must be a number or a sum such as "{footprint_mib} * 1.5 + 24"'


def _sum(said: float | str, values: Mapping[str, Value]) -> float:
    terms = _filled(str(said), values).split("+")
    return math.fsum(math.prod(map(float, term.split("*"))) for term in terms)


def _placeholders(*texts: str) -> set[str]:
    return {name for text in texts for name in _PLACEHOLDER.findall(text)}


def _word(value: object, values: Mapping[str, Value]) -> object:
    if not isinstance(value, str):
        return value
    try:
        return _sum(value, values)
    except ValueError:
        return _filled(value, values)


def _filled(item: str, values: Mapping[str, Value]) -> str:
    return _PLACEHOLDER.sub(lambda match: argument(values[match[1]]), item)


def argument(value: Value) -> str:
    """A value as a program takes it: `60`, not `60.0`; `true`, not `True`."""
    if isinstance(value, bool):
        return "true" if value else "false"
    return str(int(value)) if isinstance(value, float) and value.is_integer() else str(value)


def load_workload(path: Path) -> Workload:
    """Read one workload.

    Raises:
        ConfigError: with every problem of the file.

    """
    document = Document(path)
    workload = document.parse(Workload)
    problems = list(workload.faults(path.parent))
    if workload.name != path.stem:
        problems.append((("name",), f"is {workload.name} in {path.name}; give both the same name"))
    if problems:
        raise document.error(problems)
    return workload


def load_workloads(folder: Path = WORKLOADS, names: Iterable[str] | None = None) -> dict[str, Workload]:
    """Read the workloads of a folder: those named, or all there are.

    Raises:
        ConfigError: one cannot be used, or is not there.

    """
    there = {path.stem: path for path in sorted(folder.glob("*.yml"))}
    names = list(there if names is None else dict.fromkeys(names))
    for name in names:
        if name not in there:
            raise ConfigError(f"{folder / name}.yml: no such workload; {instead(name, there)}")
    return {name: load_workload(there[name]) for name in names}
