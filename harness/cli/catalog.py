"""What there is, as plain data: policies with their parameters, workloads, experiments."""

from __future__ import annotations

import importlib
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Literal, get_args, get_origin

from pydantic.fields import FieldInfo

from harness import policies
from harness.cli import effort
from harness.experiment.document import ConfigError
from harness.experiment.files import EXPERIMENTS, load_experiment, names
from harness.experiment.plan import plan
from harness.experiment.workloads import WORKLOADS, Parameter, argument, load_workloads

UNITS = {"_mib": "MiB", "_kib": "KiB", "_s": "s"}
"""The end of a policy parameter's name → its unit."""


def all_policies() -> Iterator[dict[str, Any]]:
    """Every policy: what it does, how and by whose idea, its parameters."""
    for name in policies.names():
        module = importlib.import_module(type(policies.make(name)).__module__)
        what, _, about = (module.__doc__ or "").strip().partition("\n\n")
        fields = policies.params_of(name).model_fields
        yield {
            "name": name,
            "what": _joined(what.removeprefix(f"`{name}`").lstrip(":, ")),
            "about": re.sub(r"\n(?!\n|- )\s*", " ", about),
            "parameters": [_policy_parameter(key, field) for key, field in fields.items()],
        }


def all_workloads(folder: Path = WORKLOADS) -> Iterator[dict[str, Any]]:
    """Every workload: what it does, its parameters, what it measures.

    Raises:
        ConfigError: a file there is no workload.

    """
    for workload in load_workloads(folder).values():
        yield {
            "name": workload.name,
            "what": _joined(workload.what),
            "likes_mib": workload.likes_mib,
            "packages": list(workload.packages),
            "parameters": [_work_parameter(key, given) for key, given in workload.parameters.items()],
            "metrics": [{"name": m.name, "unit": m.unit, "better": m.better} for m in workload.metrics],
        }


def all_experiments(
    folder: Path = EXPERIMENTS, say: Callable[[str], None] = lambda _: None
) -> Iterator[dict[str, Any]]:
    """Every experiment: what it is to show, who takes part, what it takes in the lab and in the simulator.

    `longest_min` is in the lab's own time, `lab_most_min` and `simulator_min` by the clock on the wall; None: it cannot
    run there, in the lab for the reason `only_simulated`.

    A file that is no experiment hides none of the others: `say` is told what is wrong with it.
    """
    for name in names(folder):
        try:
            experiment = load_experiment(name, experiments=folder)
        except ConfigError as error:
            say(str(error))
            continue
        trials, in_lab = len(plan(experiment)), len(plan(experiment, repeat_baseline=experiment.repeat_baseline))
        yield {
            "name": experiment.name,
            "claim": _joined(experiment.claim),
            "guests": {f"{guest.name}{_times(guest.count)}": guest.workload for guest in experiment.guests},
            "varied": experiment.sweep.name if experiment.sweep else "",
            "policies": [choice.label for choice in experiment.policies],
            "pool_mib": experiment.pool_mib,
            "repetitions": experiment.repetitions,
            "repetitions_at_most": experiment.most_repetitions,
            "trials": trials,
            "trials_in_lab": in_lab,
            "duration_s": experiment.duration_s,
            "longest_min": round(in_lab * experiment.duration_s / 60, 1),
            "lab_most_min": None if (why := effort.not_in_lab(experiment)) else _minutes(effort.lab_most_s(experiment)),
            "simulator_min": None if effort.not_simulated(experiment) else _minutes(effort.simulator_s(experiment)),
            "only_simulated": why,
        }


def _minutes(seconds: float) -> float:
    return round(seconds / 60, 3)


def _times(count: int) -> str:
    return f" (x{count})" if count > 1 else ""


def _policy_parameter(name: str, field: FieldInfo) -> dict[str, Any]:
    choices = list(get_args(field.annotation)) if get_origin(field.annotation) is Literal else []
    bounds = _bounds(field)
    unit = next((unit for end, unit in UNITS.items() if name.endswith(end)), "")
    allowed = _range(bounds, choices, flag=field.annotation is bool)
    return {
        "name": name,
        "type": "str" if choices else getattr(field.annotation, "__name__", str(field.annotation)),
        "unit": unit,
        "default": field.default,
        "range": allowed,
        **bounds,
        "choices": choices,
        "description": _description(field.description or "", unit, allowed) if bounds else field.description,
    }


def _description(said: str, unit: str, allowed: str) -> str:
    """Without the unit and the range that it begins with, which have their own entries; with its symbol, such as τ."""
    head, _, rest = said.partition(": ")
    symbol = head.split(", ")[0]
    if not rest:
        return said
    return rest if symbol in (unit, allowed) else f"{symbol}: {rest}"


def _bounds(field: FieldInfo) -> dict[str, float]:
    """`min` and `max`, or `above` and `below` where the bound itself is not allowed."""
    words = {"ge": "min", "gt": "above", "le": "max", "lt": "below"}
    return {word: getattr(limit, key) for limit in field.metadata for key, word in words.items() if hasattr(limit, key)}


def _work_parameter(name: str, given: Parameter) -> dict[str, Any]:
    bounds = {key: value for key, value in (("min", given.min), ("max", given.max)) if value is not None}
    return {
        "name": name,
        "type": given.type,
        "unit": given.unit,
        "default": given.default,
        "range": _range(bounds, given.choices, flag=given.type == "bool"),
        **bounds,
        "choices": list(given.choices),
        "description": _joined(given.description),
    }


def _range(bounds: Mapping[str, float], choices: Sequence[object], *, flag: bool) -> str:
    """For people: `0 to 10`, `above 0 to 1`, `at least 1`, `used | touched`."""
    if choices or flag:
        return " | ".join(map(str, choices or ("true", "false")))
    low = f"above {argument(bounds['above'])}" if "above" in bounds else argument(bounds.get("min", ""))
    high = f"below {argument(bounds['below'])}" if "below" in bounds else argument(bounds.get("max", ""))
    if low and high:
        return f"{low} to {high}"
    if high:
        return high if "below" in bounds else f"at most {high}"
    return low if "above" in bounds or not low else f"at least {low}"


def _joined(text: str) -> str:
    return " ".join(text.split())
