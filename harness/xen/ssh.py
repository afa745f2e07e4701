"""Opens SSH connections: to known hosts only, with the given key only."""

from __future__ import annotations

import logging
import socket
import threading

import paramiko
from cryptography.exceptions import UnsupportedAlgorithm
from paramiko.pkey import UnknownKeyType

from harness.progress.plain import one_line
from harness.xen.machine import Machine
from harness.xen.wire import Wire

PATIENCE_S = 60.0
"""For every step of a connection: a guest under memory pressure was seen to take 43 s."""
KEEPALIVE_S = 15

logging.getLogger("paramiko").addHandler(logging.NullHandler())  # what goes wrong is raised, not printed


class ConnectionFailed(ConnectionError):  # noqa: N818  # beside ConnectionRefusedError it reads as what it is
    """There is no connection; the message names the machine, the cause and the remedy."""


def connect(machine: Machine, timeout_s: float = 20.0, *, wire: type[Wire] = Wire) -> paramiko.SSHClient:
    """Open a connection that keeps itself alive; `wire` says what may come over it, and is made for guests.

    `timeout_s` is for TCP alone; what follows may take `PATIENCE_S` a step.

    Raises:
        ConnectionFailed: there is none.

    """
    key = _key(machine)
    client = paramiko.SSHClient()
    client.set_missing_host_key_policy(paramiko.RejectPolicy())
    tcp: socket.socket | None = None
    try:
        client.load_system_host_keys(str(machine.known_hosts))
        tcp = socket.create_connection((machine.address, machine.port), timeout_s)
        client.connect(
            machine.address,
            port=machine.port,
            username=machine.user,
            pkey=key,
            allow_agent=False,
            look_for_keys=False,
            sock=tcp,
            timeout=PATIENCE_S,
            banner_timeout=PATIENCE_S,
            auth_timeout=PATIENCE_S,
            channel_timeout=PATIENCE_S,
            transport_factory=wire,
        )
        transport(client).set_keepalive(KEEPALIVE_S)
    except Exception as error:  # whatever a machine has provoked in paramiko, there is no connection
        client.close()
        if tcp is not None:
            tcp.close()
        raise ConnectionFailed(f"{machine}: {_cause_and_remedy(machine, error)}") from error
    return client


def _key(machine: Machine) -> paramiko.PKey:
    try:
        return paramiko.PKey.from_path(machine.key_file)
    except OSError as error:
        raise ConnectionFailed(f"{machine}: {_cause_and_remedy(machine, error)}") from error
    except (ValueError, TypeError, UnknownKeyType, UnsupportedAlgorithm) as error:  # TypeError: it is encrypted
        raise ConnectionFailed(
            f"{machine}: {machine.key_file} is no key that can be used: {error} "
            "Give an OpenSSH private key without a passphrase."
        ) from error


def transport(client: paramiko.SSHClient) -> paramiko.Transport:
    """The connection under a client.

    Raises:
        EOFError: it is closed; the message says why, where that is known.

    """
    found = client.get_transport()
    if found is None or not found.is_active():
        why = found.get_exception() if found else None
        raise EOFError(f"the connection is closed: {why}" if why else "the connection is closed")
    return found


def execute(channel: paramiko.Channel, command: str, timeout_s: float = PATIENCE_S) -> None:
    """Start a command on a fresh channel; paramiko alone would wait for the answer without end.

    Raises:
        paramiko.SSHException: refused, or not answered in time.

    """
    watchdog = threading.Timer(timeout_s, channel.close)
    watchdog.daemon = True
    watchdog.start()
    try:
        channel.exec_command(command)
    finally:
        watchdog.cancel()


def _cause_and_remedy(machine: Machine, error: Exception) -> str:
    match error:
        case paramiko.BadHostKeyException():
            return (
                f"it shows another host key than the one in {machine.known_hosts}. If the machine was built anew, "
                "put its new key there; if not, someone else may be answering."
            )
        case paramiko.AuthenticationException():
            return (
                f"it does not let {machine.user} in with {machine.key_file}. "
                f"Add the public key to {machine.user}'s authorized_keys there."
            )
        case OSError() if error.filename is not None:
            return f"{error.filename}: {error.strerror}. Give a file that can be read."
        case ConnectionRefusedError():
            return "nothing listens there. Start the machine and its SSH server, or correct address and port."
        case OSError():
            return f"it cannot be reached ({error}). Check that it runs, its address and the network."
        case paramiko.SSHException() if "known_hosts" in str(error):
            return (
                f"its host key is not in {machine.known_hosts}. Read the key on the machine itself "
                "(/etc/ssh/ssh_host_*_key.pub) and put it there."
            )
        case _:
            return (
                f"SSH did not come about ({type(error).__name__}: {one_line(str(error))}). Try ssh by hand to see why."
            )
