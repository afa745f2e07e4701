"""Whose run is this? What outlives one Ansible task ties its life to the ansible-playbook that started it."""

from __future__ import annotations

import os
import select
import threading
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path


def ancestors(pid: int) -> Iterator[int]:
    """The parent of `pid`, its parent, and so on up to the first process."""
    while pid > 1:
        # The second field is a name in parentheses and may itself hold spaces and parentheses.
        pid = int(Path(f"/proc/{pid}/stat").read_bytes().rpartition(b")")[2].split()[1])
        if pid:
            yield pid


def playbook_pid() -> int | None:
    """The outermost ansible-playbook above this process, or None when a person started it."""
    found = None
    for pid in ancestors(os.getpid()):
        if is_playbook(pid):
            found = pid
    return found


def is_playbook(pid: int) -> bool:
    """Whether this process is an ansible-playbook, or one that it forked."""
    words = Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0")
    return any(word.rpartition(b"/")[2] == b"ansible-playbook" for word in words[:3])


def on_death(pid: int, act: Callable[[], None]) -> None:
    """Call `act` from a thread of its own as soon as process `pid` has ended."""
    descriptor = os.pidfd_open(pid)

    def wait() -> None:
        wait_readable([descriptor])
        os.close(descriptor)
        act()

    threading.Thread(target=wait, daemon=True, name=f"watch-{pid}").start()


def wait_readable(descriptors: Sequence[int], timeout_s: float | None = None) -> list[int]:
    """Which of these descriptors (pidfds too) have something to say."""
    poller = select.poll()
    for descriptor in descriptors:
        poller.register(descriptor, select.POLLIN)
    return [descriptor for descriptor, _ in poller.poll(None if timeout_s is None else timeout_s * 1000)]
