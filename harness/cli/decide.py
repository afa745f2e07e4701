"""One decision from a view written down: the core of `ballast decide`, without a host and without printing."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator
from typing import Any

from harness.governor import Governor, Limits
from harness.policies.base import Policy
from harness.view import HostView, ViewError


def read_views(text: str) -> Iterator[HostView]:
    """The views in a JSON document, or in JSON Lines, one view a line.

    Raises:
        ViewError: naming the line, what is wrong there and how to mend it.

    """
    try:
        _, end = json.JSONDecoder().raw_decode(text.lstrip())
    except (ValueError, RecursionError) as error:
        raise ViewError(f"Not JSON: {error}. Give one view as a JSON object, or one a line.") from error
    if not text.lstrip()[end:].strip():
        yield HostView.from_json(json.loads(text))
        return
    for number, line in enumerate(text.split("\n"), start=1):
        if line.strip():
            yield _read_line(line, number)


def _read_line(line: str, number: int) -> HostView:
    try:
        return HostView.from_json(json.loads(line))
    except ViewError as error:
        raise ViewError(f"Line {number}: {error}") from error
    except (ValueError, RecursionError) as error:
        raise ViewError(f"Line {number}: not JSON: {error}. In JSON Lines every line is one view.") from error


def decide(policy: Policy, view: HostView, *, raw: bool = False, limits: Limits | None = None) -> dict[str, Any]:
    """Let a policy decide as if the view were the first of a trial; `raw` leaves out the governor.

    With the governor a target is what would be sent now, and a guest to which nothing would be sent keeps what it has.
    Targets are whole KiB, null for a guest whose current memory is not known.
    """
    policy.reset()
    if raw:
        allocation = policy.decide(view)
        targets = dict(zip(view.names, map(_whole, allocation.targets_kib), strict=True))
        reasons = dict(zip(view.names, allocation.reasons, strict=True))
    else:
        governor = Governor(limits)
        allocation = policy.decide(governor.fresh(view))
        plan = governor.plan(view, allocation)
        targets = dict(zip(view.names, map(_whole, view.current_kib), strict=True))
        targets |= {step.guest: step.target_kib for step in plan.steps}
        sent = {step.guest: step.reason for step in plan.steps}
        reasons = {name: sent.get(name) or plan.held[name] for name in view.names}
    return {
        "policy": policy.name,
        "params": policy.params.model_dump(mode="json"),
        "state": allocation.state,
        "targets_kib": targets,
        "reasons": reasons,
    }


def _whole(kib: float) -> int | None:
    return None if math.isnan(kib) else round(kib)
