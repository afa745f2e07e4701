"""The hand of the arbiter in dom0, and its dead-man: what it does when the arbiter is no longer there.

Not imported but sent: `XenHost` sends this text over one SSH channel, with those that it imports and last its process
(`resident.py`), and dom0's own Python runs them; so they use nothing but the standard library and Xen's bindings, and
nothing newer than Python 3.9. One JSON object per line in, one per line out:

    {"op": "state"}                                 {"total_kib": …, "free_kib": …, "domains": {name: {…}}, "others":
                                                    [{…}]}; these have no name by which they could be asked for
    {"op": "lease", "seconds": s, "safe_kib": {…}}  {}; what is not given stays as it is
    {"op": "set", "targets_kib": {name: kib}, "caps_kib": {name: kib}}
                                                    {"applied_kib": {name: kib}, "failed": {name: reason}}; a cap is
                                                    the most a domain may have until its next target, and may be left
                                                    out
    {"op": "restore"}                               the same; sets the safe targets
    {"op": "trace", "disks": {name: number}}        {"events": {name: text}, "lost": n, "failed": {name: reason}}, what
                                                    these disks did since the last time, of the domains that the
                                                    last "state" told of; {} ends it
    {"op": "until", "moment_s": s}                  {}, at that moment of this machine's monotonic clock
    {"op": "hold", "after_s": s, "idle": name}      {}; from now on the machine is held so many seconds
                                                    after every answer (brake.py); without "after_s": no longer
    {"op": "bye", "restore": true}                  {}; the end, with the safe targets if any other was set

An "id" in a request comes back in its answer, with "mono_s", the moment of the answer; {"error": text} answers what
cannot be done.

**The dead-man.** With the first `set` a lease begins, since from then on there is something to undo; every `set` and
`lease` renews it, and `restore` ends it. When it runs out, when the input ends, or on SIGHUP or
SIGTERM, the agent sets the safe targets itself, tries until they are set (deadman.py), and ends. A target that is above
what its domain can have is cut to that. It ends then too, rather than wait, because whoever comes next
must find the place free: a controller that was only stopped, or cut off, starts a new agent and sees in its first
`state` what became of the host. A new agent in the middle of things is told so by `"begin": true` in `lease`.
If the agent is killed, another process does the same for it when the lease runs out (heir.py).
"""

from __future__ import annotations

import json
import math
import re
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from typing import Any

from harness.xen.asked import LARGEST_KIB, NAME, Facts, NeverError, RefusedError, seconds, sizes
from harness.xen.brake import LONGEST_S as LONGEST_HOLD_S
from harness.xen.brake import Brake, BrakeError
from harness.xen.toolstack import Bindings, Tools, disks_kib
from harness.xen.tracer import TraceError, Tracer

DEFAULT_LEASE_S, LONGEST_LEASE_S = 15.0, 24 * 3600.0
OPS = ("state", "lease", "set", "restore", "trace", "until", "hold", "bye")


