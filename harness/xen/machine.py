"""Machine: where one computer of the experiment is and how to get in."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True, slots=True, kw_only=True)
class Machine:
    """One computer that is reached over SSH: dom0 or a guest."""

    name: str
    """What the experiment calls it."""
    address: str
    port: int = 22
    user: str = "root"
    key_file: Path | None = None
    """The private key that was named for it, which has to be usable."""
    identities: tuple[Path, ...] = ()
    """Keys that may be there, after it."""
    agent: bool = False
    """Whether the SSH agent is asked, which alone can use a key with a passphrase."""
    named_only: bool = True
    """Whether the agent's other keys are left out."""
    known_hosts: Path
    """The host keys that are believed; has to be there."""
    also_known: tuple[Path, ...] = ()
    """More of them, which may be there; no others are believed."""
    host_key_alias: str = ""
    """The name under which they have its key, where that is not the address."""
    proxy: tuple[str, ...] = ()
    """A program through which it is reached; empty: directly."""
    sudo: bool = False
    """Whether its user becomes root by sudo, which asks for no password then."""
    domain: str = ""
    """What Xen calls it, where that is not its name."""
    made: bool = False
    """Whether the playbooks make it, or start it, where it is not there."""

    @property
    def xen_name(self) -> str:
        """The name of its domain in Xen."""
        return self.domain or self.name

    def privileged(self, argv: Sequence[str]) -> list[str]:
        """Return the command as its user has to give it for it to run as root."""
        return ["sudo", "-n", "--", *argv] if self.sudo else list(argv)

    def __str__(self) -> str:
        by = f" through {self.proxy[0]}" if self.proxy else ""
        return f"{self.name} ({self.user}@{self.address}:{self.port}{by})"
