"""The hand of the arbiter in dom0, and its dead-man: what it does when the arbiter is no longer there.

Not imported but sent: `XenHost` runs this text, after those that it imports, with dom0's own Python over one SSH
channel, so it uses nothing but the standard library and Xen's bindings, and nothing newer than Python 3.9. One JSON
object per line in, one per line out:

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

import contextlib
import ctypes
import fcntl
import importlib
import json
import math
import os
import re
import select
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

from harness.xen.brake import LONGEST_S as LONGEST_HOLD_S
from harness.xen.brake import Brake, BrakeError
from harness.xen.deadman import set_all
from harness.xen.heir import Heir
from harness.xen.tracer import TraceError, Tracer

LOCK = Path("/run/ballast-agent.lock")
LOG = Path("/run/ballast-agent.log")
LOG_BYTES = 1 << 20
"""A log longer than this is begun anew; /run is memory."""
BUSY = 3
"""Exit status: another agent is at work."""
UNLED = 4
"""Exit status: the lease ran out."""

NO_ROOT = 5
"""Exit status: whoever started it is not root."""

LEASE_OUT = "the lease ran out"

Facts = dict[str, Any]
NAME = re.compile(r"[^\x00-\x1f\x7f-\x9f\ud800-\udfff]{1,255}")
"""Xen takes any text for a name: `Windows 10`, `db [old]`; none of it is ever part of a command's text."""
SLACK_KIB = 1024
"""What a domain's maximum is above its target; libxl's LIBXL_MAXMEM_CONSTANT."""
LARGEST_KIB = 1 << 40
LONGEST_REQUEST = 1 << 20
DEFAULT_LEASE_S, LONGEST_LEASE_S = 15.0, 24 * 3600.0
LOOK_S = 0.5
"""While disks are traced: how often the trace is read at least, so that the kernel's buffer does not run over."""
OPS = ("state", "lease", "set", "restore", "trace", "until", "hold", "bye")


class RefusedError(Exception):
    """A request that cannot be met; the message is the answer."""


class NeverError(RefusedError):
    """One that cannot be met later either."""


class Bindings:
    """Xen by its Python bindings: a few milliseconds a call."""

    def __init__(self) -> None:
        xc, xs = _bindings()
        self._xc, self._xs = xc.xc(), xs.xs()

    def memory_kib(self) -> tuple[int, int]:
        """All memory of the host, and what is free."""
        info = self._xc.physinfo()
        return info["total_memory"], info["free_memory"]

    def domains(self) -> Iterator[Facts]:
        """One mapping per domain."""
        for info in self._xc.domain_getinfo(0, 32768):
            yield {
                "domid": info["domid"],
                "name": self.read(info["domid"], "name"),
                "current_kib": info["mem_kb"],
                "max_kib": info["maxmem_kb"],
                "paused": bool(info["paused"]),
                "dying": bool(info["dying"] or info["shutdown"] or info["crashed"]),
                "hvm": bool(info["hvm"]),
            }

    def read(self, domid: int, key: str) -> str | None:
        """A domain's entry in xenstore as text, or None."""
        value = self._xs.read("", f"/local/domain/{domid}/{key}")
        return None if value is None else value.decode(errors="backslashreplace")

    def cap(self, domid: int, kib: int) -> None:
        """Set the most that a domain may have."""
        self._xc.domain_setmaxmem(domid, kib)

    def run(self, domid: int, *, go: bool) -> None:
        """Let a domain run, or pause it."""
        (self._xc.domain_unpause if go else self._xc.domain_pause)(domid)

    def aim(self, domain: Facts, kib: int, video_kib: int, most_kib: int) -> None:
        """Set a target as `xl mem-set` does: Xen's own limit first, in both directions, then the word to the balloon.

        So a guest that is to shrink and does not can at least never grow again, nor a capped one for one moment.
        """
        limit_kib = min(kib + SLACK_KIB, most_kib)
        self.cap(domain["domid"], limit_kib)
        if domain["hvm"]:  # Xen fills its pages on demand, up to this
            self._xc.domain_set_target_mem(domain["domid"], limit_kib - video_kib)
        self._xs.write("", f"/local/domain/{domain['domid']}/memory/target", str(kib - video_kib))


