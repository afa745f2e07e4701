"""Files that are whole or not there, and what the operating system refuses to write as an error that can be mended."""

from __future__ import annotations

import errno
import hashlib
import io
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from harness.records.columns import RecordsError

TEMPORARY = ".new"
"""The end of the name of what is not whole yet."""

_ROOM = "make room there, and start the same command again: what had ended is kept"
_RIGHTS = "let it be written, or name another folder with --out"
_PLACE = "name a folder that is one, or can be made"
REMEDIES = {
    errno.ENOSPC: _ROOM, errno.EDQUOT: _ROOM, errno.EFBIG: "allow larger files there (ulimit -f), and start again",
    errno.EROFS: _RIGHTS, errno.EACCES: _RIGHTS, errno.EPERM: _RIGHTS,
    errno.ENOTDIR: _PLACE, errno.EEXIST: _PLACE, errno.EISDIR: _PLACE, errno.ENOENT: _PLACE, errno.ENAMETOOLONG: _PLACE,
    errno.ELOOP: _PLACE, errno.EIO: "look after that disk, and start again: what had ended is kept",
    errno.ESTALE: "mount it anew, and start again: what had ended is kept",
    errno.EMFILE: "allow more open files (ulimit -n), and start again",
}  # fmt: skip
"""What the person can do about a file that is refused."""


_OF_DISKS = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EROFS, errno.EIO}
"""Nothing but a disk says this, also where nobody knows which file it was."""


def refused(error: OSError, path: Path | None = None) -> RecordsError | None:
    """Return what was refused as an error that names the file and the remedy; None where that is no matter of files.

    `path` is what was written, for errors that do not say: those of a write have no name.
    """
    where = error.filename if isinstance(error.filename, str | os.PathLike) else path
    remedy = REMEDIES.get(error.errno or 0)
    if remedy is None or (where is None and error.errno not in _OF_DISKS):
        return None
    named = "" if where is None else f"{os.fspath(where)}: "
    return RecordsError(f"{named}{error.strerror}; {remedy}")


@contextmanager
def stored(path: Path) -> Iterator[None]:
    """What is written in here belongs to `path`.

    Raises:
        RecordsError: the operating system refuses it; with the file, the cause and the remedy.

    """
    try:
        yield
    except OSError as error:
        if (said := refused(error, path)) is None:
            raise
        raise said from error


def write_whole(path: Path, content: str | bytes) -> None:
    """Write a file so that it is either the old one or the new one, also after a power cut."""
    with replacing(path) as file:
        file.write(content.encode() if isinstance(content, str) else content)


@contextmanager
def replacing(path: Path) -> Iterator[io.BufferedWriter]:
    """Write a file that takes its name in one step, once it is on the disk."""
    temporary = path.with_name(path.name + TEMPORARY)
    with temporary.open("wb") as file:
        yield file
        file.flush()
        os.fsync(file.fileno())
    temporary.replace(path)


def sha256(path: Path) -> str:
    """Return the SHA-256 of a file in hexadecimal."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
