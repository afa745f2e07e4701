"""What the signals of simulated guests show, at their borders."""

from __future__ import annotations

from types import SimpleNamespace
from typing import cast

import numpy as np

from harness.simulator.guest import Guest
from harness.simulator.signals import ghost_returns


def test_where_nothing_that_is_swapped_is_anybodys_work_nothing_is_known_to_return() -> None:
    idle = SimpleNamespace(
        swapped_kib=512.0, resident_kib=4096.0, footprint_kib=4096.0, load=SimpleNamespace(cyclic=False),
        law=SimpleNamespace(hottest=lambda shares, size: np.ones_like(shares)),
    )  # fmt: skip
    assert ghost_returns(cast("Guest", idle), 12.0) == ()
