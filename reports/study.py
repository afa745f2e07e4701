"""Runs put together for comparison: what belongs side by side, every value beside its baseline of the same block."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pandas as pd

from harness.records import Run, chosen, is_again
from harness.statistics import BOUNDS, paired, possible
from reports import doubts
from reports.language import given, phrase
from reports.names import letters

_FREE = (
    "seed", "repetitions", "shadows", "claim", "baseline", "loses_at_most", "figures", "repeat_baseline", "judged_by",
    "only_measured", "repeat_until", "reported",
)  # fmt: skip
"""Keys of an experiment in which two runs of one study may differ: nothing in a trial is other for them."""
STATIC = "static"
"""What the others are compared with where nobody names another."""
UNCONSTRAINED, ORACLE, INFORMED = "unconstrained", "oracle", "informed"


class ReportError(ValueError):
    """A report cannot be made of what was asked for; the message says what to ask for instead."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Study:
    """Runs of one experiment on one backend: everything in it may be compared with everything else."""

    name: str
    """The experiment; with the letters of its setup where it was run with different settings."""
    backend: str
    runs: tuple[Run, ...]
    baseline: str | None
    """Label that the others are compared with; None when the study has no such label."""
    labels: tuple[str, ...]
    """The policies as they were set up, baseline first, then in the order of the experiment."""
    guests: tuple[str, ...]
    trials: pd.DataFrame
    """All rows of trials.csv but those of `again`; `place` tells a block of one run from that of another."""
    again: pd.DataFrame
    """The rows of the baseline's second trials: no policy to compare, but how far one lies from itself."""
    pairs: pd.DataFrame
    """One row a metric, block, guest and label: value, base and speedup, NaN where there is none."""
    level: float = math.nan
    """Of a part of a swept study: where on the axis it stands; NaN for a whole study."""

    @property
    def simulated(self) -> bool:
        """Whether nothing but the seed makes one block differ from another, so that two may be one observation."""
        return self.backend == "simulator"

    @property
    def levels(self) -> tuple[float, ...]:
        """The levels of the sweep, in order; none where nothing is varied."""
        return tuple(sorted(map(float, self.trials["level"].dropna().unique())))

    @property
    def parts(self) -> tuple[Study, ...]:
        """The study at each of its levels, for what is computed must not mix them; itself where nothing is varied."""
        return tuple(map(self.at, self.levels)) if self.levels else (self,)

    def at(self, level: float) -> Study:
        """Return the part of the study at one level."""
        trials = self.trials[self.trials["level"] == level]
        there = set(trials["guest"])
        guests = tuple(guest for guest in self.guests if guest in there)
        again, pairs = self.again[self.again["level"] == level], paired(trials, self.baseline)
        return replace(self, trials=trials, again=again, pairs=pairs, guests=guests, level=level)

    def against(self, label: str) -> Study:
        """Return the same study compared with another label; also with one that only some blocks have."""
        labels = (label, *(other for other in self.labels if other != label))
        return replace(self, baseline=label, labels=labels, pairs=paired(self.trials, label))

    @property
    def setup(self) -> str:
        """The experiment as text: runs with the same one may be compared, those of another backend too."""
        return _setup(self.runs[0])

    @property
    def letters(self) -> str:
        """Four letters that stand for the setup, whatever else is reported: `Kqpd`."""
        return letters(self.setup)

    @property
    def axis(self) -> str:
        """What the sweep varies, with its unit, as on an axis."""
        sweep = self.experiment("sweep") or {}
        name, unit = given(str(sweep.get("name") or "")) or phrase("level"), str(sweep.get("unit") or "")
        return phrase("{}, {}", name, unit) if unit else name

    def policy(self, label: str) -> str:
        """Return the name of the policy behind a label; at a level where it has not run yet, what it is elsewhere."""
        every = (self.trials, *(run.trials for run in self.runs))
        return next((str(rows["policy"].iloc[0]) for one in every if len(rows := one[one["label"] == label])), "")

    def bound(self, policy: str) -> str | None:
        """Return the label of a bound; None where it did not run."""
        return next((label for label in self.labels if self.policy(label) == policy), None)

    def parameter(self, label: str, key: str) -> Any:  # noqa: ANN401 - a value of the experiment's YAML
        """Return a parameter of the policy behind a label; None when it has none of that name."""
        every = [policy for policy in self.experiment("policies") or () if isinstance(policy, Mapping)]
        return next((policy.get(key) for policy in every if _label(policy) == label), None)

    @property
    def own_baseline(self) -> str | None:
        """The label that the others are compared with where the report asks for no other."""
        return _baseline(self.trials, self.experiment("baseline") or STATIC)

    @property
    def title(self) -> str:
        """Name and backend, as in a heading."""
        return phrase("{} ({})", self.name, phrase("measured on Xen" if self.backend == "xen" else self.backend))

    @property
    def rivals(self) -> tuple[str, ...]:
        """The labels that are compared with the baseline."""
        return tuple(label for label in self.labels if label != self.baseline)

    @property
    def contestants(self) -> tuple[str, ...]:
        """The labels of policies that somebody could run: all but the bounds."""
        return tuple(label for label in self.labels if self.policy(label) not in BOUNDS)

    @property
    def blocks(self) -> int:
        """Number of blocks in which anything ran."""
        return int(self.trials["place"].nunique())

    def experiment(self, key: str) -> Any:  # noqa: ANN401 - a value of the experiment's YAML
        """Return a setting of the experiment; None when it has none."""
        return self.runs[0].manifest["experiment"].get(key)

    @property
    def hosts(self) -> dict[str, tuple[str, ...]]:
        """Host → its guests, where the experiment spreads them over several; empty where they are on one."""
        of: dict[str, str] = {}
        for guest in self.experiment("guests") or ():
            if guest.get("host"):
                most = max(guest.get("count", 1), *(self._count(level, guest["name"]) for level in self._levels()))
                names = [guest["name"], *(f"{guest['name']}{at}" for at in range(1, most + 1))]
                of |= dict.fromkeys(names, guest["host"])
        there = [guest for guest in self.guests if guest in of]
        return {host: tuple(guest for guest in there if of[guest] == host) for host in dict.fromkeys(of.values())}

    def _levels(self) -> Sequence[Mapping[str, Any]]:
        return [{}, *((self.experiment("sweep") or {}).get("levels") or ())]

    @staticmethod
    def _count(level: Mapping[str, Any], guest: str) -> int:
        return int(((level.get("guests") or {}).get(guest) or {}).get("count") or 1)

    def samples(self, place: str, label: str) -> pd.DataFrame:
        """Return the samples of one trial in their order."""
        frames = [run.samples[(run.samples["label"] == label)] for run in self.runs]
        rows = pd.concat([frame[places(frame) == place] for frame in frames])
        return rows.sort_values("tick", kind="stable")

    def decisions(self) -> Iterator[dict[str, Any]]:
        """Yield the decision lines of all trials that are part of the study, one by one.

        Raises:
            LackingError: those of some run cannot be read.

        """
        doubts.need(self.runs, "decisions.jsonl")
        there = set(self.trials["place"] + "/" + self.trials["order"].astype(str))
        for run in self.runs:
            for line in run.decisions():
                if f"{line['run']}/{line['block']}/{line['order']}" in there:
                    yield line

    def workload(self, guest: str) -> str:
        """Return what ran in a guest."""
        found = self.trials.loc[self.trials["guest"] == guest, "workload"]
        return str(found.iloc[0]) if len(found) else ""

    def headline(self, guest: str) -> str | None:
        """Return the metric that stands for a guest: the first it gives; None for a guest that measures nothing."""
        found = self.pairs.loc[self.pairs["guest"] == guest, "metric"]
        return str(found.iloc[0]) if len(found) else None


