"""Connections are made to known hosts with the login's keys only; each refusal names machine, cause and remedy."""

from __future__ import annotations

import os
import shlex
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import paramiko
import pytest

from harness.xen.machine import Machine
from harness.xen.process import command_line
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


@pytest.fixture
def agent(tmp_path: Path, keys: tuple[Path, paramiko.PKey, paramiko.PKey]) -> Iterator[None]:
    """An SSH agent that holds the key which lets us in, and another one."""
    path = tmp_path / "agent"
    another = tmp_path / "another"
    paramiko.ECDSAKey.generate().write_private_key_file(str(another))
    running = subprocess.Popen(["ssh-agent", "-D", "-a", str(path)], stdout=subprocess.DEVNULL)
    try:
        until_s = time.monotonic() + 10
        while not path.exists() and time.monotonic() < until_s:
            time.sleep(0.01)
        with pytest.MonkeyPatch.context() as patch:
            patch.setenv("SSH_AUTH_SOCK", str(path))
            subprocess.run(["ssh-add", "-q", another, keys[0]], check=True, env=os.environ)
            yield
    finally:
        running.terminate()
        running.wait()


@pytest.mark.usefixtures("agent")
def test_a_key_with_a_passphrase_is_used_where_the_agent_holds_it(
    machine: Machine, tmp_path: Path, keys: tuple[Path, paramiko.PKey, paramiko.PKey]
) -> None:
    locked, user = tmp_path / "locked", keys[1]
    user.write_private_key_file(str(locked), password="secret")
    assert "it has a passphrase" in refusal(changed(machine, key_file=locked, agent=False))
    locked.with_name("locked.pub").write_text(f"{user.get_name()} {user.get_base64()} me\n")
    connect(changed(machine, key_file=locked, agent=True)).close()


@pytest.mark.usefixtures("agent")
def test_the_agents_other_keys_are_tried_only_where_the_login_lets_it(machine: Machine) -> None:
    connect(changed(machine, key_file=None, agent=True, named_only=False)).close()
    assert "no key" in refusal(changed(machine, key_file=None, agent=True, named_only=True))


def test_keys_that_nobody_named_need_not_be_there(machine: Machine, tmp_path: Path) -> None:
    assert machine.key_file is not None
    connect(changed(machine, key_file=None, identities=(tmp_path / "none", machine.key_file))).close()
    (tmp_path / "junk").write_text("junk")
    assert "junk is no key" in refusal(changed(machine, key_file=None, identities=(tmp_path / "junk",)))


RELAY = """
import os, socket, sys, threading
there = socket.create_connection((sys.argv[1], int(sys.argv[2])))
def back():
    while data := there.recv(65536):
        os.write(1, data)
threading.Thread(target=back, daemon=True).start()
while data := os.read(0, 65536):
    there.sendall(data)
"""


def test_a_machine_is_reached_through_a_program(machine: Machine) -> None:
    there = (machine.address, str(machine.port))
    through = changed(machine, proxy=(sys.executable, "-c", RELAY, *there))
    connect(through).close()
    assert "through" in str(through)


def test_what_the_program_complains_of_is_told(machine: Machine) -> None:
    failing = changed(machine, proxy=(sys.executable, "-c", "import sys; sys.exit('jump: not today')"))
    assert refusal(failing).endswith("What it is reached through says: jump: not today")
    assert "no-such-program" in refusal(changed(machine, proxy=("no-such-program",)))


def test_known_hosts_with_markers_and_broken_lines_harm_nobody_else(machine: Machine) -> None:
    good = machine.known_hosts.read_text()
    machine.known_hosts.write_text(
        "@cert-authority *.example.org ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIA\n@revoked * ssh-rsa AAAA\n"
        f"other ssh-ed25519 no-base64\n{good}"
    )
    connect(machine).close()


def test_a_user_who_becomes_root_by_sudo_does_so_for_every_command() -> None:
    machine = Machine(name="g1", address="a", user="bob", known_hosts=Path("h"), sudo=True)
    words = shlex.split(command_line(["work", "a b"], machine.privileged))
    assert words[:8] == ["exec", "sudo", "-n", "--", "setsid", "--wait", "sh", "-c"]
    assert words[-2:] == ["work", "a b"]
    root = Machine(name="g1", address="a", known_hosts=Path("h"))
    assert shlex.split(command_line(["work"], root.privileged))[:3] == ["exec", "sh", "-c"]
