"""What the agent may be asked for: names, sizes and moments, checked.

Sent to dom0 ahead of the agent, which uses it (`agent.py`, at its top, says under what terms).
"""

from __future__ import annotations

import math
import re
from typing import Any

Facts = dict[str, Any]
NAME = re.compile(r"[^\x00-\x1f\x7f-\x9f\ud800-\udfff]{1,255}")
"""Xen takes any text for a name: `Windows 10`, `db [old]`; none of it is ever part of a command's text."""
LARGEST_KIB = 1 << 40


class RefusedError(Exception):
    """A request that cannot be met; the message is the answer."""


class NeverError(RefusedError):
    """One that cannot be met later either."""


def seconds(request: Facts, key: str, most: float) -> float:
    """A number of seconds, checked."""
    number = request.get(key)
    if isinstance(number, bool) or not isinstance(number, (int, float)) or not 0 <= number <= most:
        raise RefusedError(f"{key} must be a number of seconds from 0" + ("" if math.isinf(most) else f" to {most:g}"))
    return float(number)


def sizes(request: Facts, key: str) -> dict[str, int]:
    """A mapping of domain names to KiB, or to numbers of disks, checked."""
    said = request.get(key)
    if not isinstance(said, dict):
        raise RefusedError(f"{key} is missing")
    for name, kib in said.items():
        if not NAME.fullmatch(name):
            raise RefusedError(f"{name[:80]!r} is no name of a domain")
        if isinstance(kib, bool) or not isinstance(kib, int) or not 0 < kib <= LARGEST_KIB:
            raise RefusedError(f"{key}.{name} must be a whole number above 0")
    return said
