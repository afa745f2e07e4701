"""How a machine is entered: what Ansible and OpenSSH make of it, as a login of ours, or why we cannot.

Ansible says what it would call `ssh` with, and `ssh -G` what that comes to, with all of its own configuration. Whatever
of it we do not do as they would is refused here: a machine must not be entered otherwise than its inventory says.
"""

from __future__ import annotations

import os
import re
import shlex
import subprocess
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from harness.experiment.document import ConfigError
from harness.xen.machine import Machine

Facts = Mapping[str, Any]
Options = Mapping[str, Sequence[str]]
"""What `ssh -G` prints: key → its values, in order."""

ADDRESS = re.compile(r"[A-Za-z0-9_\[:][A-Za-z0-9_.:%\]-]{0,252}")
SUDO_FLAGS = "-H -S -n"
"""Ansible's own."""
SHELL = re.compile(r"[|&;<>()$`\\\"'*?~\n]")
"""What a ProxyCommand needs a shell for."""
SSH_TIMEOUT_S = 30.0

KEPT_SECRETS = {
    "password": "an SSH password (ansible_password); give a key instead, and take the password out",
    "private_key": "a private key in a variable (ansible_private_key); have the SSH agent hold it instead",
    "private_key_passphrase": "a passphrase for its key; have the SSH agent hold the key instead (ssh-add)",
    "pkcs11_provider": "a key on a token (PKCS#11); have the SSH agent hold it (ssh-add -s)",
}
REFUSED_OPTIONS = {
    "certificatefile": "a certificate of a user; add the public key to authorized_keys there",
    "bindinterface": "an interface to go by; use BindAddress's routes instead",
    "bindaddress": "an address to come from; have the routes choose it",
    "knownhostscommand": "a command that tells host keys; write them into ballast_known_hosts",
}
UNSET = ("", "none")


def ssh_arguments(facts: Facts) -> list[str]:
    """Return the command by which OpenSSH says what it would do, as Ansible would call it.

    Raises:
        ConfigError: what is to be passed on are no words.

    """
    argv = ["ssh", "-G"]
    argv += _words(facts, "ssh_args")
    if facts["port"] is not None:
        argv += ["-o", f"Port={facts['port']}"]
    if facts["private_key_file"]:
        argv += ["-o", f'IdentityFile="{Path(facts["private_key_file"]).expanduser()}"']
    if facts["remote_user"]:
        argv += ["-o", f'User="{facts["remote_user"]}"']
    argv += _words(facts, "ssh_common_args") + _words(facts, "ssh_extra_args")
    address = str(facts["host"])
    if not ADDRESS.fullmatch(address):
        raise ConfigError(f"{address[:80]!r} is no address; correct ansible_host")
    return [*argv, "--", address]


def _words(facts: Facts, key: str) -> list[str]:
    try:
        return shlex.split(facts[key] or "")
    except ValueError as error:
        raise ConfigError(f"ansible_{key} {facts[key]!r}: {error}; correct its quotes") from None


