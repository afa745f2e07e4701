"""What one tick is in `decisions.jsonl`: what was seen, wanted, sent and done, as plain data."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from functools import cache
from typing import TYPE_CHECKING, Any

from harness.records.columns import RecordsError

if TYPE_CHECKING:  # types only: the records can be read without the policies or a host
    from harness.governor import Plan
    from harness.policies.base import Allocation, Params, Policy
    from harness.ports import Outcome
    from harness.view import HostView

TIMINGS = ("collect_s", "decide_s", "apply_s")


def decision_record(policy: Policy, names: Sequence[str], allocation: Allocation) -> dict[str, Any]:
    """What a policy wants; `names` are the guests that the allocation covers, in its order.

    Raises:
        RecordsError: the allocation does not fit the names.

    """
    if len(names) != len(allocation.targets_kib):
        raise RecordsError(
            f"allocation of {len(allocation.targets_kib)} guests for {len(names)} names; name the guests it covers"
        )
    return {
        "policy": policy.name,
        "params": _plain(policy.params),
        "state": allocation.state,
        "targets_kib": dict(zip(names, map(_kib, allocation.targets_kib.tolist()), strict=True)),
        "reasons": dict(zip(names, allocation.reasons, strict=False)),
    }


def tick_record(
    view: HostView, decision: Mapping[str, Any], plan: Plan, outcome: Outcome, timing: Mapping[str, float]
) -> dict[str, Any]:
    """Everything that went through one tick; `decision` is a `decision_record`."""
    return {
        "view": view.to_json(),
        "decision": dict(decision),
        "plan": {
            "targets_kib": {step.guest: step.target_kib for step in plan.steps},
            "reasons": {step.guest: step.reason for step in plan.steps},
            "held": dict(plan.held),
            "caps_kib": dict(plan.caps_kib),
        },
        "outcome": {"applied_kib": dict(outcome.applied_kib), "failed": dict(outcome.failed)},
        "timing": {name: timing.get(name) for name in TIMINGS},
    }


@cache
def _plain(params: Params) -> dict[str, Any]:
    return params.model_dump(mode="json")


def _kib(kib: float) -> int | None:
    return round(kib) if math.isfinite(kib) else None
