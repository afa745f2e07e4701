"""What the machines of a run say of themselves, for its manifest."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from typing import Any

from harness.experiment.config import Experiment
from harness.experiment.document import ConfigError
from harness.experiment.faults import FAULTS
from harness.experiment.machine import LabTerms
from harness.experiment.needs import needs
from harness.experiment.site import Site, Sites
from harness.experiment.sweep import Behaviour
from harness.experiment.workloads import Workload
from harness.lab.lab import Lab
from harness.records import write_whole
from harness.xen.describe import describe, installed


def told_by_all(experiment: Experiment, workloads: Mapping[str, Workload], sites: Sites) -> dict[str, Any]:
    """Return what the hosts of an experiment and its guests say of themselves.

    Of several hosts what they agree in stands where that of one would, and the rest under `hosts`, each by its name.

    Raises:
        ConfigError, ConnectionFailed: as `told_by`.
    """
    parts = experiment.parts()
    told = {host: told_by(parts[host], workloads, site) for host, site in sites.items()}
    if "" in told:
        return told[""]
    versions = {guest: one for of_host in told.values() for guest, one in of_host.pop("workloads").items()}
    first, *others = told.values()
    shared = {key: value for key, value in first.items() if all(key in one and one[key] == value for one in others)}
    own = {host: {key: value for key, value in one.items() if key not in shared} for host, one in told.items()}
    return shared | {"workloads": versions, "hosts": own}


def told_by(experiment: Experiment, workloads: Mapping[str, Workload], site: Site) -> dict[str, Any]:
    """Return what host and guests say of themselves, once it is clear that the experiment can run on them.

    Raises:
        ConfigError: guests are to behave as they cannot here, or want more memory than the host has.
        ConnectionFailed: the Xen host or a guest cannot even be asked what it is.
    """
    for guest in (guest for level in experiment.levels() for guest in level.guests):
        if guest.behaviour is not None and (said := _why_not(guest.behaviour, site)):
            raise ConfigError(f"experiment {experiment.name}: guest {guest.name} {said}; or use: ballast simulate")
    if site.lab is None and "lab" in experiment.model_fields_set:
        said = "has the key lab, which says what a lab is like, and hosts of one's own are what they are"
        raise ConfigError(f"experiment {experiment.name} {said}; remove it, or run it in the lab")
    packages = {guest: need.packages for guest, need in needs(experiment, workloads).items()}
    told = _once(site, packages, lambda: describe(site.dom0) | {"workloads": _versions(packages, site)})
    largest = experiment.envelope()
    wanted_mib, total_mib = largest.pool_mib + largest.reserve_mib, int(told.get("total_memory_mib", 0))
    if total_mib and wanted_mib > total_mib:
        said = f"pool_mib + reserve_mib is {wanted_mib}, and the Xen host has {total_mib} MiB in all; lower pool_mib"
        raise ConfigError(f"experiment {experiment.name}: {said}")
    return told | _lab_facts(site)


def _why_not(behaviour: Behaviour, site: Site) -> str:
    """Why guests of this site cannot be made to behave so; empty if they can."""
    if site.lab is None:
        return "has a behaviour, and nothing is done to the guests of hosts of one's own; remove it"
    if behaviour.kind not in FAULTS:
        return (
            f"is to be {behaviour.kind}, and the lab's guests can be {', '.join(sorted(FAULTS))}; choose one of these"
        )
    return ""


def _once(site: Site, packages: Mapping[str, Any], ask: Callable[[], dict[str, Any]]) -> dict[str, Any]:
    """Return what was answered before, where every trial starts from one snapshot: it would say the same again."""
    if site.lab is None or not Lab(site.lab).provisioned:
        return ask()
    asked = json.dumps(packages, sort_keys=True)
    path = site.lab / f"told-{hashlib.sha256(asked.encode()).hexdigest()[:12]}.json"
    with suppress(OSError, ValueError, TypeError):
        return dict(json.loads(path.read_text()))
    Lab(site.lab).wake()
    told = ask()
    write_whole(path, json.dumps(told))
    return told


def _versions(packages: Mapping[str, Any], site: Site) -> dict[str, dict[str, str]]:
    """Guest → its workloads' packages and what they depend on → the version that is really installed there."""
    with ThreadPoolExecutor(len(site.guests)) as pool:
        found = pool.map(lambda machine: installed(machine, packages[machine.name]), site.guests)
        return dict(zip((machine.name for machine in site.guests), found, strict=True))


def _lab_facts(site: Site) -> dict[str, Any]:
    state = Lab(site.lab).state() if site.lab else None
    if state is None:
        return {"lab": False}
    terms = LabTerms.model_validate(state.terms)
    return {
        "lab": True, "accelerator": state.accelerator, "accelerator_why": state.why, "memory_mib": state.memory_mib,
        "lab_clock": state.clock, "processor_mips": terms.processor_mips if state.clock == "instructions" else None,
        "guest_percent": state.guest_percent,
        "disks": {"swap": terms.swap.model_dump(), "files": terms.files.model_dump()},
    }  # fmt: skip
