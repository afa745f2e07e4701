"""The service as its file says: what it is made of, how it begins, reads its file again, and ends."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, closing, contextmanager, suppress
from pathlib import Path
from time import time
from typing import Any

from harness.balancer import Tick
from harness.clocks import SystemClock
from harness.experiment.connection import KIB_PER_MIB
from harness.experiment.document import ConfigError
from harness.governor import Trust
from harness.ports import Clock
from harness.records import Stamp
from harness.service import door
from harness.service.arbiter import NAP_S, DryHost, Keep, serve
from harness.service.desk import Desk
from harness.service.file import Service, load_service
from harness.service.journal import Journal
from harness.service.metrics import Metrics, served
from harness.service.notify import Notify
from harness.service.room import Room, Rooms
from harness.service.roster import Roster
from harness.view import HostView
from harness.xen.client import FIRST_WAIT_S, LONGEST_WAIT_S, GuestClient
from harness.xen.events import Events, Reporter, no_events
from harness.xen.host import HostError, XenHost
from harness.xen.machine import Machine
from harness.xen.source import XenSource
from harness.xen.ssh import ConnectionFailed

Record = Callable[[Mapping[str, Any], Tick], None]
Flag = Callable[[], bool]


class Watched:
    """The host whose guests come and go, and on which room is kept for newcomers, as a source of views."""

    def __init__(
        self, host: XenHost, source: XenSource, roster: Roster, rooms: Rooms, clock: Clock, events: Events = no_events
    ) -> None:
        self._host, self._source, self._roster, self._rooms, self._clock = host, source, roster, rooms, clock
        self._events = events
        self._had_kib: dict[str, float] = {}

    def view(self) -> HostView:
        """The newest view, of all who are there and whom the file speaks of."""
        self._roster.look(self._source.domains, self._clock.now_s())
        clients = self._roster.clients
        self._host.look_after(client.machine for client in clients)
        self._source.balance(clients, self._roster.terms)
        view = self._source.view()
        self._keep_for_the_stopped(view)
        return self._rooms.see(view)

    def _keep_for_the_stopped(self, view: HostView) -> None:
        """Keep room for who has just stopped, where the file says so: as much as it had."""
        for name, kib in zip(view.names, view.current_kib.tolist(), strict=True):
            if not math.isnan(kib):
                self._had_kib[name] = kib
            elif (had_kib := self._had_kib.pop(name, 0.0)) and (keep_s := self._roster.keep_s(name)):
                self._rooms.ask(had_kib, keep_s, view)
                self._events("kept", name, f"{had_kib / KIB_PER_MIB:.0f} MiB for {keep_s:.0f} s: it has stopped")


class Standing:
    """One service, from its start to its end.

    Events: `reloaded`, `reload_failed`, `room`, `kept`, and those of its parts.
    """

    def __init__(self, path: Path, tell: Events, *, stopped: Flag, reload: Flag, dry_run: bool = False) -> None:
        """`stopped` and `reload` tell what signals asked for; `reload` forgets it when it has told.

        Raises:
            ConfigError: the file cannot be used.

        """
        self._path, self._service = path, load_service(path)
        self._stopped, self._reload_asked, self._dry_run = stopped, reload, dry_run
        self._tell = tell
        self._clock, self._notify = SystemClock(), Notify()
        self._metrics = Metrics(self._service.policy.label)
        self._journal = Journal(self._service.decisions, self._journal_said)
        self.event = Reporter(self._happened)

    @property
    def service(self) -> Service:
        """What the file says now."""
        return self._service

    def _happened(self, event: str, guest: str, detail: str) -> None:
        """Something happened: it is said, counted, and written where the decisions are."""
        self._metrics.event(event, guest, detail)
        self._journal.write({"utc": Stamp.now().utc, "event": event, "guest": guest, "detail": detail})
        self._tell(event, guest, detail)

    def _journal_said(self, event: str, guest: str, detail: str) -> None:
        """Of the journal itself: told past the reporter, which may be waiting for the journal."""
        self._metrics.event(event, guest, detail)
        with suppress(OSError, ValueError):
            self._tell(event, guest, detail)

    def run(self, known: Mapping[str, Trust], keep: Keep, record: Record = lambda *_: None) -> None:
        """Balance until it is stopped.

        Raises:
            DoorError: another service runs where this one is to be asked.
            ConfigError: the address for metrics cannot be had.

        """
        service, rooms = self._service, Rooms(self._room_told)
        desk = Desk(rooms)
        with ExitStack() as stack:
            stack.enter_context(closing(self._journal))
            stack.enter_context(_served(self._metrics, service.metrics))
            open_door = stack.enter_context(door.Door(service.socket or door.default_path()))
            if (reached := self._reached(stack)) is None:
                return
            host, source = reached
            roster = Roster(service, self._ear, self.event)
            stack.callback(roster.close)
            stack.callback(host.close)  # first: what dom0 is to set does not wait for guests that do not answer

            def attend() -> None:
                open_door.attend(desk.answer)
                if self._reload_asked():
                    self._reload(roster)

            def note(line: Mapping[str, Any], tick: Tick) -> None:
                self._journal.write(line)
                self._metrics.note(tick, time())
                self._notify.lives(f"tick {line['tick']}: {len(tick.names)} of {len(tick.view)} guests take part")
                record(line, tick)

            self._notify.ready()
            serve(
                Watched(host, source, roster, rooms, self._clock, self.event), DryHost() if self._dry_run else host,
                service.policy.make(), shadows={choice.label: choice.make() for choice in service.shadows},
                limits=service.limits(), clock=self._clock, record=note, stopped=self._stopped, events=self.event,
                trust=known, keep=keep, fallback=service.fallback_policy(), attend=attend, seen=desk.note,
            )  # fmt: skip
            self._notify.stopping()

    def _reached(self, stack: ExitStack) -> tuple[XenHost, XenSource] | None:
        """Connect to dom0, however long that is away; None when it was stopped meanwhile."""
        service, wait_s = self._service, FIRST_WAIT_S
        while not self._stopped():
            host = XenHost(service.dom0(), (), safe_kib={}, events=self.event)
            try:
                host.start()
                pool_kib = None if service.pool_mib is None else service.pool_mib * KIB_PER_MIB
                source = XenSource(host, (), {}, reserve_kib=service.reserve_mib * KIB_PER_MIB, pool_kib=pool_kib)
            except (ConnectionFailed, HostError) as error:
                host.close()
                self.event("host_unreachable", "", f"{error} It is tried again in {wait_s:.0f} s.")
                self._nap(wait_s)
                wait_s = min(2 * wait_s, LONGEST_WAIT_S)
            else:
                stack.callback(host.close)
                return host, source
        return None

    def _nap(self, wait_s: float) -> None:
        until_s = self._clock.now_s() + wait_s
        while not self._stopped() and self._clock.now_s() < until_s:
            self._notify.lives("waiting for dom0")
            self._clock.sleep_until(min(until_s, self._clock.now_s() + NAP_S))

    def _ear(self, machine: Machine) -> GuestClient:
        return GuestClient(machine, period_s=self._service.period_s / 2, events=self.event)

    def _reload(self, roster: Roster) -> None:
        """Read the file again; what is said of guests counts at once, what else has changed from the next start on."""
        self._notify.reloading(self._clock.now_s())
        self._journal.close()  # it may have been turned over
        try:
            new = load_service(self._path)
        except ConfigError as error:
            self.event("reload_failed", "", f"{error}; the service goes on as before")
        else:
            old, self._service = self._service, self._service.model_copy(update={"guests": new.guests})
            later = [key for key in Service.model_fields if key != "guests" and getattr(new, key) != getattr(old, key)]
            roster.reload(self._service)
            self.event("reloaded", "", f"restart it for what is new of {', '.join(later)}" if later else "")
        self._notify.ready()

    def _room_told(self, room: Room) -> None:
        size_mib = room.size_kib / KIB_PER_MIB
        self.event("room", "", f"{room.number}: {size_mib:.0f} MiB for {room.for_s:.0f} s: {room.state.value}")


@contextmanager
def _served(metrics: Metrics, place: str | None) -> Iterator[None]:
    if place is None:
        yield
        return
    address, _, port = place.rpartition(":")
    with ExitStack() as stack:
        try:
            stack.enter_context(served(metrics, address, int(port)))
        except OSError as error:
            raise ConfigError(f"metrics: {place}: {error.strerror}; name another address or port") from error
        yield
