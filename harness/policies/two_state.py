"""`two-state`, the policy of the proposal: self-adjustment while memory is ample, one price when it is scarce."""

from __future__ import annotations

from dataclasses import replace
from typing import ClassVar

import numpy as np
from pydantic import Field

from harness.policies.base import Allocation, Reasons, among_known, mib
from harness.policies.price import Price, PriceParams
from harness.policies.self_balloon import SelfBalloon, SelfBalloonParams
from harness.view import HostView


class TwoStateParams(PriceParams, SelfBalloonParams):
    """Parameters of `two-state`: those of both its states, and what lies between them."""

    hysteresis: float = Field(
        default=0.05,
        ge=0,
        lt=1,
        description="h, 0 to below 1: scarcity ends when the guests want less than (1 - h) of the pool; 0.05, ours",
    )


class TwoState:
    """Ample while Σ max(K + reserve, lo) ≤ M; back from scarce only below (1 - h)·M."""

    name: ClassVar[str] = "two-state"

    def __init__(self, params: TwoStateParams) -> None:
        self.params = params
        self._ample = SelfBalloon(params)
        self._scarce = Price(params)
        self.reset()

    def reset(self) -> None:
        """Forget the state and what the two inner policies remember."""
        self._is_scarce = False
        self._ample.reset()
        self._scarce.reset()

    def decide(self, view: HostView) -> Allocation:
        """See which state it is and let its policy decide."""
        return among_known(view, self._decide, needs=tuple(dict.fromkeys((*self._ample.needs, *self._scarce.needs))))

    def _decide(self, view: HostView) -> Allocation:
        wanted = np.maximum(self._ample.wants_kib(view), view.least_kib).sum()
        pool = view.pool_kib
        self._is_scarce = wanted >= (1 - self.params.hysteresis) * pool if self._is_scarce else wanted > pool
        state, policy = ("scarce", self._scarce) if self._is_scarce else ("ample", self._ample)
        inner = policy.decide(view)
        cause = f"{state}, all want {mib(wanted)} of {mib(pool)}"
        texts = (f"{reason} ({cause})" for reason in inner.reasons)
        return replace(inner, reasons=Reasons(texts, len(view)), state=state)
