"""A guest that is this machine: a real SSH connection, over a pair of sockets, whose commands run here."""

from __future__ import annotations

import socket
import subprocess
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress

import paramiko

from harness.xen.wire import Wire

CHUNK = 4096
GONE = (OSError, EOFError, paramiko.SSHException)


class _Guest(paramiko.ServerInterface):
    """Lets everyone in, and does what is asked."""

    def __init__(self) -> None:
        self.threads: list[threading.Thread] = []
        self.running: list[subprocess.Popen[bytes]] = []

    def get_allowed_auths(self, username: str) -> str:
        return "none"

    def check_auth_none(self, username: str) -> int:
        return paramiko.AUTH_SUCCESSFUL

    def check_channel_request(self, kind: str, chanid: int) -> int:
        return paramiko.OPEN_SUCCEEDED

    def check_channel_exec_request(self, channel: paramiko.Channel, command: bytes) -> bool:
        self._begin(self._run, channel, command.decode())
        return True

    def _begin(self, target: object, *arguments: object) -> threading.Thread:
        thread = threading.Thread(target=target, args=arguments, daemon=True)  # type: ignore[arg-type]
        self.threads.append(thread)
        thread.start()
        return thread

    def _run(self, channel: paramiko.Channel, command: str) -> None:
        pipe = subprocess.PIPE
        with subprocess.Popen(["setsid", "sh", "-c", command], stdin=pipe, stdout=pipe, stderr=pipe) as process:
            self.running.append(process)
            self._begin(self._feed, channel, process)
            errors = self._begin(self._pass_on, process.stderr, channel.sendall_stderr)
            self._pass_on(process.stdout, channel.sendall)
            errors.join()
            status = process.wait()
        with suppress(*GONE):
            if status >= 0:  # of a signal, sshd tells no status
                channel.send_exit_status(status)
            channel.close()

    @staticmethod
    def _feed(channel: paramiko.Channel, process: subprocess.Popen[bytes]) -> None:
        with suppress(*GONE, ValueError):  # closed meanwhile
            while data := channel.recv(CHUNK):
                process.stdin.write(data)  # type: ignore[union-attr]
                process.stdin.flush()  # type: ignore[union-attr]
        with suppress(OSError):
            process.stdin.close()  # type: ignore[union-attr]

    @staticmethod
    def _pass_on(stream: object, send: object) -> None:
        with suppress(*GONE):
            while data := stream.read1(CHUNK):  # type: ignore[attr-defined]
                send(data)  # type: ignore[operator]


@contextmanager
def guest() -> Iterator[paramiko.SSHClient]:
    """A connection to it. What still runs there when it ends is killed."""
    ours, theirs = socket.socketpair()
    server, client = paramiko.Transport(theirs), Wire(ours)
    server.add_server_key(paramiko.ECDSAKey.generate())
    machine = _Guest()
    ready = threading.Event()
    server.start_server(event=ready, server=machine)
    client.start_client(timeout=10)
    assert ready.wait(10)
    client.auth_none("root")
    connection = paramiko.SSHClient()
    connection._transport = client  # type: ignore[attr-defined]
    try:
        yield connection
    finally:
        for process in machine.running:
            with suppress(ProcessLookupError):
                process.kill()
        client.close()
        server.close()
        for thread in machine.threads:
            thread.join(10)
