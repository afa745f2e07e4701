"""GuestClient: the arbiter's ear in one guest, in a thread of its own."""

from __future__ import annotations

import math
import shlex
import threading
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Self

import paramiko

from harness.progress.plain import one_line
from harness.xen.events import Events, Reporter, no_events
from harness.xen.facts import UNKNOWN, Sample, SampleError, parse_sample, traffic
from harness.xen.intake import Intake
from harness.xen.machine import Machine
from harness.xen.process import RemoteProcess
from harness.xen.ssh import PATIENCE_S, ConnectionFailed, connect, execute, transport

SAMPLER = Path(__file__).with_name("sampler.pl")
FIRST_WAIT_S, LONGEST_WAIT_S = 1.0, 30.0
"""Between two attempts; each wait is twice the one before, until a connection has lasted as long as the longest."""
QUIET_PERIODS = 3.0
"""Without a sample for longer than this a guest is called silent, as the governor does."""
MOST_COMPLAINTS = 1024
"""Bytes of the sampler's standard error that are kept."""
DEAF_S = 120.0
"""After so long a silence the connection is given up. A thrashing guest was silent for 45 s and then came back."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Received:
    """A sample and when it arrived."""

    sample: Sample
    arrived_s: float
    """On the controller's monotonic clock; the guest's is not believed."""


class GuestClient:
    """Keeps one connection to one guest, and on it the sampler; connects again whenever that ends.

    Whatever a guest or its SSH server does ends that connection at most: it is told, and tried again.
    With `aging_s` the sampler also tells the ages of the guest's pages, at that resolution.
    Events: `connected`, `disconnected`, `sampler_ended`, `silent`, `heard`, `rebooted`, `oom_kill`, `bad_line`,
    `no_page_ages`.
    """

    def __init__(
        self,
        machine: Machine,
        *,
        period_s: float = 1.0,
        aging_s: float = 0.0,
        events: Events = no_events,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.machine, self.period_s, self.aging_s = machine, period_s, aging_s
        self.bad_lines = 0
        """Lines that were no samples."""
        self._events, self._clock = Reporter.around(events), clock
        self._intake = Intake()
        self._received: tuple[Received, ...] = ()
        self._connection: paramiko.SSHClient | None = None
        self._sampler: paramiko.Channel | None = None
        self._complaints = b""
        self._news = threading.Condition()
        self._closing = threading.Event()
        self._silent = False
        self._thread = threading.Thread(target=self._live, name=f"guest-{machine.name}", daemon=True)

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()

    def start(self) -> None:
        """Begin; connecting happens in the background."""
        self._thread.start()

    def close(self) -> None:
        """End the connection, with it the sampler, and the thread."""
        self._closing.set()
        connection = self._connection
        if connection is not None:
            connection.close()
        if self._thread.ident is not None:
            self._thread.join(5)

    @property
    def name(self) -> str:
        """The guest's name in the experiment."""
        return self.machine.name

    @property
    def dropped_lines(self) -> int:
        """Lines that were not read: older ones of a burst, and some without an end."""
        return self._intake.dropped_lines

    @property
    def newest(self) -> Received | None:
        """The newest sample; None when there has been none."""
        return self._received[-1] if self._received else None

    @property
    def previous(self) -> Received | None:
        """A sample before the newest, of the same boot; None when there is none.

        It is the one before, or where the newest came out of turn, the one before that: rates need time to pass.
        """
        return self._received[-2] if len(self._received) == 2 else None

    def age_s(self, now_s: float) -> float:
        """How long ago the newest sample arrived; NaN when there has been none."""
        newest = self.newest
        return UNKNOWN if newest is None else max(0.0, now_s - newest.arrived_s)

    def heard_after(self, moment_s: float) -> bool:
        """Whether there is a sample that arrived after a moment of the client's clock."""
        return self.newest is not None and self.newest.arrived_s > moment_s

    def wait_for_sample(self, timeout_s: float, *, after_s: float = -math.inf) -> bool:
        """Wait until there is a sample that arrived after a moment of the controller's clock; whether there is."""
        with self._news:
            return self._news.wait_for(lambda: self.newest is not None and self.newest.arrived_s > after_s, timeout_s)

    def run(self, argv: Sequence[str]) -> RemoteProcess:
        """Start a command in the guest, next to the sampler. Its moments are on this client's clock.

        Raises:
            ConnectionFailed: there is no connection now, or it broke.

        """
        try:
            return RemoteProcess(
                argv, self._open_channel, name=self.name, clock=self._clock, privileged=self.machine.privileged
            )
        except Exception as error:  # whatever a guest has provoked, it is this guest's work that does not start
            why = _cause(error)
            raise ConnectionFailed(f"{self.machine}: {argv[0]} could not be started ({why}). Try again.") from error

    def phase(self) -> None:
        """Let the guest take a sample now, and from then on at whole periods after.

        A sampler that is not there yet, or not any more, is not told: it begins when it begins.
        """
        sampler = self._sampler
        if sampler is not None:  # not from here: a guest that takes nothing would hold up all others
            threading.Thread(target=_say_now, args=[sampler], name=f"phase-{self.name}", daemon=True).start()

    def _open_channel(self) -> paramiko.Channel:
        return self._transport().open_session(timeout=PATIENCE_S)

    def _transport(self) -> paramiko.Transport:
        """The connection, if there is one. Raises EOFError if not."""
        connection = self._connection
        if connection is None:
            raise EOFError("not connected now; the client is trying")
        return transport(connection)

    def _live(self) -> None:
        wait_s = FIRST_WAIT_S
        while not self._closing.is_set():
            began_s, wire = time.monotonic(), None
            try:
                self._connection = connect(self.machine)
                self._tell("connected")
                with self._connection:
                    wire = transport(self._connection)
                    self._listen()
            except Exception as error:  # noqa: BLE001  # whatever a guest has provoked, this thread is its only ear
                if not self._closing.is_set():  # what ended the wire says more than what came of that here
                    self._tell("disconnected", _cause((wire and wire.get_exception()) or error))
            finally:
                self._connection = None
            if time.monotonic() - began_s > LONGEST_WAIT_S:
                wait_s = FIRST_WAIT_S
            self._closing.wait(wait_s)
            wait_s = min(2 * wait_s, LONGEST_WAIT_S)

    def _listen(self) -> None:
        """Run the sampler on the connection, again and again: what else runs on it must not suffer from its end."""
        wait_s = FIRST_WAIT_S
        while not self._closing.wait(0):
            heard = self.newest
            with self._open_channel() as channel:
                channel.settimeout(PATIENCE_S)
                argv = self.machine.privileged(["perl", "-", f"{self.period_s:g}", f"{self.aging_s:g}"])
                execute(channel, f"exec {shlex.join(argv)}")
                channel.sendall(SAMPLER.read_bytes() + b"__END__\n")
                try:
                    self._hear(channel)
                finally:
                    self._sampler = None
                if self._closing.is_set():
                    return
                self._note_complaints(channel)
            self._transport()
            self._tell("sampler_ended", self._complaint() or "it may have been killed; it is started again")
            wait_s = FIRST_WAIT_S if self.newest is not heard else min(2 * wait_s, LONGEST_WAIT_S)
            self._closing.wait(wait_s)

    def _hear(self, channel: paramiko.Channel) -> None:
        """Take in lines until there come no more. Raises EOFError when the guest has been silent for too long."""
        channel.settimeout(min(1.0, self.period_s))
        began_s = self._clock()
        while not self._closing.wait(self._intake.pause_s(self._clock())):
            self._note_complaints(channel)
            try:
                chunk = channel.recv(4096)
            except TimeoutError:
                newest = self.newest
                silence_s = self._clock() - max(began_s, newest.arrived_s if newest else began_s)
                if silence_s > QUIET_PERIODS * self.period_s and not self._silent:
                    self._silent = True
                    self._tell("silent", f"no sample for {silence_s:.1f} s")
                if silence_s > DEAF_S:
                    raise EOFError(f"no sample for {silence_s:.0f} s; connecting anew") from None
                continue
            if not chunk:
                return
            self._sampler = channel  # not before it has spoken: until then perl may take what we say for source text
            for line in self._intake.take(chunk):
                self._receive(line)

    def _note_complaints(self, channel: paramiko.Channel) -> None:
        """Keep the end of its standard error; what is not read there would in time take up all of the window."""
        if channel.recv_stderr_ready():
            self._complaints = (self._complaints + channel.recv_stderr(4096))[-MOST_COMPLAINTS:]

    def _complaint(self) -> str:
        """What it has said there; once."""
        said, self._complaints = self._complaints, b""
        return one_line(said.decode(errors="replace"))

    def _receive(self, line: bytes) -> None:
        try:
            sample = parse_sample(line)
        except SampleError as error:
            self.bad_lines += 1
            if self.bad_lines & (self.bad_lines - 1) == 0:  # 1, 2, 4, 8 …: a guest does not fill the event log
                self._tell("bad_line", f"{error} ({self.bad_lines} so far)")
            return
        now_s = self._clock()
        before = self.newest
        if self._silent:
            self._silent = False
            self._tell("heard", "for the first time" if before is None else f"after {self.age_s(now_s):.1f} s")
        if before is not None and sample.mono_s < before.sample.mono_s:
            self._tell("rebooted", f"its clock went from {before.sample.mono_s:.0f} s to {sample.mono_s:.0f} s")
            before = None
        if self.aging_s and sample.page_ages is None and (before is None or before.sample.page_ages is not None):
            why = "it needs a kernel with lru_gen, and debugfs on /sys/kernel/debug"
            self._tell("no_page_ages", why if before is None else "what looked at them in the guest was killed")
        if before is not None and (kills := traffic(before.sample, sample).oom_kills) > 0:
            self._tell("oom_kill", f"{kills:.0f} since {before.sample.mono_s:.0f} s after boot")
        received = Received(sample=sample, arrived_s=now_s)
        earlier = self.previous
        if before is not None and earlier is not None and sample.mono_s - before.sample.mono_s < self.period_s / 2:
            before = earlier
        with self._news:
            self._received = (received,) if before is None else (before, received)
            self._news.notify_all()

    def _tell(self, event: str, detail: str = "") -> None:
        self._events(event, self.name, detail)


def _say_now(sampler: paramiko.Channel) -> None:
    with suppress(paramiko.SSHException, OSError, EOFError):  # the listening thread sees it too, and tells
        sampler.sendall(b"now\n")


def _cause(error: Exception) -> str:
    """In words where it is foreseen; else with its kind, since only that tells what it is."""
    if isinstance(error, ConnectionFailed | paramiko.SSHException | OSError | EOFError):
        return str(error) or type(error).__name__
    return f"{type(error).__name__}: {error}"