def studies(
    paths: Sequence[Path], baseline: str | None = None, say: Callable[[str], None] = lambda _: None
) -> tuple[Study, ...]:
    """Read runs and put those together that may be compared; with which baseline, is the experiment's if not given.

    `say` is told of each run that is read, and of what is doubtful of it.

    Raises:
        ReportError: no run, no trial in any, the same run twice, or a baseline that none of them has.
        RecordsError: a run cannot be read.

    """
    runs = [doubts.read(path, say) for path in paths]
    if not runs:
        raise ReportError("no run was given; name one or more folders results/<experiment>/<time>-<id>")
    names = [str(run.manifest["run"]) for run in runs]
    if twice := sorted({name for name in names if names.count(name) > 1}):
        raise ReportError(f"run {twice[0]} was given twice; name every run once")
    groups: dict[tuple[str, str, str], list[Run]] = {}
    for run in runs:
        groups.setdefault(_kind(run), []).append(run)
    kinds = sorted(groups)
    every = [
        _study(_named(kind, kinds), groups[kind], baseline)
        for kind in kinds
        if any(len(r.trials) for r in groups[kind])
    ]
    found = [study for study in every if len(study.trials)]  # else only the second trial of a baseline has ended
    if not found:
        raise ReportError(f"no trial has ended in {', '.join(names)}; resume the run, then report")
    known = sorted({label for study in found for label in study.labels})
    if baseline not in (None, STATIC) and all(study.baseline is None for study in found):
        raise ReportError(f"baseline {baseline!r} is in none of the runs; choose one of: {', '.join(known)}")
    return tuple(found)


