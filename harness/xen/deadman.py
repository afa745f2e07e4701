"""How dom0 sets the safe targets: again and again, until each is set or cannot be, whatever Xen answers meanwhile.

Sent to dom0 ahead of the agent, which uses it (`agent.py`, at its top, says under what terms): when nobody leads any
more there is nobody either who would notice that a target was not set.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Mapping
from typing import Any

TRY_S = 90.0
"""What failed is tried again for so long; a minute was asked for. The next agent must wait for this one's end."""
FIRST_PAUSE_S, LONGEST_PAUSE_S = 0.5, 8.0

Attempt = Callable[[Mapping[str, int]], "tuple[dict[str, Any], set[str]]"]
"""Sets targets; returns what was set and what could not be, and who of these need not be tried again."""


def set_all(
    attempt: Attempt,
    safe_kib: Mapping[str, int],
    log: Callable[[str], None],
    clock: Callable[[], float] = time.monotonic,
    sleep: Callable[[float], None] = time.sleep,
) -> dict[str, str]:
    """Set the safe targets, and log that before and after. Returns whose could not be set, and why."""
    log(f"to be set: {json.dumps(dict(safe_kib))}")
    ends_s, pause_s = clock() + TRY_S, FIRST_PAUSE_S
    left, failed = dict(safe_kib), {}  # type: dict[str, int], dict[str, str]
    while True:
        try:
            said, hopeless = attempt(left)
        except Exception as error:  # noqa: BLE001  # Xen's bindings raise their own kinds; nobody else would try again
            said, hopeless = {"failed": dict.fromkeys(left, f"{type(error).__name__}: {error}")}, set()
        failed.update(said["failed"])
        for name in said.get("applied_kib", {}):
            failed.pop(name, None)
        left = {name: kib for name, kib in left.items() if name in said["failed"] and name not in hopeless}
        log(json.dumps(said))
        if not left or clock() >= ends_s:
            break
        sleep(pause_s)
        pause_s = min(2 * pause_s, LONGEST_PAUSE_S)
    if failed:
        log(f"given up: {json.dumps(failed)}" if left else f"not as wanted: {json.dumps(failed)}")
    return failed
