"""What is in a folder of results, for those who archive it: RO-Crate 1.1, a file of JSON-LD (researchobject.org)."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from harness.records import Run, write_whole
from reports.document import Document, Picture, Table

NAME = "ro-crate-metadata.json"
KINDS: Mapping[str, tuple[str, str]] = {
    "manifest.json": ("application/json", "where the run came from: versions, source, experiment, seeds, host"),
    "trials.csv": ("text/csv", "one row a trial, guest and metric"),
    "samples.csv": ("text/csv", "one row a tick and guest"),
    "decisions.jsonl": ("application/jsonl", "one line a tick: what was seen, decided, sent and done"),
    "events.jsonl": ("application/jsonl", "what happened"),
    "report.pdf": ("application/pdf", "the report on paper"),
    "report.html": ("text/html", "the report for a browser"),
}
"""File → media type and what it is."""
LICENSE = "https://spdx.org/licenses/Apache-2.0"


def write(runs: Sequence[Run], document: Document, folder: Path) -> None:
    """Write the description of a report's folder, which may be that of its run; the same runs give the same bytes."""
    inside = [name for name in KINDS if (folder / name).exists()]
    captions = {
        name: block.caption
        for block in document.blocks
        if isinstance(block, Picture | Table)
        for name in ([f"figures/{block.name}.pdf"] if isinstance(block, Picture) else [f"tables/{block.name}.tex"])
    }
    files = [_file(name, *KINDS[name]) for name in inside]
    files += [_file(name, "application/pdf" if name.endswith("pdf") else "application/x-tex", said)
              for name, said in sorted(captions.items())]  # fmt: skip
    graph = [_descriptor(), _root(runs, document, files), *files, *_software(runs)]
    text = json.dumps({"@context": "https://w3id.org/ro/crate/1.1/context", "@graph": graph}, indent=2,
                      ensure_ascii=False)  # fmt: skip
    write_whole(folder / NAME, f"{text}\n")


def _descriptor() -> dict[str, Any]:
    return {
        "@id": NAME, "@type": "CreativeWork", "about": {"@id": "./"},
        "conformsTo": {"@id": "https://w3id.org/ro/crate/1.1"},
    }  # fmt: skip


def _root(runs: Sequence[Run], document: Document, files: Iterable[Mapping[str, Any]]) -> dict[str, Any]:
    manifests = [run.manifest for run in runs]
    dates = sorted(str(one.get("finished_utc") or one.get("started_utc") or "") for one in manifests)
    claims = [str(claim) for one in manifests if (claim := one["experiment"].get("claim"))]
    return {
        "@id": "./", "@type": "Dataset", "name": document.title, "datePublished": dates[-1][:10],
        "description": " ".join(dict.fromkeys(claims)) or document.subtitle, "license": {"@id": LICENSE},
        "identifier": [str(one["run"]) for one in manifests], "hasPart": [{"@id": file["@id"]} for file in files],
        "wasGeneratedBy": [{"@id": f"#{one['run']}"} for one in manifests],
    }  # fmt: skip


def _file(name: str, media: str, said: str) -> dict[str, Any]:
    return {"@id": name, "@type": "File", "name": name, "encodingFormat": media, "description": said}


def _software(runs: Sequence[Run]) -> Iterator[dict[str, Any]]:
    """How each run was made, by which version of the software."""
    yield {"@id": LICENSE, "@type": "CreativeWork", "name": "Apache License 2.0"}
    for manifest in (run.manifest for run in runs):
        commit = str((manifest.get("git") or {}).get("commit") or "unknown")
        yield {
            "@id": f"#{manifest['run']}", "@type": "CreateAction", "name": f"run {manifest['run']}",
            "startTime": str(manifest.get("started_utc", "")), "endTime": str(manifest.get("finished_utc", "")),
            "instrument": {"@id": f"#ballast-{commit}"},
        }  # fmt: skip
    for commit in sorted({str((run.manifest.get("git") or {}).get("commit") or "unknown") for run in runs}):
        yield {"@id": f"#ballast-{commit}", "@type": "SoftwareApplication", "name": "Ballast", "version": commit}
