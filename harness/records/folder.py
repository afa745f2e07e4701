"""The folder of a run: its manifest, and its files put together from the trials that have ended.

Every trial writes into `trials/<block>-<order>/`, and `done` is written last. The files of the run are always rebuilt
from the folders that have `done`, next to the old ones, and take their names in one step each, `trials.csv` last:
whatever moment a kill picks, each file is whole, and no trial that had ended is lost.
"""

from __future__ import annotations

import csv
import fcntl
import hashlib
import io
import json
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, BinaryIO, Self

from harness.records.columns import SAMPLE_COLUMNS, TRIAL_COLUMNS, RecordsError, Stamp

MANIFEST = "manifest.json"
DONE = "done"
LOCK = ".lock"
TEMPORARY = ".new"
PIECE = 1 << 20
"""Bytes that are copied at once."""


def header(columns: Mapping[str, str]) -> str:
    """Return the header line of a CSV file with these columns."""
    line = io.StringIO()
    csv.writer(line, lineterminator="\n").writerow(columns)
    return line.getvalue()


# The order matters: a trial counts as committed when `trials.csv` has it, so that one is replaced last.
RUN_FILES: Mapping[str, str] = {
    "decisions.jsonl": "",
    "events.jsonl": "",
    "samples.csv": header(SAMPLE_COLUMNS),
    "trials.csv": header(TRIAL_COLUMNS),
}
"""The data files of a run, each with its header line."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RunFolder:
    """A run on disk. Make one with `create` or `open`; several processes may write trials of one run."""

    path: Path
    manifest: Mapping[str, Any]

    @classmethod
    def create(cls, path: Path, manifest: Mapping[str, Any]) -> Self:
        """Make the folder with its manifest and empty data files.

        Raises:
            RecordsError: the folder already holds a run, or the manifest lacks `run`, `backend` or `experiment.name`.

        """
        if (path / MANIFEST).exists():
            raise RecordsError(f"{path / MANIFEST} exists already; open the run to resume it, or name another folder")
        (path / "trials").mkdir(parents=True, exist_ok=True)
        folder = cls(path=path, manifest=_checked({"started_utc": Stamp.now().utc, **manifest}, path / MANIFEST))
        folder.commit()
        write_whole(path / MANIFEST, _json(folder.manifest))
        return folder

    @classmethod
    def open(cls, path: Path) -> Self:
        """Open a run to read or resume it; what a kill left half done is put right.

        Raises:
            RecordsError: there is no readable manifest.

        """
        folder = cls(path=path, manifest=read_manifest(path))
        whole = all((path / name).exists() for name in RUN_FILES) and folder.committed() == folder.finished()
        if not whole and folder.resumable:
            folder.commit()
        return folder

    @property
    def run(self) -> str:
        """Name of the run."""
        return str(self.manifest["run"])

    @property
    def experiment(self) -> str:
        """Name of the experiment."""
        return str(self.manifest["experiment"]["name"])

    @property
    def backend(self) -> str:
        """Either `xen` or `simulator`."""
        return str(self.manifest["backend"])

    @property
    def resumable(self) -> bool:
        """Whether trials can be added: a run that was published without its `trials/` can only be read."""
        return (self.path / "trials").is_dir()

    def trial(self, folder: str) -> Path:
        """Path of one trial's own folder."""
        return self.path / "trials" / folder

    def finished(self) -> frozenset[tuple[int, int]]:
        """Return (block, order) of every trial that has ended, whatever its status."""
        return frozenset(map(_numbers, self._done())) if self.resumable else self.committed()

    def committed(self) -> frozenset[tuple[int, int]]:
        """Return (block, order) of every trial in `trials.csv`; empty when the file is not there."""
        try:
            with (self.path / "trials.csv").open(encoding="utf-8", newline="") as file:
                return frozenset((int(row["block"]), int(row["order"])) for row in csv.DictReader(file))
        except FileNotFoundError:
            return frozenset()
        except (KeyError, TypeError, ValueError, csv.Error) as error:
            raise RecordsError(
                f"{self.path / 'trials.csv'} is damaged ({error}); delete it: opening the run rebuilds it from trials/"
            ) from error

    def commit(self) -> None:
        """Rebuild the run's files from the trials that have ended, in the order of block and position.

        Copies all of them, so a run of hundreds of short trials should commit once in a while, not after each.
        """
        self._rebuild()

    def _rebuild(self) -> dict[str, str]:
        """`commit`, and return the SHA-256 of every file that was written or read for it, by its name in the run."""
        digests: dict[str, str] = {}
        with self._lock():
            if not self.resumable:
                raise RecordsError(
                    f"{self.path / 'trials'} is missing; restore it to resume this run, or start a new one"
                )
            done = self._done()
            for name, head in RUN_FILES.items():
                with _replacing(self.path / name) as file:
                    whole = hashlib.sha256(head.encode())
                    file.write(head.encode())
                    for trial in done:
                        part = trial / name
                        digests[part.relative_to(self.path).as_posix()] = _append(file, whole, part, head.encode())
                digests[name] = whole.hexdigest()
        return digests

    def update_manifest(self, changes: Mapping[str, Any]) -> RunFolder:
        """Write the manifest with these top-level keys changed; returns the folder with the new one."""
        changed = replace(self, manifest=_checked({**self.manifest, **changes}, self.path / MANIFEST))
        write_whole(self.path / MANIFEST, _json(changed.manifest))
        return changed

    def seal(self) -> RunFolder:
        """End the run: commit, and record the end and the SHA-256 of every file of the run in the manifest."""
        files = self._rebuild()
        others = (path for path in self.path.glob("trials/*/*") if path.is_file())
        named = {path.relative_to(self.path).as_posix(): path for path in others}
        files |= {name: sha256(path) for name, path in named.items() if name not in files}
        files = dict(sorted(files.items()))
        return self.update_manifest({"finished_utc": Stamp.now().utc, "files": files})

    def changed_files(self) -> dict[str, str]:
        """Return the files that are no longer what was sealed: name → `missing`, `changed` or `not sealed`."""
        sealed: Mapping[str, str] = self.manifest.get("files") or {}
        found = {name: "not sealed" for name in RUN_FILES if name not in sealed}
        for name, digest in sealed.items():
            path = self.path / name
            if not path.is_file():
                found[name] = "missing"
            elif sha256(path) != digest:
                found[name] = "changed"
        return found

    def _done(self) -> list[Path]:
        return sorted((path.parent for path in self.path.glob(f"trials/*/{DONE}")), key=_numbers)

    @contextmanager
    def _lock(self) -> Iterator[None]:
        with (self.path / LOCK).open("w") as file:
            fcntl.flock(file, fcntl.LOCK_EX)
            yield


