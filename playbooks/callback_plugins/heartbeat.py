"""A line every few seconds while a task runs, and the lines of progress that tasks on this machine send.

Both are printed by a process of its own (`harness/heartbeat.py`): a thread here could hold a lock at the moment Ansible
forks a worker.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from contextlib import suppress
from pathlib import Path
from typing import Any

from ansible.plugins.callback import CallbackBase

PROJECT = Path(__file__).resolve().parents[2]
STANDARD_OUTPUT = 1  # Ansible keeps it from what it starts, unless it is handed over


class CallbackModule(CallbackBase):
    """Tells the heartbeat which task runs, and when something was printed."""

    CALLBACK_VERSION = 2.0
    CALLBACK_TYPE = "aggregate"
    CALLBACK_NAME = "heartbeat"

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        # Only we can reach it there; the heartbeat removes its socket, and the folder with it, however we end.
        path = str(Path(tempfile.mkdtemp(prefix="ballast-")) / "progress")
        self._process = subprocess.Popen(
            [sys.executable, "-m", "harness.progress.heartbeat", path],
            cwd=PROJECT,
            stdin=subprocess.PIPE,
            stdout=STANDARD_OUTPUT,
            text=True,
        )
        os.environ["BALLAST_PROGRESS_SOCKET"] = path

    def _tell(self, task: Any) -> None:
        stream = self._process.stdin
        with suppress(OSError, ValueError):  # a heartbeat that has ended is missed by nobody
            if stream is not None:
                stream.write(task.get_name().strip() + "\n")
                stream.flush()

    def v2_playbook_on_task_start(self, task: Any, is_conditional: bool) -> None:
        """Begin to count."""
        self._tell(task)

    def v2_runner_on_ok(self, result: Any) -> None:
        """Something was printed just now."""
        self._tell(result.task)

    v2_runner_item_on_ok = v2_runner_on_ok

    def v2_playbook_on_stats(self, stats: Any) -> None:
        """End."""
        with suppress(OSError):
            if self._process.stdin is not None:
                self._process.stdin.close()
            self._process.wait(5)
