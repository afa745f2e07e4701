"""What a manifest must look like where anything reads it; what else it has, of any version, is left alone.

An experiment file is held to more by its own models, and only to those of today: a run of years ago is read as ever.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, ValidationError

Numbers = Mapping[str, Any] | None


class _Part(BaseModel):
    """A mapping of which some keys are known."""

    model_config = ConfigDict(extra="allow", strict=True)


class _Named(_Part):
    name: str


class _Policy(_Named):
    label: str | None = None


class _Behaviour(_Part):
    kind: str


class _Change(_Part):
    count: int | None = None
    workload: str | None = None
    behaviour: _Behaviour | None = None


class _Level(_Part):
    at: float | None = None
    pool_mib: float | None = None
    guests: Mapping[str, _Change | None] | None = None


class _Sweep(_Part):
    name: str | None = None
    unit: str | None = None
    levels: list[_Level] = []


class _Margin(_Part):
    percent: float
    guests: list[str] = []


class _Judgement(_Part):
    policies: Literal["all", "any"] | list[str] = "all"
    over: list[str] = []
    guests: Literal["each"] | list[str] = []
    levels: Literal["any"] | list[float] = []
    at_least: float = 1.0
    at_most: float | None = None


class _Reported(_Part):
    by: str
    policy: str
    over: str | None = None
    guest: str | None = None
    beside: str | None = None
    level: float | None = None
    times: list[float]


class _Until(_Part):
    within_percent: float


class _Experiment(_Named):
    claim: str | None = None
    baseline: str | None = None
    policies: list[str | _Policy] | None = None
    shadows: list[str | _Policy] | None = None
    guests: list[_Named] | None = None
    sweep: _Sweep | None = None
    hosts: Mapping[str, Mapping[str, Any] | None] | None = None
    pool_mib: float | None = None
    period_s: float | None = None
    figures: list[str] | None = None
    judged_by: list[_Judgement] | None = None
    loses_at_most: _Margin | None = None
    repeat_until: _Until | None = None
    reported: list[_Reported] | None = None
    only_measured: str | None = None


class _Host(_Part):
    memory_kib: float | None = None
    cores: int | None = None


class _Manifest(_Part):
    run: str
    backend: str
    experiment: _Experiment
    started_utc: str | None = None
    finished_utc: str | None = None
    files: Mapping[str, str] | None = None
    seeds: Numbers = None
    versions: Numbers = None
    git: Numbers = None
    host: _Host | None = None
    xen: Numbers = None
    workloads: Numbers = None
    repeated: Numbers = None


def fault(manifest: Mapping[str, Any]) -> str:
    """Return what is first wrong in a manifest, `experiment.policies[0]: …`; empty if nothing is."""
    try:
        _Manifest.model_validate(manifest)
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        steps = [f"[{step}]" if isinstance(step, int) else f".{step}" for step in first["loc"]]
        return f"{''.join(steps).removeprefix('.')}: {first['msg'].lower()}"
    return ""
