"""The service's own file: a host, who is balanced there and within what bounds, and who decides.

Guests are named by patterns, for they come and go; a host has no durations and no workloads.
"""

from __future__ import annotations

import os
import pwd
from collections.abc import Iterator
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Annotated, Any

from pydantic import AfterValidator, Field

from harness.experiment.checks import policy_faults
from harness.experiment.config import PolicyChoice
from harness.experiment.connection import KIB_PER_MIB
from harness.experiment.document import Document, Key, Model, Problem, instead
from harness.experiment.sweep import MiB
from harness.experiment.workloads import Listed
from harness.governor import Limits
from harness.policies import Policy
from harness.service.arbiter import MARGIN_MIB, MARGIN_PERCENT, TAKE_MIB_S
from harness.service.fallback import Hold
from harness.xen.machine import Machine
from harness.xen.source import Terms

NAME = "{name}"
"""Stands in an address for what Xen calls the guest."""
EVERYBODY = "*"


def _expanded(path: Path) -> Path:
    return path.expanduser()


File = Annotated[Path, Field(strict=False), AfterValidator(_expanded)]
Port = Annotated[int, Field(gt=0, lt=65536)]


class Login(Model):
    """How machines are entered over SSH; what a machine does not say of itself, the service's `login` says for all."""

    user: str = "root"
    port: Port = 22
    key_file: File
    """Private key; no other is tried."""
    known_hosts: File
    """The host keys that are believed; no other is."""


class Own(Model):
    """What is other about one machine's login."""

    user: str | None = None
    port: Port | None = None
    key_file: File | None = None
    known_hosts: File | None = None


class XenHost(Own):
    """The host whose guests are balanced: its dom0."""

    address: str


class Guests(Own):
    """Guests whose name in Xen matches a pattern, and what they are promised. The first that matches counts."""

    match: Annotated[str, Field(min_length=1)]
    """A shell's pattern: `web-*`, `db?`, `Windows 10`."""
    address: str = NAME
    """Where a guest is reached; `{name}` is its name in Xen."""
    min_mib: MiB
    max_mib: MiB
    shares: Annotated[int, Field(gt=0)] = 1000
    keep_s: Annotated[float, Field(ge=0, le=86400)] = 0.0
    """How long what it had is kept for it when it stops; 0: others may have it at once."""

    def terms(self) -> Terms:
        """What each of them is promised."""
        return Terms(min_kib=self.min_mib * KIB_PER_MIB, max_kib=self.max_mib * KIB_PER_MIB, shares=float(self.shares))


