"""With which keys a machine is entered: those that its login names, from files or held by the SSH agent."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import paramiko
from cryptography.exceptions import UnsupportedAlgorithm
from paramiko.pkey import UnknownKeyType

from harness.xen.machine import Machine

MOST_KEYS = 6
"""That are tried: OpenSSH's servers hang up after as many (MaxAuthTries)."""


class KeyFileError(ValueError):
    """A key that was named cannot be used; the message says why and what to do."""


class UserKeys:
    """The keys of a login in the order in which OpenSSH tries them: what the agent holds of those named, the files, and
    where the login allows it what else the agent holds.
    """  # noqa: D205

    def __init__(self, machine: Machine) -> None:
        """Read them, so that what cannot be used is told before anything is connected.

        Raises:
            KeyFileError: the key that was named is none, or has a passphrase and the agent does not hold it.
            OSError: it cannot be read.

        """
        self._user = machine.user
        self._agent = paramiko.Agent() if machine.agent else None
        held = _held_by(self._agent)
        named = [*([machine.key_file] if machine.key_file else []), *machine.identities]
        public = {key.asbytes(): key for key in held}
        self._passed_over: list[str] = []
        self._files: list[Path] = []
        keys: dict[bytes, paramiko.PKey] = {}
        for path in dict.fromkeys(named):
            try:
                key = _key(path, public)
            except (KeyFileError, OSError) as error:
                if path == machine.key_file:
                    raise
                if not isinstance(error, FileNotFoundError):
                    self._passed_over.append(str(error))
                continue
            keys.setdefault(key.asbytes(), key)
            self._files.append(path)
        self._held = bool(held) and not machine.named_only
        if self._held:
            keys |= {blob: key for blob, key in public.items() if blob not in keys}
        self._keys = list(keys.values())[:MOST_KEYS]

    def authenticate(self, transport: paramiko.Transport) -> None:
        """Try one after the other.

        Raises:
            paramiko.AuthenticationException: none lets us in.
            KeyFileError: one does, and then the machine asks for more.

        """
        for key in self._keys:
            try:
                more = transport.auth_publickey(self._user, key)
            except paramiko.AuthenticationException:
                continue
            if more:
                raise KeyFileError(f"beside a key it asks for {' or '.join(more)}, which cannot be answered here")
            return
        raise paramiko.AuthenticationException

    def close(self) -> None:
        """Let go of the agent: it is needed no more."""
        if self._agent is not None:
            self._agent.close()

    def __str__(self) -> str:
        held = "keys of the SSH agent" if self._held else ""
        files = ", ".join(map(str, self._files))
        aside = f" ({'; '.join(self._passed_over)})" if self._passed_over else ""
        return (" or ".join(part for part in (files, held) if part) or "no key, for none was found") + aside


def _held_by(agent: paramiko.Agent | None) -> tuple[paramiko.PKey, ...]:
    try:
        return () if agent is None else agent.get_keys()
    except (paramiko.SSHException, OSError):
        return ()  # there is none that answers; the files are left


def _key(path: Path, held: Mapping[bytes, paramiko.PKey]) -> paramiko.PKey:
    """Return the agent's key for this file, or the file's own."""
    public = path.with_name(f"{path.name}.pub")
    if held and public.is_file():
        words = public.read_text(errors="replace").split()
        for key in held.values():
            if len(words) > 1 and words[1] == key.get_base64():
                return key
    try:
        return paramiko.PKey.from_path(path)
    except (ValueError, TypeError, UnknownKeyType, UnsupportedAlgorithm) as error:  # TypeError: it is encrypted
        said = "it has a passphrase" if isinstance(error, TypeError) else str(error)
        raise KeyFileError(
            f"{path} is no key that can be used: {said}. Give an OpenSSH private key without a passphrase, "
            f"or have the SSH agent hold it (ssh-add {path}) and the login ask the agent."
        ) from error
