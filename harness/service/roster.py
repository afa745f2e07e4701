"""Who is balanced now: the guests that Xen has and the service's file speaks of, as they come and go."""

from __future__ import annotations

import threading
from collections.abc import Callable, Collection
from dataclasses import dataclass

from harness.service.file import Service
from harness.xen.client import GuestClient
from harness.xen.events import Events, no_events
from harness.xen.machine import Machine
from harness.xen.source import Terms

GONE_S = 120.0
"""A guest that Xen does not have for so long does not come back: a reboot takes less; ours."""


@dataclass(slots=True)
class _Member:
    client: GuestClient
    terms: Terms
    seen_s: float


class Roster:
    """Keeps an ear in every guest that is to be balanced. To be closed at the end.

    Events: `joined`, `left`, and those of the ears.
    """

    def __init__(self, service: Service, hear: Callable[[Machine], GuestClient], events: Events = no_events) -> None:
        """`hear` makes the ear for a guest, not yet started."""
        self._service, self._hear, self._events = service, hear, events
        self._members: dict[str, _Member] = {}

    @property
    def clients(self) -> tuple[GuestClient, ...]:
        """The ears, in the order in which the guests came."""
        return tuple(member.client for member in self._members.values())

    @property
    def terms(self) -> dict[str, Terms]:
        """What each guest was promised."""
        return {name: member.terms for name, member in self._members.items()}

    def keep_s(self, name: str) -> float:
        """How long what a guest had is kept for it when it stops."""
        rule = self._service.rule(name)
        return 0.0 if rule is None else rule.keep_s

    def look(self, domains: Collection[str], now_s: float) -> bool:
        """Take in who has come and let go who has been gone for long; whether anything changed."""
        before = (self.clients, self.terms)
        for name in domains:
            if (rule := self._service.rule(name)) is None:
                continue
            member = self._members.get(name)
            if member is None:
                self._join(name, self._service.machine(name, rule), rule.terms(), now_s)
            else:
                member.seen_s, member.terms = now_s, rule.terms()
        for name, member in list(self._members.items()):
            if now_s - member.seen_s > GONE_S:
                self._leave(name, "Xen no longer has it")
        return before != (self.clients, self.terms)

    def reload(self, service: Service) -> None:
        """Go by another file from now on: who is no longer spoken of leaves, who is reached otherwise is heard anew.

        Whatever `look` says next, terms may be other ones.
        """
        self._service = service
        for name, member in list(self._members.items()):
            rule = service.rule(name)
            if rule is None:
                self._leave(name, "the file no longer speaks of it")
            elif service.machine(name, rule) != member.client.machine:
                self._leave(name, "it is reached in another way from now on")
            else:
                member.terms = rule.terms()

    def close(self) -> None:
        """Let everybody go, and wait until they have gone."""
        clients, self._members = self.clients, {}
        leaving = [threading.Thread(target=client.close) for client in clients]
        for thread in leaving:
            thread.start()
        for thread in leaving:
            thread.join()

    def _join(self, name: str, machine: Machine, terms: Terms, now_s: float) -> None:
        client = self._hear(machine)
        self._members[name] = _Member(client, terms, now_s)
        self._events("joined", name, str(machine))
        client.start()

    def _leave(self, name: str, why: str) -> None:
        member = self._members.pop(name)
        self._events("left", name, why)
        # One that does not answer takes seconds to let go of, and a tick must not wait for it.
        threading.Thread(target=member.client.close, name=f"leaving-{name}", daemon=True).start()