class Service(Model):
    """What `ballast balance --config` reads."""

    login: Login
    host: XenHost
    guests: Annotated[tuple[Guests, ...], Listed]
    policy: PolicyChoice
    fallback: PolicyChoice = PolicyChoice(name=Hold.name, label=Hold.name)
    """Who decides while the policy fails; `hold`: everybody keeps what he has."""
    shadows: Annotated[tuple[PolicyChoice, ...], Listed] = ()
    """Policies that decide beside the acting one and move nothing."""
    pool_mib: MiB | None = None
    """What all guests share; not said: what they have, and what Xen has free besides."""
    reserve_mib: Annotated[int, Field(ge=0)] = 256
    """What Xen keeps free besides."""
    period_s: Annotated[float, Field(gt=0)] = 2.0
    take_mib_s: Annotated[float, Field(gt=0)] = TAKE_MIB_S
    """The most that is taken from a guest in a second."""
    margin_percent: Annotated[float, Field(ge=0, lt=100)] = MARGIN_PERCENT
    """Of what a guest has, available in it: what it keeps for what it comes to need."""
    margin_mib: Annotated[float, Field(ge=0)] = MARGIN_MIB
    """The same, where that is more."""
    allow_swap: bool = False
    """Let the policy take memory that a guest needs, so that it swaps."""
    socket: File | None = None
    """Where `ballast room` and `ballast top` ask; not said: where they look by themselves."""
    metrics: Annotated[str, Field(pattern=r"^[^\s:]+:[0-9]{1,5}$")] | None = None
    """ADDRESS:PORT at which Prometheus asks."""
    trust: File | None = None
    """Keeps, for the next start, which guests did not follow their targets."""
    decisions: File | None = None
    """Takes a JSON line a tick, and the events."""

    def limits(self) -> Limits:
        """What the governor insists on."""
        return Limits(
            period_s=self.period_s, allow_swap=self.allow_swap, take_kib_s=self.take_mib_s * KIB_PER_MIB,
            margin_kib=self.margin_mib * KIB_PER_MIB, margin_share=self.margin_percent / 100,
        )  # fmt: skip

    def fallback_policy(self) -> Policy:
        """Return a fresh fallback."""
        return Hold() if self.fallback.name == Hold.name else self.fallback.make()

    def rule(self, domain: str) -> Guests | None:
        """What is said of a guest of this name in Xen; None: it is nobody's business here."""
        return next((guests for guests in self.guests if fnmatchcase(domain, guests.match)), None)

    def machine(self, domain: str, rule: Guests) -> Machine:
        """How a guest is reached."""
        return Machine(name=domain, address=rule.address.replace(NAME, domain), **self._login(rule))

    def dom0(self) -> Machine:
        """How the host's dom0 is reached."""
        return Machine(name="dom0", address=self.host.address, **self._login(self.host))

    def _login(self, own: Own) -> dict[str, Any]:
        keys = Login.model_fields
        return {key: said if (said := getattr(own, key)) is not None else getattr(self.login, key) for key in keys}


def load_service(path: Path) -> Service:
    """Read the service's file.

    Raises:
        ConfigError: it cannot be used: every problem, with line, key and remedy.

    """
    document = Document(path)
    service = document.parse(Service)
    if found := list(_faults(service)):
        raise document.error(found)
    return service


def _faults(service: Service) -> Iterator[Problem]:
    if not service.guests:
        yield ("guests",), f"is empty; give at least one, such as {{match: '{EVERYBODY}', min_mib: 256, max_mib: 4096}}"
    seen: dict[str, int] = {}
    for index, rule in enumerate(service.guests):
        at: Key = ("guests", index)
        if rule.min_mib > rule.max_mib:
            yield (*at, "min_mib"), f"is {rule.min_mib}, above max_mib {rule.max_mib}; swap or correct them"
        if (before := seen.setdefault(rule.match, index)) != index:
            yield (*at, "match"), f"is that of guests[{before}] too, which comes first; remove one"
        elif EVERYBODY in seen and seen[EVERYBODY] < index:
            yield (
                (*at, "match"),
                f"never counts, for guests[{seen[EVERYBODY]}] before it matches everybody; put it first",
            )
    yield from policy_faults("policy", [service.policy], listed=False)
    yield from policy_faults("shadows", service.shadows)
    if service.fallback.name != Hold.name:
        yield from policy_faults("fallback", [service.fallback], listed=False)
    for key in ("key_file", "known_hosts"):
        if wrong := _unreadable(getattr(service.login, key)):
            yield ("login", key), wrong
    if service.metrics and int(service.metrics.rpartition(":")[2]) > 65535:
        yield ("metrics",), "ports go to 65535; choose another"


def _unreadable(file: Path) -> str:
    """Why a file cannot be read, and what to do; empty where it can."""
    try:
        with file.open("rb"):
            return ""
    except (FileNotFoundError, IsADirectoryError):
        return f"{file} is not there; {instead(file.name, [each.name for each in _beside(file)])}"
    except OSError as error:
        who = pwd.getpwuid(os.geteuid()).pw_name
        return f"{file} cannot be read by {who} ({error.strerror}); chgrp {who} and chmod 640, and 750 its folder"


def _beside(file: Path) -> Iterator[Path]:
    return file.parent.glob("*") if file.parent.is_dir() else iter(())
