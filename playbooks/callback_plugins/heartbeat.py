"""A line every few seconds while a remote task runs: a person who watches is never left in silence.

The counting is done in a process of its own (`python -m harness.heartbeat`): a thread here could hold a lock at the
moment Ansible forks a worker.
"""

from __future__ import annotations

import subprocess
import sys
from contextlib import suppress
from pathlib import Path
from typing import Any

from ansible.plugins.callback import CallbackBase

PROJECT = Path(__file__).resolve().parents[2]


class CallbackModule(CallbackBase):
    """Tells the heartbeat which task runs, and when it has ended."""

    CALLBACK_VERSION = 2.0
    CALLBACK_TYPE = "aggregate"
    CALLBACK_NAME = "heartbeat"

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._process = subprocess.Popen(
            [sys.executable, "-m", "harness.heartbeat"], cwd=PROJECT, stdin=subprocess.PIPE, text=True
        )

    def _tell(self, line: str) -> None:
        stream = self._process.stdin
        with suppress(OSError, ValueError):  # a heartbeat that has ended is missed by nobody
            if stream is not None:
                stream.write(line + "\n")
                stream.flush()

    def v2_playbook_on_task_start(self, task: Any, is_conditional: bool) -> None:
        """Begin to count, unless the task speaks for itself: those on this machine print their own progress."""
        self._tell(task.get_name().strip())

    def v2_runner_on_start(self, host: Any, task: Any) -> None:
        """Be silent about tasks on this machine."""
        if host.get_name() == "localhost":
            self._tell("")

    def v2_runner_on_ok(self, result: Any) -> None:
        """Something was printed just now."""
        self._tell(result.task.get_name().strip())

    v2_runner_item_on_ok = v2_runner_on_ok

    def v2_playbook_on_stats(self, stats: Any) -> None:
        """End."""
        with suppress(OSError):
            if self._process.stdin is not None:
                self._process.stdin.close()
            self._process.wait(5)
