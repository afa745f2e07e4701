"""The folder of a run: its manifest, and its files put together from the trials that have ended.

Every trial is written aside and becomes `trials/<block>-<order>/` when it is whole. The files of the run are always
rebuilt from these folders, next to the old ones, and take their names in one step each, `trials.csv` last: whatever
moment a kill picks, each file is whole, and no trial that had ended is lost.
"""

from __future__ import annotations

import csv
import fcntl
import hashlib
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, BinaryIO, Self

from harness.records.columns import RecordsError, Stamp
from harness.records.doubts import CHANGED, MISSING, NOT_SEALED, remedy
from harness.records.manifest import MANIFEST, checked, read_manifest, write_manifest
from harness.records.storage import replacing, sha256, stored
from harness.records.whole import RUN_FILES, examined, numbers

LOCK = ".lock"
PIECE = 1 << 20
"""Bytes that are copied at once."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RunFolder:
    """A run on disk. Make one with `create` or `open`; several processes may write trials of one run."""

    path: Path
    manifest: Mapping[str, Any]
    damage: Mapping[str, str] = field(default_factory=dict)
    """What was damaged when the run was opened: name in the folder → why. A damaged trial counts as not run."""

    @classmethod
    def create(cls, path: Path, manifest: Mapping[str, Any]) -> Self:
        """Make the folder with its manifest and empty data files.

        Raises:
            RecordsError: the folder already holds a run or cannot be written, or the manifest lacks `run`, `backend` or
                `experiment.name`.

        """
        if (path / MANIFEST).exists():
            raise RecordsError(f"{path / MANIFEST} exists already; open the run to resume it, or name another folder")
        with stored(path):
            (path / "trials").mkdir(parents=True, exist_ok=True)
            folder = cls(path=path, manifest=checked({"started_utc": Stamp.now().utc, **manifest}, path))
            folder.commit()
            write_manifest(path, folder.manifest)
        return folder

    @classmethod
    def open(cls, path: Path, *, to_resume: bool = False) -> Self:
        """Open a run to read or resume it; what a kill left half done is put right, and a sealed run is left as it is.

        `to_resume`: whatever became of the run's files, they are put together anew.

        Raises:
            RecordsError: there is no readable manifest, or the run's files cannot be put right.

        """
        folder = cls(path=path, manifest=read_manifest(path))
        if not folder.resumable:
            return folder
        trials, found = folder._examined()
        damage = {f"trials/{name}": why for name, why in found.items()}
        there = not to_resume and all((path / name).exists() for name in RUN_FILES)
        if there and folder.committed() == set(map(numbers, trials)):
            damage |= folder._damaged_files(trials)
        elif not (folder.sealed and damage):
            folder._put_right()
        return replace(folder, damage=damage)

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
    def sealed(self) -> bool:
        """Whether the run has ended."""
        return bool(self.manifest.get("finished_utc"))

    @property
    def resumable(self) -> bool:
        """Whether trials can be added: a run that was published without its `trials/` can only be read."""
        return (self.path / "trials").is_dir()

    def trial(self, folder: str) -> Path:
        """Path of one trial's own folder."""
        return self.path / "trials" / folder

    def finished(self) -> frozenset[tuple[int, int]]:
        """Return (block, order) of every trial that has ended, whatever its status, and is whole."""
        if not self.resumable:
            return self.committed()
        return frozenset(number for trial in self._examined()[0] if (number := numbers(trial)))

    def committed(self) -> frozenset[tuple[int, int]]:
        """Return (block, order) of every trial in `trials.csv`; empty when the file is not there."""
        try:
            with (self.path / "trials.csv").open(encoding="utf-8", newline="") as file:
                return frozenset((int(row["block"]), int(row["order"])) for row in csv.DictReader(file))
        except FileNotFoundError:
            return frozenset()
        except (KeyError, TypeError, ValueError, csv.Error) as error:
            raise RecordsError(
                f"{self.path / 'trials.csv'} is damaged ({error}); {remedy(self.path / 'trials.csv')}"
            ) from error

    def _put_right(self) -> None:
        try:
            self.commit()
        except RecordsError as error:
            said = "the run's files have to be put together before they are read"
            raise RecordsError(f"{error} ({said}: where that cannot be, read a copy of the run)") from error

    def commit(self) -> None:
        """Rebuild the run's files from the trials that have ended, in the order of block and position.

        Copies all of them, so a run of hundreds of short trials should commit once in a while, not after each.

        Raises:
            RecordsError: `trials/` is gone, or the files cannot be written.

        """
        self._rebuild()

    def _rebuild(self) -> dict[str, str]:
        """`commit`, and return the SHA-256 of every file that was written or read for it, by its name in the run."""
        digests: dict[str, str] = {}
        with stored(self.path), self._lock():
            if not self.resumable:
                raise RecordsError(
                    f"{self.path / 'trials'} is missing; restore it to resume this run, or start a new one"
                )
            trials, _ = self._examined()
            for name, head in RUN_FILES.items():
                with replacing(self.path / name) as file:
                    whole = hashlib.sha256(head.encode())
                    file.write(head.encode())
                    for trial in trials:
                        part = trial / name
                        digests[part.relative_to(self.path).as_posix()] = _append(file, whole, part, head.encode())
                digests[name] = whole.hexdigest()
        return digests

    def update_manifest(self, changes: Mapping[str, Any]) -> RunFolder:
        """Write the manifest with these top-level keys changed; returns the folder with the new one."""
        changed = replace(self, manifest=checked({**self.manifest, **changes}, self.path))
        with stored(self.path):
            write_manifest(self.path, changed.manifest)
        return changed

    def seal(self, trials: Iterable[tuple[int, int]] = ()) -> RunFolder:
        """End the run: commit, and record the end and the SHA-256 of every file of the run in the manifest.

        Raises:
            RecordsError: one of `trials`, (block, order), has not ended or is damaged: the run is then not sealed.

        """
        files = self._rebuild()
        if missing := sorted(set(trials) - self.committed()):
            said = ", ".join(f"{block:03d}-{order:02d}" for block, order in missing)
            raise RecordsError(
                f"{self.path} is not sealed, for of its trials these are missing or damaged: {said}; "
                "start the same command again: it runs them"
            )
        for trial in self._examined()[0]:
            others = (path for path in trial.iterdir() if path.is_file())
            named = {path.relative_to(self.path).as_posix(): path for path in others}
            files |= {name: sha256(path) for name, path in named.items() if name not in files}
        files = dict(sorted(files.items()))
        return self.update_manifest({"finished_utc": Stamp.now().utc, "files": files})

    def changed_files(self) -> dict[str, str]:
        """Return the files that are no longer what was sealed: name → `missing`, `changed` or `not sealed`."""
        sealed: Mapping[str, str] = self.manifest.get("files") or {}
        found = {name: NOT_SEALED for name in RUN_FILES if name not in sealed}
        for name, digest in sealed.items():
            path = self.path / name
            if not path.is_file():
                found[name] = MISSING
            elif sha256(path) != digest:
                found[name] = CHANGED
        return found

    def _examined(self) -> tuple[list[Path], dict[str, str]]:
        return examined(self.path / "trials", self.manifest)

    def _damaged_files(self, trials: Iterable[Path]) -> dict[str, str]:
        """Return the files of the run that have lost or gained something since they were put together of these."""
        damage = {}
        for name, head in RUN_FILES.items():
            parts = [(trial / name).stat().st_size - len(head) for trial in trials]
            if (self.path / name).stat().st_size != len(head) + sum(parts):
                damage[name] = f"it is not what its trials hold; {remedy(self.path / name)}"
        return damage

    @contextmanager
    def _lock(self) -> Iterator[None]:
        with (self.path / LOCK).open("w") as file:
            fcntl.flock(file, fcntl.LOCK_EX)
            yield


def _append(file: BinaryIO, whole: hashlib._Hash, part: Path, head: bytes) -> str:
    """Copy a trial's file without its header to the run's, piece by piece: a long trial does not fit into memory.

    Returns the SHA-256 of the trial's file; `whole` takes in what was copied.
    """
    with part.open("rb") as source:
        if source.read(len(head)) != head:
            raise RecordsError(f"{part} is damaged; start the same command again, and the trial runs again")
        own = hashlib.sha256(head)
        while piece := source.read(PIECE):
            for digest in (own, whole):
                digest.update(piece)
            file.write(piece)
    return own.hexdigest()
