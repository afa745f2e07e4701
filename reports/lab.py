"""What the lab was that a run was measured in: one line from the facts of its manifest."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from reports import words
from reports.language import joined, phrase
from reports.study import Study

CLOCKS: Mapping[str, str] = {"instructions": "Lab in virtual time", "real": "Lab in real time"}
UNITS: Mapping[str, str] = {
    "latency_ms": "{} ms a request", "mb_per_s": "{} MB/s", "requests": "{} at a time", "iops": "{} requests/s",
}  # fmt: skip
"""Fact of a disk → how it is said; any other is said by its name."""


def line(study: Study) -> str:
    """Say what the lab was; where runs were measured in different ones, of each run. Empty outside a lab."""
    said: dict[str, list[str]] = {}
    for run in study.runs:
        said.setdefault(told(run.manifest.get("xen") or {}), []).append(str(run.manifest["run"]))
    if len(said) == 1:
        return next(iter(said))
    return joined(
        [phrase("{}: {}", words.comma().join(runs), text or phrase("No lab.")) for text, runs in said.items()]
    )


def told(facts: Mapping[str, Any]) -> str:
    """Render the facts of a lab that are there: `Lab in virtual time: one emulated processor of 250 MIPS; …`."""
    if not facts.get("lab"):
        return ""
    parts = list(_parts(facts))
    head = phrase(CLOCKS.get(str(facts.get("lab_clock")), "Lab"))
    return phrase("{}: {}.", head, words.semicolon().join(parts)) if parts else phrase("{}.", head)


def _parts(facts: Mapping[str, Any]) -> Iterator[str]:
    if facts.get("processor_mips") is not None:
        part = facts.get("guest_percent")
        each = phrase(", of which each guest has {} % and no more", part) if part else ""
        yield phrase("one emulated processor of {} MIPS{}", _number(facts["processor_mips"]), each)
    disks = facts.get("disks")
    for name, disk in disks.items() if isinstance(disks, Mapping) else ():
        if said := _disk(disk):
            yield phrase("{} disk {}", name, said)
    if facts.get("memory_mib") is not None:
        yield phrase("{} MiB of memory", _number(facts["memory_mib"]))
    hosts = facts.get("hosts")
    for name, own in hosts.items() if isinstance(hosts, Mapping) else ():
        if isinstance(own, Mapping) and own.get("memory_mib") is not None:
            yield phrase("{} MiB of memory ({})", _number(own["memory_mib"]), name)
    if facts.get("accelerator"):
        # What has a processor of so many MIPS is emulated to have it.
        why = None if facts.get("processor_mips") else facts.get("accelerator_why")
        yield phrase("QEMU with {}{}", facts["accelerator"], phrase(" ({})", why) if why else "")


def _disk(disk: object) -> str:
    if not isinstance(disk, Mapping):
        return "" if disk is None else _number(disk)
    return words.comma().join(
        phrase(UNITS[key], _number(value)) if key in UNITS else f"{str(key).replace('_', ' ')} {_number(value)}"
        for key, value in disk.items()
        if value is not None and (key, value) != ("mb_per_s", 0)  # 0: as many as come
    )


def _number(value: object) -> str:
    return f"{value:g}" if isinstance(value, float) else str(value)