class Agent:
    """Carries out requests, and knows what to do when there are none any more."""

    def __init__(
        self, xen: Bindings | Tools, clock: Callable[[], float] = time.monotonic, tracer: Tracer | None = None
    ) -> None:
        self._xen, self._clock = xen, clock
        self.tracer = tracer or Tracer()
        self._lease_s = DEFAULT_LEASE_S
        self.lease_ends_s: float | None = None
        """None: there is nothing to undo."""
        self.safe_kib: dict[str, int] = {}
        self.ended = False
        self.until_s: float | None = None
        """When the answer is due that waits for its moment."""
        self._until_id: Any = None
        self.brake = Brake(lambda domid, go: xen.run(domid, go=go))
        self._video: dict[int, int] = {}
        self._alive: dict[str, int] = {}
        """Number of each domain that the last `state` told of."""

    def answer(self, line: bytes) -> Facts | None:
        """One request's answer, or None: `due` has it later. A request that makes no sense has an answer too."""
        request: Any = None
        try:
            request = json.loads(line)
            if not isinstance(request, dict):
                raise RefusedError("a request is a JSON object")
            op = str(request.get("op"))
            if op not in OPS:
                raise RefusedError(f"{op[:40]!r} is no op; there are {', '.join(OPS)}")
            said = getattr(self, f"_{op}")(request)
            if said is None:
                return None
        except (RefusedError, TraceError, BrakeError) as error:
            said = {"error": str(error)}
        except ValueError as error:
            said = {"error": f"the request cannot be read: {error}"}
        except Exception as error:  # noqa: BLE001  # Xen's bindings raise their own kinds; the agent must live on
            said = {"error": f"{type(error).__name__}: {error}"}
        return self._signed(request["id"] if isinstance(request, dict) and "id" in request else None, said)

    def due(self) -> Facts | None:
        """The answer for which it is time now."""
        if self.until_s is None or self._clock() < self.until_s:
            return None
        self.until_s = None
        return self._signed(self._until_id, {})

    def _signed(self, number: Any, said: Facts) -> Facts:  # noqa: ANN401  # as it came
        return {**({} if number is None else {"id": number}), "mono_s": self._clock(), **said}

    def make_safe(self, targets_kib: Mapping[str, int]) -> tuple[Facts, set[str]]:
        """Set safe targets, those that shrink first. Returns what was set and what was not, and who never can have it.

        One that is above what its domain can have is cut to that, and told.
        """
        return self._each(targets_kib, self._aim_safe)

    def _state(self, request: Facts) -> Facts:
        total_kib, free_kib = self._xen.memory_kib()
        domains, others = {}, []
        for name, domain in self._named():
            del domain["name"]
            domain["target_kib"] = self._figure(domain["domid"], "memory/target")
            domain["static_max_kib"] = self._figure(domain["domid"], "memory/static-max")
            if domain["target_kib"] is not None:
                domain["target_kib"] += self._video_kib(domain["domid"])
            domain["disks_kib"] = disks_kib(domain["domid"])
            if name is None:
                others.append(domain)  # nobody's business, and yet it may be promised memory
            else:
                domains[name] = domain
        self._alive = {name: domain["domid"] for name, domain in domains.items() if not domain["dying"]}
        return {"total_kib": total_kib, "free_kib": free_kib, "domains": domains, "others": others}

    def _named(self) -> Iterator[tuple[str | None, Facts]]:
        """Every domain by the name that is its alone; None: it has none, or shares it with another that lives."""
        found = list(self._xen.domains())
        living = Counter(domain["name"] for domain in found if not domain["dying"])
        for domain in found:
            name = domain["name"]
            alone = living[name] == 0 if domain["dying"] else living[name] == 1
            yield (name if name is not None and NAME.fullmatch(name) and alone else None), domain

    def _set(self, request: Facts) -> Facts:
        targets_kib, caps_kib = sizes(request, "targets_kib"), sizes({"caps_kib": {}} | request, "caps_kib")
        self._renew()
        said, _ = self._each(
            targets_kib, lambda domain, kib: self._aim(domain, kib, caps_kib.get(domain["name"], LARGEST_KIB))
        )
        capped, _ = self._each(caps_kib, lambda domain, kib: self._xen.cap(domain["domid"], kib))
        uncapped = {name: f"not capped: {reason}" for name, reason in capped["failed"].items()}
        return {"applied_kib": said["applied_kib"], "failed": uncapped | said["failed"]}

    def _lease(self, request: Facts) -> Facts:
        lease_s = request.get("seconds", self._lease_s)
        if isinstance(lease_s, bool) or not isinstance(lease_s, (int, float)) or not 0 < lease_s <= LONGEST_LEASE_S:
            raise RefusedError(f"a lease is for 0 to {LONGEST_LEASE_S:.0f} seconds")
        safe_kib = sizes(request, "safe_kib") if "safe_kib" in request else self.safe_kib
        self._lease_s, self.safe_kib = float(lease_s), safe_kib
        if request.get("begin") is True or self.lease_ends_s is not None:
            self._renew()
        return {}

    def _restore(self, request: Facts) -> Facts:
        said, _ = self.make_safe(self.safe_kib)
        self.lease_ends_s = None
        return said

    def _trace(self, request: Facts) -> Facts:
        disks = sizes(request, "disks")
        there = self._alive
        self.tracer.follow({name: (there[name], disk) for name, disk in disks.items() if name in there})
        return self.tracer.take()

    def _until(self, request: Facts) -> None:
        self.until_s, self._until_id = seconds(request, "moment_s", math.inf), request.get("id")

    def _hold(self, request: Facts) -> Facts:
        if "after_s" in request:
            after_s = seconds(request, "after_s", LONGEST_HOLD_S)
            idle = next((each["domid"] for each in self._xen.domains() if each["name"] == request.get("idle")), None)
            self.brake.put_on(after_s, idle)
        else:
            self.brake.take_off()
        return {}

    def _bye(self, request: Facts) -> Facts:
        if request.get("restore") is not True:
            self.lease_ends_s = None
        self.ended = True
        return {}

    def _renew(self) -> None:
        self.lease_ends_s = self._clock() + self._lease_s

    def _each(self, sizes_kib: Mapping[str, int], act: Callable[[Facts, int], None]) -> tuple[Facts, set[str]]:
        """Do it for each domain in the order given, but those that shrink first; one that fails stops no other.

        Returns the answer, and for whom it need not be tried again.
        """
        everybody = list(self._named())
        there = {name: domain for name, domain in everybody if name is not None}
        shared = {domain["name"] for name, domain in everybody if name is None} - there.keys()
        applied, failed, never = {}, {}, set()
        for name in sorted(sizes_kib, key=lambda name: name in there and sizes_kib[name] > there[name]["current_kib"]):
            try:
                if name in shared:
                    raise RefusedError("several domains have this name, and none is meant; rename one (xl rename)")
                if name not in there:
                    raise NeverError("no such domain runs")
                if there[name]["domid"] == 0:
                    raise NeverError("dom0 keeps what it has")
                act(there[name], sizes_kib[name])
                applied[name] = sizes_kib[name]
            except Exception as error:  # noqa: BLE001  # as above
                failed[name] = str(error) or type(error).__name__
                if isinstance(error, NeverError):
                    never.add(name)
        return {"applied_kib": applied, "failed": failed}, never

    def _aim(self, domain: Facts, kib: int, cap_kib: int = LARGEST_KIB) -> None:
        domid = domain["domid"]
        most_kib = self._figure(domid, "memory/static-max")
        video_kib = self._video_kib(domid)
        if most_kib is not None and kib - video_kib > most_kib:
            raise RefusedError(f"{kib} KiB is above the {most_kib} KiB (maxmem) that it was created with")
        self._xen.aim(domain, kib, video_kib, cap_kib)

    def _aim_safe(self, domain: Facts, kib: int) -> None:
        created_kib = self._figure(domain["domid"], "memory/static-max")
        most_kib = kib if created_kib is None else created_kib + self._video_kib(domain["domid"])
        self._aim(domain, min(kib, most_kib))
        if kib > most_kib:
            raise NeverError(f"{kib} KiB is above the {most_kib} KiB (maxmem) that it can have, and has been told to")

    def _video_kib(self, domid: int) -> int:
        """Stays the same as long as the domain lives; Xen gives no domid twice before 32,752 others."""
        if domid not in self._video:
            self._video[domid] = self._figure(domid, "memory/videoram") or 0
        return self._video[domid]

    def _figure(self, domid: int, key: str) -> int | None:
        text = self._xen.read(domid, key)
        return int(text) if text is not None and re.fullmatch(r"[0-9]{1,13}", text) else None
