"""Several experiments one after the other: where each can run, how long it takes at most, and what came of all."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path

from harness.cli import effort
from harness.cli.effort import length
from harness.experiment import runs
from harness.experiment.config import Experiment
from harness.experiment.document import ConfigError
from harness.experiment.files import find, load_experiment
from harness.experiment.plan import plan
from harness.experiment.runner import BACKEND as XEN
from harness.simulator.machine import LAB, load_machine
from harness.simulator.runner import BACKEND as SIMULATED


class Where(StrEnum):
    """Where an experiment runs."""

    LAB = "in the lab"
    HOSTS = "on your hosts"
    SIMULATOR = "on the simulator"


@dataclass(frozen=True, slots=True, kw_only=True)
class Part:
    """One of the experiments."""

    experiment: Experiment
    named: str
    """As the playbook is told of it."""
    where: Where
    why: str = ""
    """Why it runs on the simulator where nobody asked for that."""

    @property
    def most_s(self) -> float:
        """How long it takes at most; on the simulator about, with one processor."""
        match self.where:
            case Where.LAB:
                return effort.lab_most_s(self.experiment)
            case Where.HOSTS:
                return effort.hosts_most_s(self.experiment)
            case Where.SIMULATOR:
                return effort.simulator_s(self.experiment)

    def finished(self, out: Path, say: Callable[[str], None] = lambda _: None) -> Path | None:
        """Return its newest run in `out` that has ended, if it is of the same experiment, source and kind of machine.

        `say` is told why the newest one is not, where there is one.

        Raises:
            ConfigError: the simulated machine cannot be read.

        """
        if self.where is Where.SIMULATOR:
            host = {"machine": load_machine(LAB).but(self.experiment.machine).model_dump()}
            return runs.finished(self.experiment, plan(self.experiment), out, SIMULATED, lambda told: told == host, say)
        lab = self.where is Where.LAB
        trials = plan(self.experiment, repeat_baseline=self.experiment.repeat_baseline and lab)
        return runs.finished(self.experiment, trials, out, XEN, lambda told: bool(told.get("lab")) == lab, say)


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """What came of one."""

    part: Part
    run: Path | None = None
    """Its run, if that has ended: what the report is made of."""
    reason: str = ""
    """Why not all of it is well; empty: it is."""
    ours: bool = False
    """It ended by a fault of Ballast itself."""
    before: bool = False
    """It had ended before, and was taken as it is."""


Way = Callable[[Part], Outcome]
"""How one experiment is run."""


def parts(
    names: Sequence[str], where: Where, repetitions: int | None = None, seed: int | None = None, *, every: bool = False
) -> list[Part]:
    """Read the experiments of these names or paths, and find where each can run; `where` is what is asked for.

    Of `every` experiment that there is, those that cannot run even on the simulator are none of the series.

    Raises:
        ConfigError: what is wrong with any of them.

    """
    found, wrong = [], []
    for name in names:
        try:
            experiment, path = load_experiment(name, repetitions, seed), find(name)
        except ConfigError as error:
            wrong.append(str(error))
            continue
        named = path.stem if name == path.stem else str(path.absolute())
        part = _placed(experiment, named, where)
        why = effort.not_simulated(experiment) if part.where is Where.SIMULATOR else ""
        if why and not every:
            wrong.append(f"experiment {experiment.name} cannot be simulated: {why}")
        elif not why:
            found.append(part)
    called = [part.experiment.name for part in found]
    wrong += [f"experiment {name} is named twice; name it once" for name in {*called} if called.count(name) > 1]
    if wrong:
        raise ConfigError("\n".join(wrong))
    return found


def _placed(experiment: Experiment, named: str, where: Where) -> Part:
    reasons: Mapping[Where, Callable[[Experiment], str]] = {
        Where.LAB: effort.not_in_lab,
        Where.HOSTS: effort.not_on_hosts,
    }
    why = reasons[where](experiment) if where in reasons else ""
    return Part(experiment=experiment, named=named, where=Where.SIMULATOR if why else where, why=why)


def announced(series: Sequence[Part], there: Mapping[str, Path]) -> Iterator[str]:
    """Say what is going to be done, and how long that takes at most; `there` has the runs that have ended before."""
    for part in series:
        why = f" ({part.why})" if part.why else ""
        done = there.get(part.experiment.name)
        yield f"  {part.experiment.name}: " + (
            f"taken as it is, {done}" if done else f"{part.where}{why}, {_taken([part])}"
        )
    left = [part for part in series if part.experiment.name not in there]
    yield f"{len(left)} of {_counted(len(series))} to run, {_taken(left)}"


def run(
    series: Sequence[Part], ways: Mapping[Where, Way], there: Mapping[str, Path], say: Callable[[str], None]
) -> list[Outcome]:
    """Run those that have not ended before, one after the other, whatever becomes of any of them."""
    outcomes: list[Outcome] = []
    for number, part in enumerate(series, start=1):
        name = part.experiment.name
        if name in there:
            outcomes.append(ended(part, there[name], before=True))
            continue
        left = [other for other in series[number - 1 :] if other.experiment.name not in there]
        say(f"experiment {number} of {len(series)}: {name}, {part.where}; {_taken(left)} left")
        outcomes.append(ways[part.where](part))
        say(f"experiment {number} of {len(series)}: {name}: {outcomes[-1].reason or 'done'}")
    return outcomes


def ended(part: Part, run: Path, *, before: bool = False) -> Outcome:
    """What came of an experiment whose run has ended."""
    failed = runs.failed_trials(run)
    reason = f"{failed} of its trials failed; {run / 'trials.csv'} says why" if failed else ""
    return Outcome(part=part, run=run, reason=reason, before=before)


def _taken(series: Sequence[Part]) -> str:
    """How long these take: at most, unless all are simulated, which how fast the processor is decides."""
    about = all(part.where is Where.SIMULATOR for part in series)
    return f"{'about' if about else 'at most'} {length(sum(part.most_s for part in series))}"


def _counted(count: int) -> str:
    return "1 experiment" if count == 1 else f"{count} experiments"
