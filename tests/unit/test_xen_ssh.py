"""Connections are made to known hosts with the given key only; each refusal names machine, cause and remedy."""

from __future__ import annotations

import socket
import threading
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import paramiko
import pytest

from harness.xen.machine import Machine
from harness.xen.ssh import ConnectionFailed, connect


class Server(paramiko.ServerInterface):
    """Lets in one key."""

    def __init__(self, key: paramiko.PKey) -> None:
        self.key = key

    def get_allowed_auths(self, username: str) -> str:
        return "publickey"

    def check_auth_publickey(self, username: str, key: paramiko.PKey) -> int:
        return paramiko.AUTH_SUCCESSFUL if key == self.key else paramiko.AUTH_FAILED


@pytest.fixture(scope="module")
def keys(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, paramiko.PKey, paramiko.PKey]:
    path = tmp_path_factory.mktemp("keys") / "id"
    user = paramiko.ECDSAKey.generate()
    user.write_private_key_file(str(path))
    return path, user, paramiko.ECDSAKey.generate()


@pytest.fixture
def machine(tmp_path: Path, keys: tuple[Path, paramiko.PKey, paramiko.PKey]) -> Iterator[Machine]:
    key_file, user_key, host_key = keys
    transports: list[paramiko.Transport] = []
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]

        def serve() -> None:
            with suppress(OSError):
                while True:
                    transport = paramiko.Transport(listener.accept()[0])
                    transports.append(transport)
                    transport.add_server_key(host_key)
                    with suppress(paramiko.SSHException, EOFError):
                        transport.start_server(server=Server(user_key))

        thread = threading.Thread(target=serve)
        thread.start()
        known_hosts = tmp_path / "known_hosts"
        known_hosts.write_text(f"[127.0.0.1]:{port} {host_key.get_name()} {host_key.get_base64()}\n")
        yield Machine(name="g1", address="127.0.0.1", port=port, key_file=key_file, known_hosts=known_hosts)
        listener.shutdown(socket.SHUT_RDWR)
        thread.join()
    for transport in transports:
        transport.close()


def changed(machine: Machine, **values: object) -> Machine:
    return Machine(**({name: getattr(machine, name) for name in Machine.__slots__} | values))  # type: ignore[arg-type]


def refusal(machine: Machine) -> str:
    with pytest.raises(ConnectionFailed) as caught:
        connect(machine, timeout_s=5)
    assert str(caught.value).startswith(str(machine))
    return str(caught.value)


def test_a_known_host_that_knows_our_key_lets_us_in(machine: Machine) -> None:
    connect(machine).close()


def test_a_host_that_shows_another_key_than_it_had_is_refused(machine: Machine) -> None:
    other = paramiko.ECDSAKey.generate()
    machine.known_hosts.write_text(f"[127.0.0.1]:{machine.port} {other.get_name()} {other.get_base64()}\n")
    assert "another host key" in refusal(machine)


def test_a_host_that_is_not_known_is_refused(machine: Machine) -> None:
    machine.known_hosts.write_text("")
    assert "is not in" in refusal(machine)


def test_a_key_that_the_host_does_not_know_is_told_and_no_other_is_tried(machine: Machine, tmp_path: Path) -> None:
    path = tmp_path / "other"
    paramiko.ECDSAKey.generate().write_private_key_file(str(path))
    assert "authorized_keys" in refusal(changed(machine, key_file=path))


@pytest.mark.parametrize("what", ["key_file", "known_hosts"])
def test_a_file_that_is_not_there_is_named(machine: Machine, what: str) -> None:
    assert "/none/such" in refusal(changed(machine, **{what: Path("/none/such")}))


def test_a_port_where_nothing_listens_is_told(machine: Machine) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
    assert "nothing listens" in refusal(changed(machine, port=port))


@pytest.mark.parametrize("text", ["junk", "ssh-ed25519 AAAA a-public-key"])
def test_a_file_that_is_no_private_key_is_told(machine: Machine, tmp_path: Path, text: str) -> None:
    path = tmp_path / "junk"
    path.write_text(text)
    assert "private key without a passphrase" in refusal(changed(machine, key_file=path))


def test_an_encrypted_key_is_told(machine: Machine, tmp_path: Path) -> None:
    path = tmp_path / "locked"
    paramiko.ECDSAKey.generate().write_private_key_file(str(path), password="secret")
    assert "private key without a passphrase" in refusal(changed(machine, key_file=path))