def ask_openssh(facts: Facts) -> Options:
    """Ask OpenSSH what it would do.

    Raises:
        ConfigError: it says that it would do nothing.

    """
    argv = ssh_arguments(facts)
    try:
        said = subprocess.run(
            argv, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=SSH_TIMEOUT_S, check=False
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        raise ConfigError(f"ssh -G: {error}; install openssh-client, and try: {shlex.join(argv)}") from None
    if said.returncode:
        raise ConfigError(f"ssh refuses: {' '.join(said.stderr.split())[-300:]}; try: {shlex.join(argv)}")
    options: dict[str, list[str]] = {}
    for line in said.stdout.splitlines():
        key, _, value = line.partition(" ")
        options.setdefault(key.lower(), []).append(value)
    return options


def machine(facts: Facts, options: Options) -> Machine:
    """Return the machine.

    Raises:
        ConfigError: it would be entered in a way that we do not have; the message says what to do.

    """
    for refusal in _refusals(facts, options):
        raise ConfigError(refusal)
    address, user, port = (_one(options, key) for key in ("hostname", "user", "port"))
    files = [Path(path).expanduser() for path in _known_hosts(facts, options)]
    there = [path for path in files if path.is_file()] or files[:1]
    key_file = Path(facts["private_key_file"]).expanduser() if facts["private_key_file"] else None
    identities = tuple(
        path
        for named in options.get("identityfile", ())
        if named not in UNSET and (path := Path(named).expanduser()) != key_file
    )
    return Machine(
        name=str(facts["name"]),
        address=address,
        port=int(port),
        user=user,
        key_file=key_file,
        identities=identities,
        agent=_one(options, "identityagent").lower() != "none",
        named_only=_one(options, "identitiesonly") == "yes",
        known_hosts=there[0],
        also_known=tuple(there[1:]),
        host_key_alias=_set(options, "hostkeyalias"),
        proxy=_proxy(facts, options),
        sudo=bool(facts["become"]) and user != "root",
        domain=str(facts["domain"]),
        made=bool(facts.get("made")),
    )


def _refusals(facts: Facts, options: Options) -> Iterator[str]:
    if facts["connection"] not in ("ssh", "smart", "ansible.builtin.ssh"):
        yield f"is entered by {facts['connection']}, and the harness knows SSH alone; set ansible_connection: ssh"
    if Path(facts["ssh_executable"]).name != "ssh":
        yield f"is entered by {facts['ssh_executable']}, and the harness speaks SSH itself; use ssh's configuration"
    for key, said in KEPT_SECRETS.items():
        if key in facts["secrets"]:
            yield f"has {said}"
    for key, said in REFUSED_OPTIONS.items():
        if _set(options, key):
            yield f"has {said} (ssh says: {key} {_set(options, key)})"
    if _one(options, "addressfamily") not in ("", "any"):
        yield "has an AddressFamily; give the address itself in ansible_host"
    if _one(options, "pubkeyauthentication") in ("no", "false"):
        yield "has PubkeyAuthentication no, and the harness has keys alone; take it out"
    agent = _set(options, "identityagent")
    if agent.lower() not in (*UNSET, "ssh_auth_sock") and agent != os.environ.get("SSH_AUTH_SOCK"):
        yield f"has an IdentityAgent {agent}; start this with SSH_AUTH_SOCK={agent} instead"
    yield from _sudo_refusals(facts, _one(options, "user"))


def _sudo_refusals(facts: Facts, user: str) -> Iterator[str]:
    if facts["become"] and user != "root":
        if facts["become_method"] not in ("sudo", "ansible.builtin.sudo"):
            yield f"becomes root by {facts['become_method']}, and the harness does by sudo alone; set it up"
        if facts["become_user"] not in ("root", "", None):
            yield f"becomes {facts['become_user']}, and the harness needs root; take out ansible_become_user"
        if facts["become_password"]:
            yield (
                "has a password for sudo, which the harness cannot type; let sudo ask none (NOPASSWD), and take it out"
            )
        if Path(facts["become_exe"] or "sudo").name != "sudo" or facts["become_flags"] != SUDO_FLAGS:
            yield f"has a sudo of its own ({facts['become_exe']} {facts['become_flags']}); the harness uses sudo -n"
    elif user != "root" and "xen_hosts" in facts["groups"]:
        yield f"is entered as {user}, and dom0's agent needs root; set ansible_become: true, or ansible_user: root"


def _known_hosts(facts: Facts, options: Options) -> list[str]:
    if facts["known_hosts"]:
        return [facts["known_hosts"]]
    files = " ".join([_one(options, "userknownhostsfile"), _one(options, "globalknownhostsfile")])
    return [path for path in files.split() if path not in (*UNSET, os.devnull)] or ["~/.ssh/known_hosts"]


def _proxy(facts: Facts, options: Options) -> tuple[str, ...]:
    """The program through which the machine is reached, as OpenSSH would start it."""
    host, port = _one(options, "hostname"), _one(options, "port")
    if jumps := _set(options, "proxyjump"):
        *before, last = jumps.split(",")
        argv = ["ssh", *_config_file(facts), "-o", "BatchMode=yes", *(["-J", ",".join(before)] if before else [])]
        return (*argv, "-W", f"[{host}]:{port}", "--", f"ssh://{last.removeprefix('ssh://')}")
    command = _set(options, "proxycommand")
    if not command:
        return ()
    tokens = {"%h": host, "%p": port, "%r": _one(options, "user"), "%n": str(facts["host"]), "%%": "%"}
    words = command.removeprefix("exec ").split()
    if SHELL.search(command) or not words:
        raise ConfigError(f"has a ProxyCommand that needs a shell ({command}); write it into a script, and name that")
    return tuple(re.sub(r"%[a-zA-Z%]", lambda found: _token(tokens, found[0]), word) for word in words)


def _token(tokens: Mapping[str, str], token: str) -> str:
    if token not in tokens:
        raise ConfigError(f"has a ProxyCommand with {token}; of OpenSSH's tokens it may have {', '.join(tokens)}")
    return tokens[token]


def _config_file(facts: Facts) -> list[str]:
    """The configuration that the call names, which the jump is made by too."""
    words = [word for key in ("ssh_args", "ssh_common_args", "ssh_extra_args") for word in _words(facts, key)]
    named = [words[index + 1] for index, word in enumerate(words[:-1]) if word == "-F"]
    named += [word[2:] for word in words if word.startswith("-F") and word != "-F"]
    return ["-F", named[0]] if named else []


def _one(options: Options, key: str) -> str:
    return next(iter(options.get(key, ())), "")


def _set(options: Options, key: str) -> str:
    """An option, where it says something."""
    value = _one(options, key)
    return "" if value.lower() in UNSET else value
