"""The wire to a machine: an SSH connection that puts an end to whatever comes from the other side.

paramiko (5.1) grants a window but does not see to it that it is kept, reads a banner and a packet of any length, counts
to any number that a message names, waits without end for a machine that takes nothing, and hands on whatever exception
a message has provoked in it. Here each of these has an end, before the machine has shown its key as well as after.
"""

from __future__ import annotations

import socket
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, ClassVar

import paramiko
from paramiko.common import MSG_CHANNEL_DATA, MSG_CHANNEL_EXTENDED_DATA, MSG_KEXINIT
from paramiko.packet import Packetizer

from harness.xen.allowance import Allowance

LONGEST_PACKET = 1 << 18
"""Bytes; OpenSSH takes no longer one either (PACKET_MAX_SIZE), and RFC 4253 §6.1 asks for 35,000."""
LONGEST_BANNER = 1 << 14
"""Bytes before the handshake; a line has at most 255 of them (RFC 4253 §4.2)."""
MOST_EXTENSIONS = 64
"""In one message; RFC 8308 knows four."""
MESSAGE_BYTES, HANDSHAKE_BYTES = 256, 1 << 18
"""What a message, and a new handshake, count beside their own bytes: about what they take to handle."""
NAP_S = 0.1
"""How long the end of a connection may go unnoticed while it waits."""
SLOW_HANDSHAKES = ("diffie-hellman-group16-sha512", "diffie-hellman-group-exchange-sha256")
"""Their arithmetic stops all of Python, for seconds where the machine chooses the number; OpenSSH has had others since
5.7."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Measure:
    """What one machine may do."""

    window_bytes: int
    """That wait in one channel, of both output streams together."""
    at_once_bytes: float
    per_s_bytes: float
    """That are read, with what every message counts beside; what comes faster waits in the machine, by TCP."""
    stuck_s: float
    """For the machine to take one message."""


GUEST = Measure(window_bytes=1 << 16, at_once_bytes=1 << 20, per_s_bytes=1 << 19, stuck_s=10.0)
"""A guest sends a line a second, its workload a page at most; what it is sent fits into any socket's buffer."""
DOM0 = Measure(window_bytes=1 << 21, at_once_bytes=1 << 30, per_s_bytes=1 << 30, stuck_s=60.0)
"""dom0 is trusted, and answers with megabytes where disks are traced."""


class OverrunError(paramiko.SSHException):
    """A machine sends more than it may; the message says of what."""


class Packets(Packetizer):
    """Reads packets of a bounded length at a bounded rate, and gives up on a machine that takes none."""

    measure: ClassVar[Measure]

    def __init__(self, tcp: socket.socket) -> None:
        super().__init__(tcp)
        self._tcp = tcp
        self._banner_bytes = 0
        self._allowance = Allowance(at_once=self.measure.at_once_bytes, per_s=self.measure.per_s_bytes)

    def read_all(self, n: int, check_rekey: bool = False) -> bytes:
        """Read n bytes, if that is a length for a packet."""
        if n > LONGEST_PACKET:
            raise OverrunError(f"a packet of {n} bytes; at most {LONGEST_PACKET} are read")
        return super().read_all(n, check_rekey)

    def read_message(self) -> tuple[int, paramiko.Message]:
        """Read one message, once the machine may send one."""
        while (wait_s := self._allowance.debt_s(time.monotonic())) > 0:
            if self.closed:
                raise EOFError
            time.sleep(min(NAP_S, wait_s))
        kind, message = super().read_message()
        self._allowance.spend(len(message.asbytes()) + (HANDSHAKE_BYTES if kind == MSG_KEXINIT else MESSAGE_BYTES))
        return kind, message

    def write_all(self, out: Any) -> None:  # noqa: ANN401  # of bytes, in whatever form
        """Write, with an end to the waiting."""
        until_s, left = time.monotonic() + self.measure.stuck_s, bytes(out)
        while left:
            try:
                left = left[self._tcp.send(left) :]
            except TimeoutError:
                if self.closed or time.monotonic() > until_s:
                    self.close()
                    raise EOFError(f"it has taken nothing for {self.measure.stuck_s:g} s") from None
            except OSError as error:
                raise EOFError(str(error)) from None

    def _read_timeout(self, timeout: float) -> bytes:
        """Read a piece of the banner."""
        piece = super()._read_timeout(timeout)  # type: ignore[misc]
        self._banner_bytes += len(piece)
        if self._banner_bytes > LONGEST_BANNER:
            raise OverrunError(f"a banner of more than {LONGEST_BANNER} bytes")
        return bytes(piece)


class _GuestPackets(Packets):
    measure = GUEST


class _Dom0Packets(Packets):
    measure = DOM0


def _kept_within(feed: Callable[[paramiko.Channel, Any], None]) -> Callable[[paramiko.Channel, Any], None]:
    """Take in what a machine sends on a channel, and hold it to the window that it was given."""

    def feed_within(channel: Any, message: Any) -> None:  # noqa: ANN401  # paramiko's own parts
        feed(channel, message)
        held = len(channel.in_buffer) + len(channel.in_stderr_buffer)
        if held > channel.in_window_size:
            raise OverrunError(f"{held} bytes wait in a channel: more than it was allowed to send")

    return feed_within


class Wire(paramiko.Transport):
    """A connection to a guest."""

    packets: ClassVar[type[Packets]] = _GuestPackets
    _channel_handler_table: ClassVar[dict[int, Any]] = {
        **paramiko.Transport._channel_handler_table,  # type: ignore[attr-defined]
        MSG_CHANNEL_DATA: _kept_within(paramiko.Channel._feed),  # type: ignore[attr-defined]
        MSG_CHANNEL_EXTENDED_DATA: _kept_within(paramiko.Channel._feed_extended),  # type: ignore[attr-defined]
    }

    def __init__(self, tcp: Any, /, **_terms: object) -> None:  # noqa: ANN401  # whatever SSHClient has for a socket
        """Take a connected socket; what else SSHClient hands on is for Kerberos."""
        super().__init__(
            tcp,
            default_window_size=self.packets.measure.window_bytes,
            packetizer_class=self.packets,
            disabled_algorithms={"kex": SLOW_HANDSHAKES},
        )
        self.clear_to_send_timeout = self.packets.measure.stuck_s

    def get_exception(self) -> Exception | None:
        """Return what ended the connection, as an error of SSH or of the network, whatever paramiko stumbled over."""
        error = super().get_exception()
        if error is None or isinstance(error, paramiko.SSHException | OSError | EOFError):
            return error
        wrapped = paramiko.SSHException(f"it does not speak SSH as it should ({type(error).__name__}: {error})")
        wrapped.__cause__ = error
        return wrapped

    def _parse_ext_info(self, message: paramiko.Message) -> None:
        """Read what the server can do beyond the standard, if it is as many things as there can be."""
        if (count := message.get_int()) > MOST_EXTENSIONS:
            raise OverrunError(f"{count} extensions in one message")
        message.rewind()
        super()._parse_ext_info(message)  # type: ignore[misc]


class Dom0Wire(Wire):
    """A connection to dom0."""

    packets = _Dom0Packets
