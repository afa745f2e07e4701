"""The run folders of an experiment: the one to go on with, or a new one; the same for every backend."""

from __future__ import annotations

import contextlib
import hashlib
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from harness.experiment.config import Experiment
from harness.experiment.manifest import manifest, source
from harness.experiment.plan import Trial, seeds
from harness.records import RecordsError, RunFolder, read_trials


@dataclass(frozen=True, slots=True, kw_only=True)
class Done:
    """What came of an experiment."""

    folder: Path
    trials: int
    """That ran now; others had ended before."""
    failed: int
    """Of all of the run's trials, those with a guest whose status is not ok."""


def open_run(
    experiment: Experiment,
    trials: Sequence[Trial],
    out: Path,
    backend: str,
    told: Callable[[], Mapping[str, Any]],
    fits: Callable[[Mapping[str, Any]], bool] = lambda _: True,
) -> RunFolder:
    """Go on with the newest run of the same experiment, source and plan that has not ended, or begin a new one.

    `told` is asked for what a new run's manifest holds of the host, before anything is written; `fits`, whether what
    an old one's holds is still true.
    """
    home = out / experiment.name
    resolved, ours, planned = experiment.resolved(), source(), seeds(trials)
    for path in sorted(home.glob("*"), reverse=True):
        # A folder without a readable manifest is none of ours, or was killed at its very beginning.
        with contextlib.suppress(RecordsError):
            run = RunFolder.open(path)
            same = run.manifest["experiment"] == resolved and run.manifest.get("git") == ours
            same = same and run.manifest.get("seeds") == planned and fits(run.manifest.get("xen") or {})
            if same and run.backend == backend and run.resumable and not run.manifest.get("finished_utc"):
                return run
    xen = told()
    name = f"{datetime.now(UTC):%Y%m%dT%H%M%SZ}-{_digest(backend, resolved, ours, planned)}"
    return RunFolder.create(home / name, manifest(name, experiment, trials, backend, xen))


def failed_trials(folder: RunFolder) -> int:
    """How many trials of a run have a guest that is not ok."""
    trials = read_trials(folder.path)
    return int(trials.loc[trials.status != "ok", ["block", "order"]].drop_duplicates().shape[0])


def _digest(*parts: object) -> str:
    """Four hex digits of what was run: the end of a run's name."""
    return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()[:4]
