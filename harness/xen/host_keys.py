"""Whose host keys are believed: known_hosts files read as OpenSSH reads them, which says nothing of a broken line.

Besides names and addresses a line may have patterns (`*.example.org`, `!bad.example.org`), a hashed name, or a marker:
`@revoked` keys are refused whatever else is said of them; `@cert-authority` lines are passed over, since certificates
of hosts are not understood here, and told of where nothing else is known.
"""

from __future__ import annotations

import binascii
import hmac
import re
from base64 import b64decode
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from hashlib import sha1
from pathlib import Path

import paramiko

STANDARD_PORT = 22
LARGEST_BYTES = 1 << 24
"""Of a file; one that is larger is none."""
RSA = ("rsa-sha2-512", "rsa-sha2-256")
"""How a key of the type ssh-rsa signs today."""
_HASHED = "|1|"


class UnknownHostError(paramiko.SSHException):
    """The key that a machine shows is not believed; the message says why and what to do."""


@dataclass(frozen=True, slots=True, kw_only=True)
class HostKeys(paramiko.MissingHostKeyPolicy):
    """What the files say of one machine; asked by paramiko for every key, since it is given none itself."""

    file: Path
    """Where a person is to look."""
    keys: frozenset[bytes]
    types: tuple[str, ...]
    """Of these keys, in the files' order."""
    revoked: frozenset[bytes]
    passed_over: tuple[str, ...]
    """Lines about this machine that are of no use, each with its reason."""

    def missing_host_key(self, client: paramiko.SSHClient, hostname: str, key: paramiko.PKey) -> None:
        """Believe a key or not.

        Raises:
            UnknownHostError: it is not one of the machine's.

        """
        shown = key.asbytes()
        if shown in self.revoked:
            raise UnknownHostError(f"it shows a host key that {self.file} has revoked; someone else may be answering.")
        if shown in self.keys:
            return
        if self.keys:
            raise UnknownHostError(
                f"it shows another host key than the one in {self.file}. If the machine was built anew, "
                "put its new key there; if not, someone else may be answering."
            )
        aside = f" ({'; '.join(self.passed_over)})" if self.passed_over else ""
        raise UnknownHostError(
            f"its host key is not in {self.file}{aside}. Read the key on the machine itself "
            f"(/etc/ssh/ssh_host_*_key.pub) and put it there, for {hostname}."
        )

    def preferred(self, offered: Sequence[str]) -> tuple[str, ...]:
        """What a machine is asked to show, those first of which a key is known; the others would be refused."""
        known = [each for kind in self.types for each in (RSA if kind == "ssh-rsa" else (kind,)) if each in offered]
        return tuple(dict.fromkeys([*known, *offered]))


def host_keys(files: Sequence[Path], host: str, port: int) -> HostKeys:
    """Read what files say of a machine; the first has to be there, the others may be.

    As with OpenSSH, what is said of the bare name counts for a port of its own if nothing is said of that.

    Raises:
        OSError: a file cannot be read.

    """
    entries = [entry for index, file in enumerate(files) for entry in _entries(file, needed=index == 0)]
    bare = host.lower()
    names = [bare] if port == STANDARD_PORT else [f"[{bare}]:{port}", bare]
    revoked = frozenset(entry.key for entry in entries if entry.marker == "@revoked" and entry.key)
    for name in names:
        about = [entry for entry in entries if entry.is_about(name)]
        if about:
            break
    good = [entry for entry in about if not entry.fault]
    return HostKeys(
        file=files[0],
        keys=frozenset(entry.key for entry in good),
        types=tuple(dict.fromkeys(entry.type for entry in good)),
        revoked=revoked,
        passed_over=tuple(f"{entry.where}: {entry.fault}" for entry in about if entry.fault),
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class _Entry:
    where: str
    marker: str
    names: str
    type: str
    key: bytes
    fault: str

    def is_about(self, name: str) -> bool:
        if self.marker == "@revoked":
            return False
        if self.names.startswith(_HASHED):
            return _is_hash_of(self.names, name)
        patterns = self.names.lower().split(",")
        if any(each.startswith("!") and _matches(name, each[1:]) for each in patterns):
            return False
        return any(_matches(name, each) for each in patterns if not each.startswith("!"))


def _entries(file: Path, *, needed: bool) -> Iterator[_Entry]:
    try:
        with file.open("rb") as opened:
            text = opened.read(LARGEST_BYTES).decode(errors="replace")
    except FileNotFoundError:
        if needed:
            raise
        return
    for number, line in enumerate(text.split("\n"), start=1):
        words = re.split("[ \t\r]+", re.sub("^[ \t\r]+|[ \t\r]+$", "", line))  # other white space is none to OpenSSH
        if not words[0] or words[0].startswith("#"):
            continue
        marker = words.pop(0) if words[0].startswith("@") else ""
        names, kind, written = (*words[:3], "", "", "")[:3]
        key, fault = _key(kind, written)
        if marker == "@cert-authority":
            fault = "an authority for certificates of hosts, which are not understood here; put the host's own key"
        elif marker not in ("", "@revoked"):
            fault = f"a marker {marker[:20]} that means nothing"
        yield _Entry(where=f"line {number}", marker=marker, names=names, type=kind, key=key, fault=fault)


def _key(kind: str, written: str) -> tuple[bytes, str]:
    """Return the key of a line, and what is wrong with it."""
    try:
        blob = b64decode(written, validate=True)
        if paramiko.Message(blob).get_text() != kind or not kind:
            return b"", f"no key of the type {kind[:40]}" if kind else "no key"
        if paramiko.PKey.from_type_string(kind, blob).asbytes() != blob:
            return b"", "its key is not whole"
    except paramiko.pkey.UnknownKeyType:
        return b"", f"a key of the type {kind[:40]}, which is not understood here"
    except (ValueError, binascii.Error):
        return b"", "its key cannot be read"
    except Exception as error:  # noqa: BLE001  # what a broken key provokes in paramiko is of many kinds
        return b"", f"its key cannot be read ({type(error).__name__})"
    return blob, ""


def _is_hash_of(hashed: str, name: str) -> bool:
    try:
        salt, digest = (b64decode(part, validate=True) for part in hashed.removeprefix(_HASHED).split("|"))
    except ValueError:
        return False
    return hmac.compare_digest(hmac.digest(salt, name.encode(), sha1), digest)


def _matches(name: str, pattern: str) -> bool:
    """OpenSSH's patterns have `*` and `?` alone; brackets are those of a port."""
    return fnmatchcase(name, pattern.replace("[", "[[]"))
