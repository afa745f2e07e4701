"""What is doubtful of a run, file by file, and what to do about it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path

from harness.records.manifest import read_manifest
from harness.records.whole import examined

NOT_SEALED, CHANGED, MISSING = "not sealed", "changed", "missing"
"""What a file can be that is not what was sealed."""


def remedy(path: Path) -> str:
    """Say what to do about a file of a run; to delete it helps only where opening the run rebuilds it."""
    manifest, trials = read_manifest(path.parent), path.parent / "trials"
    if not trials.is_dir():
        return "restore it from a copy: there is no trials/ from which it could be rebuilt"
    if manifest.get("finished_utc") and examined(trials, manifest)[1]:
        return "restore it from a copy: in trials/ something is damaged too, so it is not rebuilt from there"
    return f"restore it from a copy, or {'delete it: ' * path.exists()}opening the run rebuilds it from trials/"


def doubts(path: Path, changed: Mapping[str, str], damage: Mapping[str, str]) -> Iterator[str]:
    """Say of each file of a run that is damaged, or is not what was sealed, what that means.

    A run that was published without its `trials/` lacks nothing by that; of a trial that is damaged its files need no
    saying.
    """
    for name, why in damage.items():
        yield f"{path / name} is damaged: {why}"
    there = (path / "trials").is_dir()
    for name, what in changed.items():
        told = name in damage or (name.startswith("trials/") and (not there or name.rpartition("/")[0] in damage))
        if not told and what != NOT_SEALED:
            means = "whatever is made of it may not be what was recorded" if what == CHANGED else "what it held is lost"
            yield f"{path / name} is not what was sealed: {what}, so {means}; restore it from a copy"
