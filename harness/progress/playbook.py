"""Runs a playbook of the checkout through ansible-runner, and tells what goes on in it line by line, as it happens."""

from __future__ import annotations

import json
import os
import re
import shlex
import signal
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path
from typing import Any

import ansible_runner
import pexpect  # by which ansible-runner runs the playbook

from harness.progress.owner import ancestors, is_playbook, wait_readable
from harness.progress.plain import plain

PROJECT = Path(__file__).parents[2]
PATIENCE_S = 30.0
"""After Ctrl-C the playbook has this long to end by itself, and so has then the trial in flight."""
LOOK_S = 1
"""How often ansible-runner looks whether it is to stop."""
CALLBACKS = "playbooks/callback_plugins"
LAST_LINES = 20
"""Of what a failed command said."""

_COLOURS = re.compile(r"\x1b\[[0-?]*[ -/]*[@-~]")
"""Ansible's own, which are left out; whatever else is a command to a terminal is shown as what it is."""


class Kind(StrEnum):
    """What a line is about."""

    PLAY = "play"
    TASK = "task"
    PROGRESS = "progress"
    SAID = "said"
    """A message that a task is there to show."""
    WARNING = "warning"
    FAILED = "failed"


@dataclass(frozen=True, slots=True, kw_only=True)
class Line:
    """One line (or one message of several) for the person who watches."""

    kind: Kind
    text: str


Tell = Callable[[Line], None]


@dataclass(frozen=True, slots=True, kw_only=True)
class Played:
    """What came of a playbook."""

    done: bool
    """Every play ran to its end and nothing failed."""
    stopped: bool
    """By Ctrl-C or SIGTERM."""
    trials_failed: bool
    """The trials ran, and some failed."""
    failures: tuple[str, ...]
    """Each with host, task and message; where the playbook could not even begin, what Ansible said."""


def play(
    playbook: str,
    tell: Tell,
    *,
    inventories: Sequence[Path] = (),
    extra_vars: Sequence[str] = (),
    project: Path = PROJECT,
) -> Played:
    """Run a playbook of `project` and tell what goes on. Without inventories the one of ansible.cfg is used.

    `extra_vars` are as ansible-playbook takes them after `-e`. Called in the main thread, Ctrl-C and SIGTERM stop the
    playbook as Ctrl-C does on a terminal: what it started ends with it.
    """
    listener = Listener(tell)
    with tempfile.TemporaryDirectory(prefix="ballast-") as folder, _stoppable(listener):
        config = {
            "private_data_dir": folder,
            "project_dir": str(project),
            "playbook": playbook,
            "inventory": [str(path.absolute()) for path in inventories] or None,
            "cmdline": shlex.join(word for given in extra_vars for word in ("-e", given)) or None,
            "envvars": environment(project),
            "settings": {"pexpect_timeout": LOOK_S},
            "quiet": True,
        }
        # The last word of a process that outlives the playbook may be waited for in vain; the playbook has ended then.
        with suppress(pexpect.TIMEOUT):
            runner = ansible_runner.run(**config, event_handler=listener.hear, cancel_callback=listener.is_to_be_killed)
            listener.status = runner.rc
        listener.wait_for_trial()
    return listener.played()


def environment(project: Path) -> dict[str, str]:
    """What Ansible is told beyond our own environment; ansible-runner by itself would accept any host key."""
    bin_folder = str(Path(sys.executable).parent)
    return {
        "PATH": os.pathsep.join([bin_folder, os.environ.get("PATH", os.defpath)]),
        "LC_ALL": "C.UTF-8",  # Ansible refuses to start without UTF-8
        # ansible-runner adds its own folder, which hides the one that ansible.cfg names.
        "ANSIBLE_CALLBACK_PLUGINS": os.environ.get("ANSIBLE_CALLBACK_PLUGINS", str(project / CALLBACKS)),
        "ANSIBLE_CONFIG": os.environ.get("ANSIBLE_CONFIG", str(project / "ansible.cfg")),
        "ANSIBLE_HOST_KEY_CHECKING": os.environ.get("ANSIBLE_HOST_KEY_CHECKING", "True"),
    }


def extra_var(name: str, value: object) -> str:
    """A variable as ansible-playbook takes it after `-e`, whatever characters it has."""
    return json.dumps({name: value}, ensure_ascii=False)


