"""known_hosts means what it means to OpenSSH: markers, patterns, hashes; a line that is broken harms nobody else."""

from __future__ import annotations

from pathlib import Path

import paramiko
import pytest

from harness.xen.host_keys import UnknownHostError, host_keys

KEY, OTHER = paramiko.ECDSAKey.generate(), paramiko.ECDSAKey.generate()
RSA = paramiko.RSAKey.generate(1024)


def line(names: str, key: paramiko.PKey = KEY, marker: str = "") -> str:
    return f"{marker} {names} {key.get_name()} {key.get_base64()} a comment".strip() + "\n"


def asked(tmp_path: Path, text: str, host: str = "g1.example.org", port: int = 22, key: paramiko.PKey = KEY) -> str:
    """What is said to a key; empty: it is believed."""
    (tmp_path / "known").write_text(text)
    try:
        host_keys([tmp_path / "known"], host, port).missing_host_key(paramiko.SSHClient(), host, key)
    except UnknownHostError as error:
        return str(error)
    return ""


@pytest.mark.parametrize(
    "text",
    [
        line("g1.example.org"),
        line("G1.Example.ORG,192.0.2.1"),
        line("*.example.org"),
        line("g?.example.org,!g2.example.org"),
        line(paramiko.HostKeys.hash_host("g1.example.org")),
        f"# a comment\n\n{line('g1.example.org', OTHER)}{line('g1.example.org')}",
        f"@cert-authority *.example.org ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIA==\n{line('g1.example.org')}",
        f"g1.example.org ssh-ed25519 no-base64!\n{line('g1.example.org')}",
        f"g1.example.org\n|1|x\n@new * a b\n{line('g1.example.org')}",
        line("g1.example.org") + line("*", OTHER, "@revoked"),
    ],
)
def test_a_key_that_is_there_is_believed(tmp_path: Path, text: str) -> None:
    assert asked(tmp_path, text) == ""


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "is not in"),
        (line("g2.example.org"), "is not in"),
        (line("*.example.org,!g1.example.org"), "is not in"),
        (line("g1.example.org", OTHER), "another host key"),
        (line("g1.example.org") + line("*", KEY, "@revoked"), "revoked"),
        (line("*.example.org", KEY, "@cert-authority"), "line 1: an authority .* put the host's own key"),
        ("g1.example.org ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIA\n", "line 1: its key cannot be read"),
        ("g1.example.org sk-ssh-ed25519@openssh.com AAAA\n", "line 1: no key of the type sk-ssh"),
        ("g1.example.org\n", "line 1: no key"),
        (line("g1.example.org").replace(" ", "\f", 1), "is not in"),
        ("g1.example.org ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAAA==\n", "line 1: its key"),
    ],
)
def test_another_key_is_not_and_the_lines_that_are_of_no_use_are_named(tmp_path: Path, text: str, said: str) -> None:
    import re

    assert re.search(said, asked(tmp_path, text))


def test_a_port_of_its_own_has_a_name_of_its_own_or_else_the_bare_one(tmp_path: Path) -> None:
    assert asked(tmp_path, line("[g1.example.org]:2222"), port=2222) == ""
    assert asked(tmp_path, line("[*.example.org]:2222"), port=2222) == ""
    assert asked(tmp_path, line("g1.example.org"), port=2222) == ""
    assert "another" in asked(tmp_path, line("[g1.example.org]:2222", OTHER) + line("g1.example.org"), port=2222)
    assert "is not in" in asked(tmp_path, line("[g1.example.org]:2222"))


def test_a_machine_is_asked_for_a_key_of_a_type_that_is_known(tmp_path: Path) -> None:
    (tmp_path / "known").write_text(line("g1", RSA))
    offered = ("ssh-ed25519", "ecdsa-sha2-nistp256", "rsa-sha2-256", "rsa-sha2-512")
    preferred = host_keys([tmp_path / "known"], "g1", 22).preferred(offered)
    assert preferred == ("rsa-sha2-512", "rsa-sha2-256", "ssh-ed25519", "ecdsa-sha2-nistp256")


def test_further_files_need_not_be_there(tmp_path: Path) -> None:
    (tmp_path / "second").write_text(line("g1"))
    host_keys([tmp_path / "second", tmp_path / "none"], "g1", 22).missing_host_key(paramiko.SSHClient(), "g1", KEY)
    with pytest.raises(FileNotFoundError):
        host_keys([tmp_path / "none"], "g1", 22)
