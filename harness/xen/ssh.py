"""Opens SSH connections: to known hosts only, with the keys of the login only."""

from __future__ import annotations

import logging
import socket
import threading

import paramiko

from harness.progress.plain import one_line
from harness.xen.host_keys import UnknownHostError, host_keys
from harness.xen.machine import Machine
from harness.xen.proxy import Proxy
from harness.xen.user_keys import KeyFileError, UserKeys
from harness.xen.wire import Wire

PATIENCE_S = 60.0
"""For every step of a connection: a guest under memory pressure was seen to take 43 s."""
KEEPALIVE_S = 15

logging.getLogger("paramiko").addHandler(logging.NullHandler())  # what goes wrong is raised, not printed


class ConnectionFailed(ConnectionError):  # noqa: N818  # beside ConnectionRefusedError it reads as what it is
    """There is no connection; the message names the machine, the cause and the remedy."""


class Client(paramiko.SSHClient):
    """One that ends the program through which it goes with itself."""

    proxy: Proxy | None = None

    def close(self) -> None:
        """End the connection."""
        super().close()
        if self.proxy is not None:
            self.proxy.close()


def connect(machine: Machine, timeout_s: float = 20.0, *, wire: type[Wire] = Wire) -> paramiko.SSHClient:
    """Open a connection that keeps itself alive; `wire` says what may come over it, and is made for guests.

    `timeout_s` is for TCP alone; what follows may take `PATIENCE_S` a step.

    Raises:
        ConnectionFailed: there is none.

    """
    client = Client()
    tcp: socket.socket | None = None
    proxy: Proxy | None = None
    keys: UserKeys | None = None
    try:
        keys = UserKeys(machine)
        believed = host_keys(
            [machine.known_hosts, *machine.also_known], machine.host_key_alias or machine.address, machine.port
        )
        client.set_missing_host_key_policy(believed)

        def over(tcp: socket.socket, **terms: object) -> Wire:
            made = wire(tcp, **terms)
            offers = made.get_security_options()
            offers.key_types = believed.preferred(offers.key_types)
            return made

        if machine.proxy:
            proxy = client.proxy = Proxy(machine.proxy)
            tcp = proxy.socket
        else:
            tcp = socket.create_connection((machine.address, machine.port), timeout_s)
        client.connect(
            machine.address,
            port=machine.port,
            username=machine.user,
            auth_strategy=keys,  # type: ignore[arg-type]  # all that is asked of it is `authenticate`
            sock=tcp,
            timeout=PATIENCE_S,
            banner_timeout=PATIENCE_S,
            auth_timeout=PATIENCE_S,
            channel_timeout=PATIENCE_S,
            transport_factory=over,  # type: ignore[arg-type]  # it is called with a socket and terms for Kerberos
        )
        transport(client).set_keepalive(KEEPALIVE_S)
    except Exception as error:  # whatever a machine has provoked in paramiko, there is no connection
        client.close()
        if tcp is not None:
            tcp.close()
        raise ConnectionFailed(f"{machine}: {_cause_and_remedy(machine, error, keys)}{_by_the_way(proxy)}") from error
    finally:
        if keys is not None:
            keys.close()
    return client


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


def _by_the_way(proxy: Proxy | None) -> str:
    return f" What it is reached through says: {one_line(proxy.complaints)}" if proxy and proxy.complaints else ""


def _cause_and_remedy(machine: Machine, error: Exception, keys: UserKeys | None) -> str:
    match error:
        case UnknownHostError() | KeyFileError():
            return str(error)
        case paramiko.AuthenticationException():
            return f"it does not let {machine.user} in with {keys}. Add the public key to its authorized_keys there."
        case OSError() if error.filename is not None:
            return f"{error.filename}: {error.strerror}. Give a file that can be read."
        case ConnectionRefusedError():
            return "nothing listens there. Start the machine and its SSH server, or correct address and port."
        case OSError():
            return f"it cannot be reached ({error}). Check that it runs, its address and the network."
        case _:
            return (
                f"SSH did not come about ({type(error).__name__}: {one_line(str(error))}). Try ssh by hand to see why."
            )
