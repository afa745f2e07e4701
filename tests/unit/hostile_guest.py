"""A guest's SSH server that keeps to nothing: `python hostile_guest.py HOST_KEY HOW` prints its port and serves.

It lets everyone in. In a process of its own, so that the memory of the one who asks can be measured.
"""

from __future__ import annotations

import socket
import struct
import sys
import threading
import time
from collections.abc import Callable
from contextlib import suppress

import paramiko
from paramiko.common import MSG_CHANNEL_DATA, MSG_CHANNEL_EXTENDED_DATA, MSG_DISCONNECT, MSG_EXT_INFO

PERIOD_S = 0.1
CHUNK = b"x" * 32000
GONE = (OSError, EOFError, paramiko.SSHException)


class Everyone(paramiko.ServerInterface):
    """Lets everyone in, and does to a channel what it is there to do."""

    def __init__(self, transport: paramiko.Transport, how: str) -> None:
        self._transport = transport
        self._serve, self._greeting = HOWS.get(how, samples), GREETINGS.get(how)

    def get_allowed_auths(self, username: str) -> str:
        return "publickey"

    def check_auth_publickey(self, username: str, key: paramiko.PKey) -> int:
        return paramiko.AUTH_SUCCESSFUL

    def check_channel_request(self, kind: str, chanid: int) -> int:
        if self._greeting is not None:
            self._transport._send_message(self._greeting)  # type: ignore[attr-defined]
        return paramiko.OPEN_SUCCEEDED

    def check_channel_exec_request(self, channel: paramiko.Channel, command: bytes) -> bool:
        threading.Thread(target=self._begin, args=[channel], daemon=True).start()
        return True

    def _begin(self, channel: paramiko.Channel) -> None:
        with suppress(*GONE):
            time.sleep(0.05)  # the answer to the request goes first
            self._serve(channel)


def message(kind: int, *parts: int | bytes | bool) -> paramiko.Message:
    made = paramiko.Message()
    made.add_byte(bytes([kind]))
    for part in parts:
        if isinstance(part, bool):
            made.add_boolean(part)
        elif isinstance(part, int):
            made.add_int(part)
        else:
            made.add_string(part)
    return made


def samples(channel: paramiko.Channel, most: int = 10**9) -> None:
    for seq in range(most):
        channel.sendall(b"B1 seq=%d mono_ms=%d MemTotal=1000\n" % (seq, 1000 + seq * 100))
        time.sleep(PERIOD_S)


def send(channel: paramiko.Channel, *made: paramiko.Message, times: int = 1) -> None:
    transport = channel.get_transport()
    for _ in range(times):
        for each in made:
            transport._send_message(each)  # type: ignore[attr-defined]


def after_a_sample(made: Callable[[paramiko.Channel], paramiko.Message], times: int = 1) -> Callable[..., None]:
    def serve(channel: paramiko.Channel) -> None:
        samples(channel, 1)
        send(channel, made(channel), times=times)
        time.sleep(60)

    return serve


def rekeys_without_end(channel: paramiko.Channel) -> None:
    samples(channel, 1)
    transport = channel.get_transport()
    transport.packetizer.read_message = lambda: time.sleep(60)  # type: ignore[attr-defined, method-assign]
    transport._send_kex_init()  # type: ignore[attr-defined]
    time.sleep(60)


HOWS: dict[str, Callable[[paramiko.Channel], None]] = {
    "honest": samples,
    "stdout": after_a_sample(lambda to: message(MSG_CHANNEL_DATA, to.remote_chanid, CHUNK), 10**9),
    "stderr": after_a_sample(lambda to: message(MSG_CHANNEL_EXTENDED_DATA, to.remote_chanid, 1, CHUNK), 10**9),
    "extensions": after_a_sample(lambda _: message(MSG_EXT_INFO, 2**32 - 1)),
    "rekeying": rekeys_without_end,
}
"""What it does to a channel on which a command was started."""

GREETINGS = {
    "unknown": message(200),
    "no-utf-8": message(MSG_DISCONNECT, 11, b"\xff\xfe\x80", b""),
    "no-request": message(98, 0, b"\xff", True),
}
"""What it says where a channel is asked for."""

RAW = {
    "banner": (b"", b"y" * 65536),
    "lines": (b"", b"y\n" * 32768),
    "packet": (b"SSH-2.0-x\r\n" + struct.pack(">IB", 2**32 - 4, 4), CHUNK),
    "noise": (b"SSH-2.0-x\r\n" + bytes(range(256)) * 16, b""),
}
"""What it sends before there is any SSH: once, and then without end."""


def serve(listener: socket.socket, host_key: paramiko.PKey, how: str) -> None:
    kept = []
    while True:
        tcp = listener.accept()[0]
        if how in RAW:
            threading.Thread(target=_raw, args=[tcp, how], daemon=True).start()
            continue
        transport = paramiko.Transport(tcp)
        kept.append(transport)
        transport.add_server_key(host_key)
        with suppress(*GONE):
            transport.start_server(server=Everyone(transport, how))


def _raw(tcp: socket.socket, how: str) -> None:
    once, without_end = RAW[how]
    with suppress(OSError), tcp:
        tcp.sendall(once)
        while without_end:
            tcp.sendall(without_end)
        time.sleep(1)


def main(host_key: str, how: str) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        print(listener.getsockname()[1], flush=True)  # noqa: T201  # it is what the test waits for
        serve(listener, paramiko.ECDSAKey.from_private_key_file(host_key), how)


if __name__ == "__main__":
    main(*sys.argv[1:])