def _study(name: str, runs: Sequence[Run], baseline: str | None) -> Study:
    trials = possible(
        pd.concat([run.trials.assign(place=places(run.trials)) for run in runs if len(run.trials)], ignore_index=True)
    )
    setup: Mapping[str, Any] = runs[0].manifest["experiment"]
    wanted = [_label(policy) for policy in setup.get("policies") or ()]
    second = trials["label"].map(lambda label: is_again(label) and label not in wanted).astype(bool)
    trials, again = trials[~second].reset_index(drop=True), trials[second].reset_index(drop=True)
    labels = _ordered(trials["label"], wanted)
    base = _baseline(trials, baseline or setup.get("baseline") or STATIC)
    if base is not None:
        labels = (base, *(label for label in labels if label != base))
    return Study(
        name=name,
        backend=str(runs[0].manifest["backend"]),
        runs=tuple(runs),
        baseline=base,
        labels=labels,
        guests=_ordered(trials["guest"], (guest["name"] for guest in setup.get("guests") or ())),
        trials=trials,
        again=again,
        pairs=paired(trials, base),
    )


def _baseline(trials: pd.DataFrame, baseline: str) -> str | None:
    if (trials["label"] == baseline).any():
        return baseline
    labels = sorted(set(trials.loc[trials["policy"] == baseline, "label"]))
    if len(labels) > 1:
        raise ReportError(f"policy {baseline} is set up as {', '.join(labels)}; name one of these as the baseline")
    return labels[0] if labels else None


def _kind(run: Run) -> tuple[str, str, str]:
    return str(run.manifest["experiment"]["name"]), str(run.manifest["backend"]), _setup(run)


def _setup(run: Run) -> str:
    setup = {key: value for key, value in run.manifest["experiment"].items() if key not in _FREE}
    setup["policies"] = [chosen(policy) for policy in setup.get("policies") or ()]
    return json.dumps(setup, sort_keys=True)


def _named(kind: tuple[str, str, str], kinds: Sequence[tuple[str, str, str]]) -> str:
    alone = sum(other[:2] == kind[:2] for other in kinds) == 1
    return kind[0] if alone else f"{kind[0]} #{letters(kind[2])}"


def places(frame: pd.DataFrame) -> pd.Series[str]:
    """Return the run and block of every row."""
    return frame["run"] + "/" + frame["block"].astype(str)


def _label(policy: object) -> str:
    if isinstance(policy, Mapping):
        return str(policy.get("label") or policy.get("name"))
    return str(policy)


def _ordered(found: Iterable[str], wanted: Iterable[str]) -> tuple[str, ...]:
    """Return what was found, in the order of the experiment; what it does not name comes last."""
    there = dict.fromkeys(found)
    first = [name for name in dict.fromkeys(map(str, wanted)) if name in there]
    return (*first, *sorted(set(there) - set(first), key=_natural))


def _natural(name: str) -> list[tuple[int, str]]:
    """Order g2 before g10."""
    return [(int(part), "") if part.isdigit() else (0, part) for part in re.split(r"(\d+)", name) if part]