@dataclass(slots=True)
class Listener:
    """Makes lines of ansible-runner's events, and remembers what they come to."""

    tell: Tell
    status: int | None = None
    pid: int | None = None
    """Of ansible-playbook, when it was asked to stop."""
    _failures: list[str] = field(default_factory=list)
    _last_words: list[str] = field(default_factory=list)
    _trials_failed: bool = False
    _trials: list[int] = field(default_factory=list)
    """Descriptors of the processes that run trials, as they were when the stop was asked for."""
    _stop_asked_s: float | None = None
    _stop_now: bool = False

    def played(self) -> Played:
        """What came of it."""
        stopped = self._stop_asked_s is not None
        failures = self._failures
        if self.status != 0 and not stopped and not failures:
            failures = ["\n".join(self._last_words[-LAST_LINES:]) or f"ansible-playbook ended with {self.status}"]
        return Played(
            done=self.status == 0 and not stopped,
            stopped=stopped,
            trials_failed=self._trials_failed,
            failures=tuple(failures),
        )

    def stop(self) -> None:
        """Have the playbook end itself; asked for again, kill it."""
        if self._stop_asked_s is not None:
            self._stop_now = True
            return
        self._stop_asked_s = time.monotonic()
        self.pid = self.pid or _playbook_under(os.getpid())
        if self.pid is not None:
            self._trials = list(_trials_under(self.pid))
            with suppress(ProcessLookupError):
                os.kill(self.pid, signal.SIGINT)

    def wait_for_trial(self) -> None:
        """After a stop: until the trial in flight has set the safe targets and ended, which it does by itself."""
        until_s = time.monotonic() + PATIENCE_S
        for descriptor in self._trials:
            if not self._stop_now:
                wait_readable([descriptor], max(0.0, until_s - time.monotonic()))
            os.close(descriptor)

    def is_to_be_killed(self) -> bool:
        """Whether the time for ending by itself is over."""
        if self._stop_asked_s is None:
            return False
        late = time.monotonic() - self._stop_asked_s > PATIENCE_S
        return self._stop_now or late or self.pid is None

    def hear(self, event: Mapping[str, Any]) -> bool:
        """Take in one event; False: ansible-runner need not keep it."""
        for line in self._lines(event):
            self.tell(line)
        return False

    def _lines(self, event: Mapping[str, Any]) -> Iterator[Line]:
        said: Mapping[str, Any] = event.get("event_data") or {}
        match event.get("event"):
            case "playbook_on_play_start":
                yield Line(kind=Kind.PLAY, text=_plain(str(said.get("name") or said.get("play") or "")))
            case "playbook_on_task_start" | "playbook_on_handler_task_start":
                yield Line(kind=Kind.TASK, text=_plain(str(said.get("name") or said.get("task") or "")))
            case "runner_on_ok":
                yield from self._passed(said)
            case "runner_on_failed" | "runner_on_unreachable" if not said.get("ignore_errors"):
                text = failure(said)
                self._failures.append(text)
                yield Line(kind=Kind.FAILED, text=text)
            case "warning" | "system_warning":
                yield from self._words(event, Kind.WARNING)
            case "verbose":
                yield from self._words(event, Kind.PROGRESS)
            case "error":
                self._last_words += _plain(str(event.get("stdout", ""))).splitlines()

    def _passed(self, said: Mapping[str, Any]) -> Iterator[Line]:
        result: Mapping[str, Any] = said.get("res") or {}
        if is_trials(result.get("cmd")) and result.get("rc") == 1:
            self._trials_failed = True
        if str(said.get("task_action", "")).rpartition(".")[2] == "debug" and "msg" in result:
            yield Line(kind=Kind.SAID, text=_joined(result["msg"]))

    def _words(self, event: Mapping[str, Any], kind: Kind) -> Iterator[Line]:
        text = _plain(str(event.get("stdout", ""))).rstrip()
        if text.startswith("[WARNING]"):  # Ansible's own, before its events begin
            kind = Kind.WARNING
        elif text.strip():
            self._last_words.append(text)
        if text.strip():
            yield Line(kind=kind, text=text)


def failure(said: Mapping[str, Any]) -> str:
    """Host, task and message of a failed task, with the end of what its command said."""
    result: Mapping[str, Any] = said.get("res") or {}
    parts = [_joined(result.get("msg") or "it says nothing").strip()]
    for name in ("stderr", "module_stderr", "stdout"):
        if last := str(result.get(name) or "").strip().splitlines()[-LAST_LINES:]:
            # That its exit was not 0 is all that Ansible itself has to say about a command.
            parts = [part for part in parts if "rc" not in result or "non-zero return code" not in part] + last
            break
    return _plain(f"{said.get('host', '?')}: {said.get('task', '?')}: " + "\n".join(parts))


def is_trials(command: object) -> bool:
    """Whether this is the command that runs the trials: exit 1 of it says that some failed."""
    if not isinstance(command, Sequence) or isinstance(command, str):
        return False
    return any(command[i : i + 2] == ["harness", "trials"] for i in range(len(command)))


def _playbook_under(pid: int) -> int | None:
    """The ansible-playbook that this process started, whether or not it has said something; None: it does not run."""
    for folder in Path("/proc").glob("[0-9]*"):
        with suppress(OSError):
            if is_playbook(int(folder.name)) and next(ancestors(int(folder.name)), None) == pid:
                return int(folder.name)
    return None


def _trials_under(pid: int) -> Iterator[int]:
    """Descriptors of the processes below this one that run trials."""
    for folder in Path("/proc").glob("[0-9]*"):
        with suppress(OSError):
            if b"\0harness\0trials\0" in (folder / "cmdline").read_bytes() and pid in ancestors(int(folder.name)):
                yield os.pidfd_open(int(folder.name))


def _joined(message: object) -> str:
    return "\n".join(map(str, message)) if isinstance(message, list | tuple) else str(message)


def _plain(text: str) -> str:
    return plain(_COLOURS.sub("", text))


@contextmanager
def _stoppable(listener: Listener) -> Iterator[None]:
    """While inside, Ctrl-C and SIGTERM stop the playbook."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    numbers = (signal.SIGINT, signal.SIGTERM)
    before = {number: signal.signal(number, lambda *_: listener.stop()) for number in numbers}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