class Tools:
    """Xen by its command line tools, for a dom0 without the bindings: a process and 0.1 s or more a call."""

    def memory_kib(self) -> tuple[int, int]:
        """All memory of the host, and what is free; `xl` rounds to MiB."""
        words = dict(re.findall(r"^(\w+)\s*: (\d+)$", _run("xl", "info"), re.MULTILINE))
        return int(words["total_memory"]) * 1024, int(words["free_memory"]) * 1024

    def domains(self) -> Iterator[Facts]:
        """One mapping per domain."""
        for line in _run("xl", "list").splitlines()[1:]:
            name, domid, mem_mib, _, state = line.rsplit(None, 5)[:5]
            kib = int(mem_mib) * 1024
            yield {
                "domid": int(domid),
                "name": name,
                "current_kib": kib,
                "max_kib": None,
                "paused": "p" in state,
                "dying": any(letter in state for letter in "dsc"),
                "hvm": None,
            }

    def read(self, domid: int, key: str) -> str | None:
        """A domain's entry in xenstore as text, or None."""
        try:
            return _run("xenstore-read", f"/local/domain/{domid}/{key}").strip()
        except RefusedError:
            return None

    def cap(self, domid: int, kib: int) -> None:
        """Not with `xl`, whose mem-max changes for good what the domain was created with."""
        raise RefusedError("a cap needs Xen's Python bindings")

    def run(self, domid: int, *, go: bool) -> None:
        """Let a domain run, or pause it."""
        _run("xl", "unpause" if go else "pause", str(domid))

    def aim(self, domain: Facts, kib: int, video_kib: int, most_kib: int) -> None:
        """Set a target, and Xen's limit with it; `most_kib` cannot be kept, which `cap` says."""
        _run("xl", "mem-set", str(domain["domid"]), f"{kib}k")


def _bindings() -> tuple[Any, Any]:
    """The modules xc and xs of the Xen that runs; distributions keep them out of Python's own path."""
    try:
        version = ".".join(Path("/sys/hypervisor/version", part).read_text().strip() for part in ("major", "minor"))
    except OSError:
        version = "*"
    sys.path[:0] = map(str, Path("/usr").glob(f"lib*/xen-{version}/lib/python"))
    return importlib.import_module("xen.lowlevel.xc"), importlib.import_module("xen.lowlevel.xs")


def _run(*argv: str) -> str:
    try:
        done = subprocess.run(argv, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=30, check=False)
    except (OSError, subprocess.TimeoutExpired) as error:
        raise RefusedError(f"{argv[0]}: {error}") from error
    if done.returncode != 0:
        raise RefusedError(f"{' '.join(argv[:2])}: {done.stderr.strip()[-200:] or 'failed'}")
    return done.stdout


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
            domain["disks_kib"] = _disks_kib(domain["domid"])
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
        targets_kib, caps_kib = _sizes(request, "targets_kib"), _sizes({"caps_kib": {}} | request, "caps_kib")
        self._renew()
        said, _ = self._each(
            targets_kib, lambda domain, kib: self._aim(domain, kib, caps_kib.get(domain["name"], LARGEST_KIB))
        )
        capped, _ = self._each(caps_kib, lambda domain, kib: self._xen.cap(domain["domid"], kib))
        uncapped = {name: f"not capped: {reason}" for name, reason in capped["failed"].items()}
        return {"applied_kib": said["applied_kib"], "failed": uncapped | said["failed"]}

    def _lease(self, request: Facts) -> Facts:
        seconds = request.get("seconds", self._lease_s)
        if isinstance(seconds, bool) or not isinstance(seconds, (int, float)) or not 0 < seconds <= LONGEST_LEASE_S:
            raise RefusedError(f"a lease is for 0 to {LONGEST_LEASE_S:.0f} seconds")
        safe_kib = _sizes(request, "safe_kib") if "safe_kib" in request else self.safe_kib
        self._lease_s, self.safe_kib = float(seconds), safe_kib
        if request.get("begin") is True or self.lease_ends_s is not None:
            self._renew()
        return {}

    def _restore(self, request: Facts) -> Facts:
        said, _ = self.make_safe(self.safe_kib)
        self.lease_ends_s = None
        return said

    def _trace(self, request: Facts) -> Facts:
        disks = _sizes(request, "disks")
        there = self._alive
        self.tracer.follow({name: (there[name], disk) for name, disk in disks.items() if name in there})
        return self.tracer.take()

    def _until(self, request: Facts) -> None:
        self.until_s, self._until_id = _number(request, "moment_s", math.inf), request.get("id")

    def _hold(self, request: Facts) -> Facts:
        if "after_s" in request:
            after_s = _number(request, "after_s", LONGEST_HOLD_S)
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


