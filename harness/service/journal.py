"""The journal of the service: a JSON line a tick and an event, in a file that others may turn over."""

from __future__ import annotations

import json
import threading
from collections.abc import Mapping
from pathlib import Path
from typing import Any, BinaryIO

from harness.xen.events import Events, no_events


class Journal:
    """Appends to a file, if there is one. A disk that is full costs lines, and is said once; it ends nothing."""

    def __init__(self, path: Path | None, tell: Events = no_events) -> None:
        """`tell` takes an event of the journal itself, no guest, and its detail."""
        self.path, self._tell = path, tell
        self._file: BinaryIO | None = None
        self._lost = 0
        self._lock = threading.RLock()
        """Events come from threads of their own."""

    def write(self, line: Mapping[str, Any]) -> None:
        """Append a line."""
        if self.path is None:
            return
        text = json.dumps(line, ensure_ascii=False, allow_nan=False).encode() + b"\n"
        with self._lock:
            try:
                if self._file is None:
                    self._file = self.path.open("ab", buffering=0)
                self._file.write(b"\n" + text if self._lost else text)  # the last one may have been cut
            except OSError as error:
                self._lost += 1
                if self._lost == 1:
                    self._tell(
                        "journal_failed",
                        "",
                        f"{self.path}: {error.strerror}; what happens until it can be written is lost",
                    )
                self.close()
            else:
                lost, self._lost = self._lost, 0
                if lost:
                    self._tell("journal_resumed", "", f"{lost} lines were lost")

    def close(self) -> None:
        """End; the next line opens the file of that name again, which may be another one by then."""
        with self._lock:
            if self._file is not None:
                self._file.close()
                self._file = None
