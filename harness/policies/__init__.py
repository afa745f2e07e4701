"""Every balancing policy, one file each, by name."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from pydantic import ValidationError

from harness.policies.ballast import Ballast, BallastParams
from harness.policies.base import Allocation, NoParams, Params, Policy, PolicyError
from harness.policies.dynamic_baseline import DynamicBaseline, DynamicBaselineParams
from harness.policies.equal import Equal
from harness.policies.ghost import Ghost, GhostParams
from harness.policies.idle_tax import IdleTax, IdleTaxParams
from harness.policies.informed import Informed, InformedParams
from harness.policies.miss_ratio import MissRatio, MissRatioParams
from harness.policies.mom import Mom, MomParams
from harness.policies.oracle import Oracle, OracleParams
from harness.policies.pressure import Pressure, PressureParams
from harness.policies.price import Price, PriceParams
from harness.policies.proxmox import Proxmox, ProxmoxParams
from harness.policies.qmemman import Qmemman
from harness.policies.self_balloon import SelfBalloon, SelfBalloonParams
from harness.policies.squeezed import Squeezed
from harness.policies.static import Static
from harness.policies.two_state import TwoState, TwoStateParams
from harness.policies.unconstrained import Unconstrained

__all__ = ["SIMULATED", "Allocation", "Params", "Policy", "PolicyError", "make", "names", "params_of"]

_POLICIES: Mapping[str, tuple[Callable[[Any], Policy], type[Params]]] = {
    "ballast": (Ballast, BallastParams),
    "pressure": (Pressure, PressureParams),
    "two-state": (TwoState, TwoStateParams),
    "price": (Price, PriceParams),
    "self-balloon": (SelfBalloon, SelfBalloonParams),
    "idle-tax": (IdleTax, IdleTaxParams),
    "ghost": (Ghost, GhostParams),
    "miss-ratio": (MissRatio, MissRatioParams),
    "dynamic-baseline": (DynamicBaseline, DynamicBaselineParams),
    "squeezed": (Squeezed, NoParams),
    "qmemman": (Qmemman, NoParams),
    "proxmox": (Proxmox, ProxmoxParams),
    "mom": (Mom, MomParams),
    "equal": (Equal, NoParams),
    "static": (Static, NoParams),
    "unconstrained": (Unconstrained, NoParams),
}


SIMULATED: Mapping[str, tuple[Callable[[Any], Policy], type[Params]]] = {
    "informed": (Informed, InformedParams),
    "oracle": (Oracle, OracleParams),
}
"""Policies that know what only a simulator can tell."""


def names() -> tuple[str, ...]:
    """The names of all policies for real hosts."""
    return tuple(_POLICIES)


def params_of(name: str) -> type[Params]:
    """The parameters that a policy takes, as a pydantic model. Raises PolicyError for a name that does not exist."""
    return _find(name)[1]


def make(name: str, params: Mapping[str, Any] | None = None) -> Policy:
    """A fresh policy. Raises PolicyError for a name or a parameter that does not exist, or a value out of range."""
    build, model = _find(name)
    try:
        return build(model.model_validate(dict(params or {})))
    except ValidationError as error:
        raise PolicyError("\n".join(_explain(name, model, dict(fault)) for fault in error.errors())) from error


def _find(name: str) -> tuple[Callable[[Any], Policy], type[Params]]:
    found = _POLICIES.get(name) or SIMULATED.get(name)
    if found is None:
        raise PolicyError(f"There is no policy {name!r}. There are: {', '.join(names())}.")
    return found


def _explain(name: str, model: type[Params], fault: Mapping[str, Any]) -> str:
    key = ".".join(str(part) for part in fault["loc"])
    if fault["type"] == "extra_forbidden":
        known = ", ".join(model.model_fields) or "none"
        return f"Policy {name} has no parameter {key!r}. It has: {known}."
    return f"Policy {name}, {key} = {fault['input']!r}: {fault['msg']}. It is: {model.model_fields[key].description}."