def read_manifest(path: Path) -> Mapping[str, Any]:
    """Read the manifest of the run in this folder.

    Raises:
        RecordsError: missing, not JSON, or without the keys that name the run.

    """
    file = path / MANIFEST
    try:
        manifest = json.loads(file.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise RecordsError(f"{file} is missing; give the folder of one run: results/<experiment>/<time>-<id>") from None
    except ValueError as error:
        raise RecordsError(f"{file} is not JSON ({error}); restore it from a copy of the run") from error
    return _checked(manifest, file)


def sha256(path: Path) -> str:
    """Return the SHA-256 of a file in hexadecimal."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _append(file: BinaryIO, whole: hashlib._Hash, part: Path, head: bytes) -> str:
    """Copy a trial's file without its header to the run's, piece by piece: a long trial does not fit into memory.

    Returns the SHA-256 of the trial's file; `whole` takes in what was copied.
    """
    with part.open("rb") as source:
        if source.read(len(head)) != head:
            raise RecordsError(f"{part} is damaged; delete {part.parent} to have the trial run again")
        own = hashlib.sha256(head)
        while piece := source.read(PIECE):
            for digest in (own, whole):
                digest.update(piece)
            file.write(piece)
    return own.hexdigest()


def write_whole(path: Path, text: str) -> None:
    """Write a file so that it is either the old one or the new one, also after a power cut."""
    with _replacing(path) as file:
        file.write(text.encode())


@contextmanager
def _replacing(path: Path) -> Iterator[io.BufferedWriter]:
    temporary = path.with_name(path.name + TEMPORARY)
    with temporary.open("wb") as file:
        yield file
        file.flush()
        os.fsync(file.fileno())
    temporary.replace(path)


def _checked(manifest: object, file: Path) -> Mapping[str, Any]:
    known = manifest if isinstance(manifest, dict) else {}
    experiment = known.get("experiment")
    named = isinstance(experiment, dict) and experiment.get("name")
    if not (named and known.get("run") and known.get("backend")):
        raise RecordsError(
            f"{file} lacks run, backend or experiment.name; a run cannot be told from another without them"
        )
    return dict(known)


def _json(manifest: Mapping[str, Any]) -> str:
    return json.dumps(manifest, indent=2, ensure_ascii=False) + "\n"


def _numbers(trial: Path) -> tuple[int, int]:
    block, _, order = trial.name.partition("-")
    try:
        return int(block), int(order)
    except ValueError:
        raise RecordsError(
            f"{trial} is not a trial folder (block-order, as in 001-02); move it out of trials/"
        ) from None
