"""Machine: where one computer of the experiment is and how to get in."""

from __future__ import annotations

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
    key_file: Path
    """Private key; no other is tried."""
    known_hosts: Path
    """The host keys that are believed; no other is."""
    domain: str = ""
    """What Xen calls it, where that is not its name."""

    @property
    def xen_name(self) -> str:
        """The name of its domain in Xen."""
        return self.domain or self.name

    def __str__(self) -> str:
        return f"{self.name} ({self.user}@{self.address}:{self.port})"