def _number(request: Facts, key: str, most: float) -> float:
    """A number of seconds, checked."""
    number = request.get(key)
    if isinstance(number, bool) or not isinstance(number, (int, float)) or not 0 <= number <= most:
        raise RefusedError(f"{key} must be a number of seconds from 0" + ("" if math.isinf(most) else f" to {most:g}"))
    return float(number)


def _sizes(request: Facts, key: str) -> dict[str, int]:
    """A mapping of domain names to KiB, or to numbers of disks, checked."""
    sizes = request.get(key)
    if not isinstance(sizes, dict):
        raise RefusedError(f"{key} is missing")
    for name, kib in sizes.items():
        if not NAME.fullmatch(name):
            raise RefusedError(f"{name[:80]!r} is no name of a domain")
        if isinstance(kib, bool) or not isinstance(kib, int) or not 0 < kib <= LARGEST_KIB:
            raise RefusedError(f"{key}.{name} must be a whole number above 0")
    return sizes


def _disks_kib(domid: int) -> dict[str, list[int]]:
    """KiB read and written of each of a domain's disks, by device number, as far as blkback serves them.

    It is what is seen of a guest that is too short of memory to speak: the traffic of its swap disk.
    """
    disks = {}
    for folder in Path("/sys/bus/xen-backend/devices").glob(f"vbd-{domid}-*"):
        try:
            sectors = [int(Path(folder, "statistics", name).read_text()) for name in ("rd_sect", "wr_sect")]
        except (OSError, ValueError):
            continue  # it is being taken away
        disks[folder.name.rpartition("-")[2]] = [count // 2 for count in sectors]
    return disks


class Stopped(BaseException):
    """A signal came. Not an Exception: no request in progress may take it for its own failure."""


def _stop(number: int, _frame: object) -> None:
    raise Stopped(signal.Signals(number).name)


def serve(agent: Agent, read_fd: int = 0, write_fd: int = 1, heir: Heir | None = None) -> str:
    """Answer until there is a reason to end, and return that."""
    pending = b""
    while not agent.ended:
        now_s = time.monotonic()
        left_s = None if agent.lease_ends_s is None else agent.lease_ends_s - now_s
        if left_s is not None and left_s <= 0:
            return LEASE_OUT
        if (said := agent.due()) is not None:
            _write(write_fd, said)
            agent.brake.hold()
            continue
        waits_s = [left_s, None if agent.until_s is None else max(0.0, agent.until_s - now_s)]
        waits_s.append(LOOK_S if agent.tracer.active else None)
        wait_s = min((each for each in waits_s if each is not None), default=None)
        if not select.select([read_fd], [], [], wait_s)[0]:
            agent.tracer.look()
            continue
        chunk = os.read(read_fd, 65536)
        if not chunk:
            return "the controller is gone"
        *lines, pending = (pending + chunk).split(b"\n")
        if len(pending) > LONGEST_REQUEST:
            return "a request without end"
        for line in lines:
            said = agent.answer(line)
            if heir is not None:  # before the answer: whoever has that can count on it
                heir.note(agent.lease_ends_s, agent.safe_kib)
            if said is not None:
                _write(write_fd, said)
                agent.brake.hold()
    return "bye"


def _write(fd: int, said: Facts) -> None:
    text = json.dumps(said).encode() + b"\n"
    while text:
        text = text[os.write(fd, text) :]


def _stay_in_memory() -> None:
    """Be neither swapped out nor killed when dom0 itself is short of memory."""
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.mlockall(1 | 2 | 4) != 0:  # MCL_CURRENT, MCL_FUTURE, MCL_ONFAULT: what is in use, not all that is mapped
        log(f"not locked in memory: {os.strerror(ctypes.get_errno())}")
    try:
        Path("/proc/self/oom_score_adj").write_text("-1000")
    except OSError as error:
        log(f"not kept from the OOM killer: {error}")


def log(text: str) -> None:
    """To the log in dom0, and to the controller if there is one."""
    line = f"{time.strftime('%Y-%m-%dT%H:%M:%SZ', time.gmtime())} [{os.getpid()}] {text}\n".encode()
    with contextlib.suppress(OSError):  # there is no room left in /run; nothing more may come of that
        _append(line)
    with contextlib.suppress(OSError):  # the controller's end is closed; the file has it
        os.write(2, line)


def _append(line: bytes) -> None:
    mode = os.O_TRUNC if LOG.exists() and LOG.stat().st_size > LOG_BYTES else os.O_APPEND
    fd = os.open(LOG, os.O_WRONLY | os.O_CREAT | mode | os.O_NOFOLLOW, 0o600)
    try:
        os.write(fd, line)
    finally:
        os.close(fd)


def _lock() -> None:
    """The one place for an agent; held until this process ends."""
    try:
        fd = os.open(LOCK, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
    except PermissionError as error:
        _write(1, {"error": f"the agent needs root ({error})"})
        sys.exit(NO_ROOT)
    try:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        holder = os.read(fd, 32).decode(errors="replace").strip()
        text = f"another agent (process {holder}) is at work; stop its controller, or wait until its lease runs out"
        _write(1, {"error": text})
        sys.exit(BUSY)
    os.ftruncate(fd, 0)
    os.write(fd, f"{os.getpid()}\n".encode())


def _inherit(leader: int, safe_kib: Mapping[str, int]) -> None:
    """Set the safe targets of an agent that was killed, unless another has led since."""
    if LOCK.read_text().strip() == str(leader):
        _lock()  # while another leads, this is the end
        agent = Agent(_xen())
        set_all(agent.make_safe, safe_kib, lambda text: log(f"agent {leader} was killed; safe targets: {text}"))


def _xen() -> Bindings | Tools:
    try:
        return Bindings()
    except ImportError as error:
        log(f"Xen's Python bindings are missing ({error}); falling back to xl, which is slow")
        return Tools()


def main() -> None:
    """Serve on standard input and output; see the top."""
    _lock()
    xen = _xen()
    agent = Agent(xen)
    for number in (signal.SIGHUP, signal.SIGTERM, signal.SIGINT):
        signal.signal(number, _stop)
    reason = "a fault in the agent"
    heir = None
    try:
        agent.answer(b'{"op": "state"}')  # so that all it takes is in memory
        _stay_in_memory()
        heir = Heir(_inherit)
        _write(1, {"ready": 1, "by": type(xen).__name__.lower()})
        reason = serve(agent, heir=heir)
    except Stopped as stopped:
        reason = str(stopped)
    except OSError as error:
        reason = f"the controller does not listen ({error})"
    finally:
        for number in (signal.SIGHUP, signal.SIGTERM, signal.SIGINT):
            signal.signal(number, signal.SIG_IGN)
        if agent.lease_ends_s is None:
            log(f"{reason}; nothing to undo")
        else:
            set_all(agent.make_safe, agent.safe_kib, lambda text: log(f"{reason}; safe targets: {text}"))
        if heir is not None:
            heir.note(None, {})
        agent.brake.take_off()
        try:
            agent.tracer.close()
        except OSError as error:
            log(f"the trace stays behind: {error}")
    sys.exit(UNLED if reason == LEASE_OUT else 0)


if __name__ == "__main__":
    main()
