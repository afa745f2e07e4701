"""Have the guests become what they were told to be? For the places where everything waits until they have."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from harness.experiment.site import Site
from harness.governor import LEAST_PATIENCE_S, MOST_OFFSET_KIB, NOTICEABLE_KIB
from harness.xen.domains import Domain
from harness.xen.host import XenHost

NEAR_KIB, NEAR_SHARE = 1024.0, 0.005
"""As close as this (the larger, of what it is to have) is there: the governor's own dead band, within which it sends
nothing either.
"""
RESTING_BANDS = 2.0
"""A paravirtual guest that rests is there within twice that: what its balloon cannot move are single pages."""


@dataclass(slots=True)
class Settling:
    """Guests on their way to sizes that were sent once; to be asked again and again until none is far."""

    wanted_kib: Mapping[str, float]
    _rests: dict[str, tuple[float, float]] = field(default_factory=dict)
    """Where each was when it last moved, and when that was."""

    def far(self, now_s: float, guests: Mapping[str, Domain]) -> dict[str, float]:
        """What those have (KiB) that have not arrived.

        A guest may rest a constant off its target, above all one that is not paravirtual; until it rests nobody knows
        whether it does. Whom Xen has no more is not among them, which the caller has to see.
        """
        return {name: guest.current_kib for name, guest in guests.items() if self._is_far(now_s, name, guest)}

    def _is_far(self, now_s: float, name: str, guest: Domain) -> bool:
        off_kib = abs(guest.current_kib - self.wanted_kib[name])
        at_kib, since_s = self._rests.setdefault(name, (guest.current_kib, now_s))
        if abs(guest.current_kib - at_kib) >= NOTICEABLE_KIB:
            self._rests[name], since_s = (guest.current_kib, now_s), now_s
        near_kib = max(NEAR_KIB, NEAR_SHARE * self.wanted_kib[name])
        if now_s - since_s >= LEAST_PATIENCE_S:
            near_kib = RESTING_BANDS * near_kib if guest.hvm is False else MOST_OFFSET_KIB
        return off_kib > near_kib


def guests_of(host: XenHost, site: Site) -> dict[str, Domain]:
    """The site's guests that Xen has now, by their own names."""
    domains = host.state().domains
    return {machine.name: domains[machine.xen_name] for machine in site.guests if machine.xen_name in domains}
