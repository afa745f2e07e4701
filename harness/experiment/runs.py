"""The run folders of an experiment: the one to go on with, or a new one; the same for every backend."""

from __future__ import annotations

import hashlib
import json
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Any, Self

from harness.experiment.config import Experiment
from harness.experiment.manifest import manifest, source, sources_sha256
from harness.experiment.plan import Trial, seeds
from harness.records import DONE, HeldError, RecordsError, RunFolder, choosing, held, read_manifest, read_trials, stored

Fits = Callable[[Mapping[str, Any]], bool]
"""Whether what a run's manifest holds of the host is still true."""
Say = Callable[[str], None]
ENDING_S = 3.0
"""For a holder that is just ending: the processes of a killed one follow it within milliseconds, or a little later."""
LOOK_S = 0.05


@dataclass(frozen=True, slots=True, kw_only=True)
class Done:
    """What came of an experiment."""

    folder: Path
    trials: int
    """That ran now; others had ended before."""
    failed: int
    """Of all of the run's trials, those with a guest whose status is not ok."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Wanted:
    """What a run must be of to be gone on with."""

    backend: str
    facts: Mapping[str, tuple[object, str]]
    """Key of the manifest → what it must be, and what is said where it is not."""
    fits: Fits

    @classmethod
    def of(cls, experiment: Experiment, trials: Sequence[Trial], backend: str, fits: Fits) -> Self:
        """A run of these trials by the source as it is now."""
        facts: dict[str, tuple[object, str]] = {
            "experiment": (experiment.resolved(), "the experiment is another"),
            "seeds": (seeds(trials), "the plan of the trials is another"),
            "git": (source(), "the source is another (its commit, or whether it was changed since)"),
            "sources_sha256": (sources_sha256(), "files of harness/ or workloads/ are others"),
        }
        return cls(backend=backend, facts=facts, fits=fits)

    def differences(self, said: Mapping[str, Any]) -> list[str]:
        """Return why a run with this manifest cannot be gone on with."""
        found = [why for key, (must, why) in self.facts.items() if said.get(key) != must]
        return found if self.fits(said.get("xen") or {}) else [*found, "the machine is another"]

    def name(self) -> str:
        """Return the name of a run that begins now; its end are four hex digits of what is run."""
        facts = [self.backend, *(must for must, _ in self.facts.values())]
        digest = hashlib.sha256(json.dumps(facts, sort_keys=True).encode()).hexdigest()[:4]
        return f"{datetime.now(UTC):%Y%m%dT%H%M%SZ}-{digest}"


@contextmanager
def open_run(
    experiment: Experiment,
    trials: Sequence[Trial],
    out: Path,
    backend: str,
    told: Callable[[], Mapping[str, Any]],
    fits: Fits = lambda _: True,
    say: Say = lambda _: None,
) -> Iterator[RunFolder]:
    """Go on with the newest run of the same experiment, source and plan that has not ended, or begin a new one.

    The run is held until this is left: nobody else can go on with it meanwhile. `told` is asked for what a new run's
    manifest holds of the host, before anything is written. `say` is told of damage, and why an earlier run is not
    gone on with.

    Raises:
        HeldError: somebody else is at work on that run.
        RecordsError: the newest run is damaged so that it cannot be gone on with, or nothing can be written.

    """
    home = out / experiment.name
    wanted = Wanted.of(experiment, trials, backend, fits)

    def begin(xen: Mapping[str, Any]) -> Path:
        while (home / (name := wanted.name())).exists():
            time.sleep(0.1)  # runs are named by the second
        return RunFolder.create(home / name, manifest(name, experiment, trials, backend, xen)).path

    with ExitStack() as stack:
        path = _held(stack, home, partial(_found, home, wanted), say) if home.is_dir() else None
        if path is None:
            xen = told()
            with stored(home):
                home.mkdir(parents=True, exist_ok=True)
            # Whoever asked the host at the same time may have begun it meanwhile.
            path = _held(stack, home, lambda say: _found(home, wanted, say) or begin(xen), _unsaid)
        assert path is not None
        folder = RunFolder.open(path, to_resume=True)
        for name, why in folder.damage.items():
            say(f"{path / name}: {why}")
        yield folder


def finished(
    experiment: Experiment,
    trials: Sequence[Trial],
    out: Path,
    backend: str,
    fits: Fits = lambda _: True,
    say: Say = lambda _: None,
) -> Path | None:
    """Return the newest run of the same experiment, source and plan that has ended; None where there is none.

    `say` is then told why the newest one that has ended does not count.
    """
    wanted, whys = Wanted.of(experiment, trials, backend, fits), []
    for path in sorted((out / experiment.name).glob("*/"), reverse=True):
        with suppress(RecordsError):  # none of ours, or one that nobody can take as it is
            said = read_manifest(path)
            if said.get("finished_utc") and said["backend"] == backend:
                if not (why := wanted.differences(said)):
                    return path
                whys.append(f"not taking {path}, which has ended, for a run of today: {'; '.join(why)}")
    if whys:
        say(whys[0])
    return None


def _held(stack: ExitStack, home: Path, choose: Callable[[Say], Path | None], say: Say) -> Path | None:
    """Return the run that is chosen, held as long as the stack is."""
    until_s = time.monotonic() + ENDING_S
    while True:
        with choosing(home), ExitStack() as holding:
            if (path := choose(say)) is None:
                return None
            try:
                holding.enter_context(held(path))
            except HeldError:
                if time.monotonic() > until_s:
                    raise
            else:
                if not read_manifest(path).get("finished_utc"):  # else who held it has ended it meanwhile
                    stack.push(holding.pop_all())
                    return path
        say = _unsaid
        time.sleep(LOOK_S)


def _unsaid(line: str) -> None:
    """For what has been said before."""


def _found(home: Path, wanted: Wanted, say: Say) -> Path | None:
    """Return the newest run that can be gone on with, and say why a newer one is not."""
    newest = True
    for path in sorted((path for path in home.glob("*") if path.is_dir()), reverse=True):
        try:
            said = read_manifest(path)
        except RecordsError as error:
            if not (ended := _ended(path)):
                continue  # none of ours, or killed at its very beginning
            lost = f"{error}. {ended} of its trials have ended, and without it nobody can go on with them"
            if newest:
                raise RecordsError(f"{lost}. To begin a new run, move {path} away") from error
            say(lost)
            continue
        if said["backend"] != wanted.backend:
            continue
        if not said.get("finished_utc") and (path / "trials").is_dir():
            if not (why := wanted.differences(said)):
                return path
            if newest:
                say(f"not going on with {path}, of which {_ended(path)} trials have ended: {'; '.join(why)}")
        newest = False
    return None


def _ended(path: Path) -> int:
    """How many trials of a run have ended, whole or not."""
    return len(list(path.glob(f"trials/*/{DONE}")))


def check_source(folder: RunFolder) -> None:
    """See that the source is still the one that the run was begun with: live trials read parts of it anew each time.

    Raises:
        RecordsError: it is not.

    """
    if sources_sha256() != folder.manifest.get("sources_sha256"):
        said = "files of harness/ or workloads/ were edited while it ran, and a run is of one source"
        remedy = "undo that, and the same command goes on with it; or leave it, and the command begins a new run"
        raise RecordsError(f"{folder.path}: {said}; {remedy}")


def failed_trials(run: Path) -> int:
    """How many trials of a run have a guest that is not ok."""
    trials = read_trials(run)
    return int(trials.loc[trials.status != "ok", ["block", "order"]].drop_duplicates().shape[0])
