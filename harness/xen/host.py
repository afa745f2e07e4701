"""XenHost: the port through which plans reach the real host."""

from __future__ import annotations

import threading
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from typing import Any, Self

from harness.governor import Plan
from harness.ports import Outcome
from harness.xen.client import FIRST_WAIT_S, LONGEST_WAIT_S
from harness.xen.clock import Dom0Clock
from harness.xen.domains import HostState, StateError
from harness.xen.events import Events, Reporter, no_events
from harness.xen.link import AgentLink, LinkError, NoAnswerError, Stepper
from harness.xen.machine import Machine
from harness.xen.ssh import ConnectionFailed

LEASE_S = 15.0
"""Without a word for so long, dom0 sets the safe targets; several periods, and longer than dom0 was seen to pause."""
TIMEOUT_S = 5.0
DEAF_AFTER = 3
"""So many requests in a row without an answer, and the agent is given up."""
HOLD_AFTER_S = 0.02
"""From an answer until the machine is held: within it the answer has left dom0, encrypted and sent."""
IDLE_DOMAIN = "lab-idle"
"""What keeps the processor of a held machine from sleeping (roles/lab/files/rootfs/etc/xen/lab-idle)."""
STRANGER = "no such guest in the inventory"


class HostError(ConnectionError):
    """dom0 cannot be asked now; the message says why. The connection is being made anew."""


class HostRefusedError(HostError):
    """dom0 answers, and says no: it could not do what it was asked to."""


