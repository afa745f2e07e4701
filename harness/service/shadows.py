"""Policies that decide beside the acting one, on the same views, and move nothing."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from harness.balancer import Tick
from harness.policies import Policy
from harness.records import decision_record

Events = Callable[[str, str, str], None]
"""Called with event, guest and detail."""


class Shadows:
    """Shadows by label, from the beginning of a trial. One that fails disturbs nobody; that is told once."""

    def __init__(self, policies: Mapping[str, Policy], events: Events) -> None:
        self._policies, self._events = policies, events
        self._failed: set[str] = set()
        for label, shadow in policies.items():
            try:
                shadow.reset()
            except Exception as error:  # noqa: BLE001 - as in `decisions`
                self._fail(label, error)

    def decisions(self, tick: Tick) -> dict[str, Any]:
        """What each shadow wants for the guests that took part, before any governor; without those that failed now."""
        if not self._policies:
            return {}
        view = tick.view.select(np.isin(tick.view.names, tick.names))
        found = {}
        for label, shadow in self._policies.items():
            try:
                found[label] = decision_record(shadow, view.names, shadow.decide(view))
            except Exception as error:  # noqa: BLE001 - whatever is wrong with one that watches must not stop the trial
                self._fail(label, error)
        return found

    def _fail(self, label: str, error: Exception) -> None:
        if label not in self._failed:
            self._failed.add(label)
            self._events("shadow_failed", "", f"{label}: {type(error).__name__}: {error}")
