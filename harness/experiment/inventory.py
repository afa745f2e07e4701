"""Asks Ansible what it makes of an inventory: which machines there are, and how it would enter them.

Only Ansible knows: its variables are templates, come from groups, vaults and its command line, and have had several
names. So a playbook of ours (playbooks/machines.yml) tells what they come to.
"""

from __future__ import annotations

import json
import tempfile
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

import ansible_runner
import pexpect  # by which ansible-runner runs the playbook

from harness.experiment.composed import composed
from harness.experiment.document import ConfigError
from harness.progress.plain import plain
from harness.progress.playbook import PROJECT, environment, failure

TEXTS = {"known_hosts": "ballast_known_hosts", "domain": "xen_domain", "host_of": "xen_host"}
"""Fact → the variable that it comes from, which is ours and may have any type."""
UNPARSED = {"ANSIBLE_INVENTORY_ANY_UNPARSED_IS_FAILED": "true"}
PLAYBOOK, FACT = "playbooks/machines.yml", "ballast_machine"
NEEDED = frozenset({
    "name", "groups", "host", "port", "remote_user", "private_key_file", "ssh_args", "ssh_common_args",
    "ssh_extra_args", "ssh_executable", "secrets", "become", "become_method", "become_user", "become_exe",
    "become_flags", "become_password",
    "connection", "known_hosts", "domain", "host_of", "lab", "lab_clock",
})  # fmt: skip


def machines(inventories: Sequence[Path]) -> dict[str, dict[str, Any]]:
    """Ask Ansible for every machine of the groups xen_hosts and xen_guests; by name.

    A machine whose variables come to nothing has a `fault`, which is Ansible's own word.

    Raises:
        ConfigError: an inventory is not there, or Ansible cannot read it.

    """
    for path in inventories:
        if not path.exists():
            raise ConfigError(f"{path}: no such inventory; start from a copy of inventory/example.yml")
        if path.is_file() and path.suffix in (".yml", ".yaml"):
            composed(path)  # Ansible would write out whatever its aliases stand for
    found: dict[str, dict[str, Any]] = {}
    words: list[str] = []

    def hear(event: Mapping[str, Any]) -> bool:
        said: Mapping[str, Any] = event.get("event_data") or {}
        match event.get("event"):
            case "runner_on_ok" if FACT in (facts := (said.get("res") or {}).get("ansible_facts") or {}):
                found[said["host"]] = texts(facts[FACT])
            case "runner_on_failed":
                found[said["host"]] = {"name": said["host"], "fault": failure(said).partition(": ")[2]}
            case "error" | "verbose" | "warning":
                words.append(plain(str(event.get("stdout", ""))))
        return False

    with tempfile.TemporaryDirectory(prefix="ballast-") as folder, suppress(pexpect.TIMEOUT):
        runner = ansible_runner.run(
            private_data_dir=folder, project_dir=str(PROJECT), playbook=PLAYBOOK, quiet=True,
            inventory=[str(path.absolute()) for path in inventories], envvars=environment(PROJECT) | UNPARSED,
            event_handler=hear,
            cancel_callback=lambda: False,  # else it takes Ctrl-C and SIGTERM for itself, for as long as we live
        )  # fmt: skip
        if runner.rc and not found:
            said = " ".join(" ".join(words).split())[-500:]
            raise ConfigError(f"{', '.join(map(str, inventories))}: Ansible cannot read it: {said}")
    return found


def told(text: str) -> dict[str, dict[str, Any]]:
    """Read what the playbook itself has collected: a list of what it found for each machine.

    Raises:
        ConfigError: it is none.

    """
    try:
        listed = json.loads(text)
        if not (isinstance(listed, list) and all(map(_is_told, listed))):
            raise ValueError("some machine lacks what is needed")
    except (ValueError, RecursionError) as error:
        raise ConfigError(f"--machines: not what {PLAYBOOK} collects: {error}; use --inventory instead") from None
    return {facts["name"]: texts(facts) for facts in listed}


def texts(facts: Mapping[str, Any]) -> dict[str, Any]:
    """Return a machine's facts with our own variables as texts: none is empty, and what can be no text its fault."""
    plain_facts = dict(facts)
    for key, variable in TEXTS.items():
        value = facts[key]
        if value is not None and (isinstance(value, bool) or not isinstance(value, str | int | float)):
            plain_facts["fault"] = f"{variable} is {value!r}, and has to be a text"
        plain_facts[key] = "" if value is None else str(value)
    return plain_facts


def _is_told(facts: object) -> bool:
    if not isinstance(facts, dict) or not facts.keys() >= NEEDED:
        return False
    groups = facts["groups"]
    return isinstance(facts["name"], str) and isinstance(groups, list) and all(isinstance(one, str) for one in groups)
