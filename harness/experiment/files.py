"""Experiments as files: where they lie, and reading one, with all that is wrong with it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path

from harness.experiment import checks
from harness.experiment.config import Experiment
from harness.experiment.document import ConfigError, Document, Key, instead
from harness.experiment.workloads import WORKLOADS, Workload

EXPERIMENTS = Path(__file__).parents[2] / "experiments"


def load_experiment(
    name: str | Path,
    repetitions: int | None = None,
    seed: int | None = None,
    *,
    experiments: Path = EXPERIMENTS,
    workloads: Path = WORKLOADS,
) -> Experiment:
    """Read an experiment: a file's path, or the name of one in `experiments`; so often, with this seed, or as it says.

    Raises:
        ConfigError: there is none, or it has problems: all of them, each with file, line, key and remedy.

    """
    document = Document(find(name, experiments))
    experiment = document.parse(Experiment)
    given = {"repetitions": repetitions, "seed": seed}
    experiment = experiment.model_copy(update={key: value for key, value in given.items() if value is not None})
    library: dict[str, Workload] = {}
    found = list(checks.policy_faults("policies", experiment.policies))
    found += checks.policy_faults("shadows", experiment.shadows)
    found += checks.machine_faults(experiment.machine)
    found += checks.claim_faults(experiment)
    found += checks.reported_faults(experiment)
    found += checks.repeat_faults(experiment)
    found += checks.host_faults(experiment)
    found += checks.signal_faults(experiment)
    if document.path.parent == experiments and document.path.stem != experiment.name:
        said = f"is {experiment.name}, and the file {document.path.name}; an experiment here is called as its file"
        found.append((("name",), said))
    found += checks.sweep_faults(experiment.sweep, [guest.name for guest in experiment.guests])
    for at, level in _levels(experiment):
        # What a host has of its own, no level can change.
        found += [(key if key[0] == "hosts" else (*at, *key), said) for key, said in checks.faults(level)]
        found += [((*at, *key), said) for key, said in checks.work_faults(level.guests, workloads, library)]
    if found:
        raise document.error(found)
    return _filled(experiment, library)


def _levels(experiment: Experiment) -> Iterator[tuple[Key, Experiment]]:
    """The experiment as it is at each level, and where that stands in the file; guests still with their counts."""
    yield (), experiment
    for index, level in enumerate(experiment.sweep.levels if experiment.sweep else ()):
        of = level.guests
        guests = tuple(of[guest.name].of(guest) if guest.name in of else guest for guest in experiment.guests)
        yield ("sweep", "levels", index), experiment.model_copy(update={**level.changes(), "guests": guests})


def _filled(experiment: Experiment, library: Mapping[str, Workload]) -> Experiment:
    """The experiment with all parameters of the workloads, defaults included."""
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
