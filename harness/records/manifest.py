"""The manifest of a run: the one file without which a run cannot be told from another."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from harness.records.columns import RecordsError
from harness.records.shape import fault
from harness.records.storage import write_whole

MANIFEST = "manifest.json"


def read_manifest(path: Path) -> Mapping[str, Any]:
    """Read the manifest of the run in this folder.

    Raises:
        RecordsError: missing, not JSON, or without the keys that name the run.

    """
    file = path / MANIFEST
    try:
        manifest = json.loads(file.read_bytes())
    except (FileNotFoundError, NotADirectoryError):
        raise RecordsError(f"{file} is missing; give the folder of one run: results/<experiment>/<time>-<id>") from None
    except OSError as error:
        raise RecordsError(f"{file}: {error.strerror}; let it be read, or give a copy of the run") from error
    except (ValueError, RecursionError) as error:
        raise RecordsError(f"{file} is not JSON ({error}); restore it from a copy of the run") from error
    return checked(manifest, path)


def write_manifest(path: Path, manifest: Mapping[str, Any]) -> None:
    """Write the manifest of the run in this folder."""
    write_whole(path / MANIFEST, json.dumps(manifest, indent=2, ensure_ascii=False) + "\n")


def checked(manifest: object, path: Path) -> Mapping[str, Any]:
    """Return a manifest that names its run, and in which everything that is read is of its kind.

    Raises:
        RecordsError: it does not, or is not.

    """
    known = manifest if isinstance(manifest, dict) else {}
    experiment = known.get("experiment")
    named = isinstance(experiment, dict) and experiment.get("name")
    if not (named and known.get("run") and known.get("backend")):
        raise RecordsError(
            f"{path / MANIFEST} lacks run, backend or experiment.name; "
            "a run cannot be told from another without them: restore it from a copy of the run"
        )
    if wrong := fault(known):
        raise RecordsError(f"{path / MANIFEST}: {wrong}; restore it from a copy of the run")
    return dict(known)