class XenHost:
    """Talks to the agent in dom0, and gets a new one when that is gone; connections are made only in the background.

    `safe_kib` are the targets (guest → KiB) that dom0 sets by itself when it hears nothing for `lease_s`. The lease
    begins with the first target that is set and ends with `restore`: before and after there is nothing to undo.
    With `clock`, that goes by what dom0 says of the time; `timeout_s` is always the controller's.
    Events, with an empty guest: `host_connected`, `host_lost`, `host_unreachable`.
    """

    def __init__(
        self,
        dom0: Machine,
        guests: Sequence[Machine],
        *,
        safe_kib: Mapping[str, int],
        lease_s: float = LEASE_S,
        timeout_s: float = TIMEOUT_S,
        events: Events = no_events,
        clock: Dom0Clock | None = None,
    ) -> None:
        self.dom0, self._clock = dom0, clock
        self._stepper: Stepper | None = None
        self.look_after(guests)
        self._safe_kib, self._lease_s, self._timeout_s = dict(safe_kib), lease_s, timeout_s
        self._events = Reporter.around(events)
        self._link: AgentLink | None = None
        self._dead: AgentLink | None = None
        self._why = "not started"
        self._unanswered = 0
        self._leads = False
        """Whether there is something to undo, so that a new agent must begin with a lease."""
        self._lost, self._closing = threading.Event(), threading.Event()
        self._keeper = threading.Thread(target=self._keep, name="dom0", daemon=True)

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()

    def look_after(self, guests: Iterable[Machine]) -> None:
        """These are the guests from now on."""
        self._xen_names = {guest.name: guest.xen_name for guest in guests}
        self._names = {xen_name: name for name, xen_name in self._xen_names.items()}

    def start(self) -> None:
        """Connect, and keep the connection from now on.

        Raises:
            ConnectionFailed: dom0 cannot be reached, has no Xen or no Python, or another controller is at work.

        """
        self._link = self._connected()
        self._keeper.start()

    def close(self, *, restore: bool = True) -> None:
        """End; dom0 then sets the safe targets if others were set, unless told not to."""
        self._closing.set()
        self._lost.set()
        if self._keeper.ident is not None:
            self._keeper.join(5)
        link, self._link = self._link, None
        if link is None:
            return
        try:
            link.ask({"op": "bye", "restore": restore}, self._timeout_s)
            link.wait_for_end(self._timeout_s)
        except (LinkError, NoAnswerError) as error:
            self._events("host_lost", "", f"{error} dom0 sets the safe targets by itself.")
        finally:
            link.close()

    def state(self) -> HostState:
        """What Xen says now.

        Raises:
            HostError: it cannot be asked.

        """
        try:
            return HostState.told(self._ask({"op": "state"}))
        except StateError as error:
            raise HostError(f"{self.dom0}: {error}") from error

    def apply(self, plan: Plan) -> Outcome:
        """Set the targets of a plan, those that shrink first, and its caps.

        A cap is the most that a guest may have until its next target, for one that does not do as it is told; it goes
        with the targets in one request, since between two the guest would have time to grow. What cannot be set is in
        the outcome, with the reason.
        """
        targets_kib = {step.guest: step.target_kib for step in plan.steps}
        if not targets_kib and not plan.caps_kib:
            return Outcome(applied_kib={}, failed={})
        self._leads = True
        unknown = {name: STRANGER for name in [*targets_kib, *plan.caps_kib] if name not in self._xen_names}
        request = {"op": "set", "targets_kib": self._known(targets_kib), "caps_kib": self._known(plan.caps_kib)}
        try:
            said = self._ask(request)
        except HostError as error:
            return Outcome(applied_kib={}, failed=dict.fromkeys([*targets_kib, *plan.caps_kib], str(error)))
        return Outcome(
            applied_kib={self._names[name]: kib for name, kib in said["applied_kib"].items()},
            failed={self._names[name]: reason for name, reason in said["failed"].items()} | unknown,
        )

    def trace(self, disks: Mapping[str, int]) -> dict[str, Any]:
        """What the guests' disks did since the last call (tracer.py says how it is told); an empty mapping ends it.

        By the names that Xen has for the guests; which of its disks is meant, by the number that the guest has for it.

        Raises:
            HostError: dom0 cannot be asked, or cannot trace.

        """
        return self._ask({"op": "trace", "disks": dict(disks)})

    def until(self, moment_s: float) -> None:
        """Return at a moment of dom0's monotonic clock.

        Raises:
            HostError: dom0 cannot be asked.

        """
        self._ask({"op": "until", "moment_s": moment_s})

    @contextmanager
    def stepping(self, stepper: Stepper) -> Iterator[None]:
        """Within this the machine stands still but for what it is asked to do, and its clock with it.

        Raises:
            HostError: it cannot be held.

        """
        self._stepper = stepper
        try:
            self._ask({"op": "hold", "after_s": HOLD_AFTER_S, "idle": IDLE_DOMAIN})
            yield
        finally:
            with suppress(HostError):
                self._ask({"op": "hold"})
            self._stepper = None

    def renew_lease(self, safe_kib: Mapping[str, int] | None = None, *, lease_s: float | None = None) -> None:
        """Tell dom0 that the arbiter lives; `lease_s` is how long it may be silent from now on.

        `safe_kib` are the safe targets from now on, also those that a new agent begins with. When dom0 cannot be told,
        the lease runs out, as it should; no error.
        """
        self._lease_s = lease_s or self._lease_s
        if safe_kib is not None:
            self._safe_kib = dict(safe_kib)
        try:
            self._ask({"op": "lease", "seconds": self._lease_s} if safe_kib is None else self._lease())
        except HostError:
            return

    def restore(self, targets_kib: Mapping[str, int]) -> None:
        """Set the safe targets, which from now on are these.

        Raises:
            HostError: dom0 cannot be told, or could not set them all.

        """
        self._safe_kib = dict(targets_kib)
        self._ask(self._lease())
        said = self._ask({"op": "restore"})
        self._leads = False
        if said["failed"]:
            raise HostRefusedError("; ".join(f"{name}: {reason}" for name, reason in said["failed"].items()))

    def _known(self, sizes_kib: Mapping[str, int]) -> dict[str, int]:
        """Sizes by the names that Xen has, of the guests that it knows."""
        return {self._xen_names[name]: kib for name, kib in sizes_kib.items() if name in self._xen_names}

    def _ask(self, request: Mapping[str, Any]) -> dict[str, Any]:
        link = self._link
        if link is None:
            raise HostError(f"{self.dom0}: {self._why}")
        stepper = self._stepper
        try:
            said = link.ask(request, self._timeout_s, stepper)
        except NoAnswerError as error:
            self._unanswered += 1
            if self._unanswered >= DEAF_AFTER:
                self._lose(link, str(error))
            raise HostError(str(error)) from error
        except LinkError as error:
            self._lose(link, str(error))
            raise HostError(str(error)) from error
        self._unanswered = 0
        if self._clock is not None:
            held = stepper is not None and request != {"op": "hold"} and stepper.wait()
            self._clock.told(float(said["mono_s"]) + HOLD_AFTER_S * held, stepping=held)
        if "error" in said:
            raise HostRefusedError(f"{self.dom0}: {said['error']}")
        return said

    def _lease(self) -> dict[str, Any]:
        return {"op": "lease", "seconds": self._lease_s, "safe_kib": self._known(self._safe_kib)}

    def _connected(self) -> AgentLink:
        link = AgentLink(self.dom0)
        try:
            if "error" in (said := link.ask({**self._lease(), "begin": self._leads}, self._timeout_s)):
                raise ConnectionFailed(f"{self.dom0}: {said['error']}")
            if self._clock is not None:
                self._clock.follow(self, float(said["mono_s"]))
        except (LinkError, NoAnswerError, ConnectionFailed) as error:
            link.close()
            raise ConnectionFailed(str(error)) from error
        self._unanswered = 0
        self._events("host_connected", "", str(self.dom0))
        return link

    def _lose(self, link: AgentLink, why: str) -> None:
        if self._link is link:
            self._link, self._dead, self._why = None, link, why
            if self._stepper is not None:  # a machine that stands still could not be connected to anew
                self._stepper.nudge()
            self._events("host_lost", "", why)
            self._lost.set()

    def _keep(self) -> None:
        """Whenever the agent is gone, get a new one, with growing waits."""
        wait_s = FIRST_WAIT_S
        while not self._closing.is_set():
            self._lost.wait()
            if self._dead is not None:
                self._dead.close()
                self._dead = None
            if self._closing.is_set():
                return
            try:
                link = self._connected()
            except ConnectionFailed as error:
                self._why = str(error)
                self._events("host_unreachable", "", self._why)
                self._closing.wait(wait_s)
                wait_s = min(2 * wait_s, LONGEST_WAIT_S)
            else:
                if self._closing.is_set():  # too late: nobody waits for it any more
                    link.close()
                    return
                self._lost.clear()
                self._link, wait_s = link, FIRST_WAIT_S
